"""How fast a core of this machine runs Python, as one number to compare with that of another machine.

A round is a fixed mix of what web apps spend their time on: function calls, attributes, lists and dicts, text, JSON
both ways, hashing and compression. The score is rounds a second of CPU time: the median of the rounds, with the 95 %
interval of a median from order statistics, which assumes nothing about the distribution, or RUN_TO_RUN where that is
wider.

Peaker ships no scores of instance types: none were measured. Until the same command has been run on the instance type,
the factor is 1, assumed, and reckoned with `ASSUMED_SPEED_RANGE` around it.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peaker.plan.workload import require

MIX = 1
"""Version of the mix; scores of different mixes are not compared."""

ROUNDS = 25
ROUNDS_MAX = 1000
ASSUMED_SPEED_RANGE = 0.3

RUN_TO_RUN = 0.05
"""Eight runs on one machine lay up to 4.4 % apart, though each run's own interval was within 1 %: clock rate and the
layout of memory stay as they are while a process lives. No interval is narrower than this to both sides."""

CHECK = 0xFE30
"""What `one_round` returns; another value means that it did other work."""

_PASSES = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuScore:
    """Rounds a second of CPU time: the median, and its interval.

    `python` and `machine` say what ran it; scores of different Python versions tell of both.
    """

    rounds_per_s: float
    low_per_s: float
    high_per_s: float
    rounds: int
    python: str
    machine: str
    mix: int = MIX

    def __post_init__(self) -> None:
        require(0 < self.low_per_s <= self.rounds_per_s, "low_per_s", self.low_per_s, "above 0, up to rounds_per_s")
        require(self.rounds_per_s <= self.high_per_s < math.inf, "high_per_s", self.high_per_s, ">= rounds_per_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a core is with that of the measured machine as 1: `Choices.speed` of a plan, and its interval."""

    factor: float
    low: float
    high: float
    is_assumed: bool
    note: str


def one_round() -> int:
    """The mix, run once; returns a checksum of all it made, the same everywhere."""
    check = 0
    for number in range(_PASSES):
        order = _order(number)
        text = json.dumps(order, sort_keys=True)
        again = json.loads(text)
        total = sum(line["price"] * line["count"] for line in again["lines"])
        names = ", ".join(sorted({line["name"].title() for line in again["lines"]}))
        digest = hashlib.sha256(f"{names}:{total}:{text}".encode()).hexdigest()
        packed = zlib.compress(text.encode(), 6)
        check = (check * 31 + int(digest[:4], 16) + len(zlib.decompress(packed)) + _collatz(number + 27)) & 0xFFFF
    return check


def _order(number: int) -> dict[str, object]:
    return {
        "id": f"order-{number:06d}",
        "customer": {"name": "Grüße " + chr(97 + number % 26) * 5, "address": ["Street 1", "City", "12345"]},
        "lines": [
            {"name": f"article {place % 7}", "price": 100 + place * 7 % 13, "count": 1 + place % 3, "tags": ["a", "b"]}
            for place in range(40)
        ],
    }


def _collatz(start: int) -> int:
    steps = 0
    while start != 1:
        start = start // 2 if start % 2 == 0 else 3 * start + 1
        steps += 1
    return steps


def measure_score(cpu_now_s: Callable[[], float], *, python: str, machine: str, rounds: int = ROUNDS) -> CpuScore:
    """Run the mix `rounds` times after a warm-up; 2 to 3 s with the default.

    Args:
        cpu_now_s: the CPU time of this process, such as `time.process_time`: other load on the machine counts little.
        python: version of the interpreter.
        machine: what the CPU calls itself.
        rounds: from 7 to ROUNDS_MAX.
    """
    require(7 <= rounds <= ROUNDS_MAX, "rounds", rounds, f"within 7..{ROUNDS_MAX}")
    check = one_round()
    require(check == CHECK, "checksum of the mix", f"{check:#06x}", f"{CHECK:#06x}")
    times_s = []
    for _ in range(rounds):
        began_s = cpu_now_s()
        one_round()
        times_s.append(cpu_now_s() - began_s)
    low, middle, high = median_interval([1 / max(took_s, 1e-9) for took_s in times_s])
    return CpuScore(
        rounds_per_s=middle,
        low_per_s=min(low, middle * (1 - RUN_TO_RUN)),
        high_per_s=max(high, middle * (1 + RUN_TO_RUN)),
        rounds=rounds,
        python=python,
        machine=machine,
    )


def median_interval(values: Sequence[float], confidence: float = _CONFIDENCE) -> tuple[float, float, float]:
    """Lower end, median and upper end: the interval between the k-th smallest and the k-th largest value.

    It misses the true median with probability 2 P(X < k), X binomial(n, 1/2) (David and Nagaraja, "Order Statistics",
    section 7.1); k is the largest that keeps it. With fewer than 6 values it is the whole range.
    """
    require(bool(values), "values", 0, "1 or more")
    ordered, count = sorted(values), len(values)
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    below, rank = 0.0, 0
    for k in range(count // 2):
        below += math.comb(count, k) / 2**count
        if 2 * below > 1 - confidence:
            break
        rank = k + 1
    place = max(rank - 1, 0)
    return ordered[place], middle, ordered[count - 1 - place]


def speed_of(here: CpuScore, there: CpuScore) -> Speed:
    """How fast the other machine is with this one as 1; the interval is the widest that both intervals allow.

    Raises:
        PlanError: the scores are of different mixes.
    """
    require(here.mix == there.mix, "mix of the other score", there.mix, f"{here.mix}, that of this Peaker")
    note = f"{there.machine} against {here.machine}"
    if here.python.split(".")[:2] != there.python.split(".")[:2]:
        note += f"; Python {there.python} there, {here.python} here: the factor tells of both"
    return Speed(
        factor=there.rounds_per_s / here.rounds_per_s,
        low=there.low_per_s / here.high_per_s,
        high=there.high_per_s / here.low_per_s,
        is_assumed=False,
        note=note,
    )


def assumed_speed() -> Speed:
    """Where no score of the instance type is known: as fast as here, give or take `ASSUMED_SPEED_RANGE`."""
    return Speed(
        factor=1.0,
        low=1 - ASSUMED_SPEED_RANGE,
        high=1 + ASSUMED_SPEED_RANGE,
        is_assumed=True,
        note="no score of an instance type is known here; `peaker measure --cpu` run on one tells it",
    )
