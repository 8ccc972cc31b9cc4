"""Which arrival rate to try next, and which rate an app holds: the search for the capacity of one worker.

The rate is doubled until a step misses, then the gap between the highest rate held and the lowest missed is halved (by
ratio) until it is narrow. A step misses where p95 leaves the objective, where more than FAILED_SHARE_MAX of the
requests failed, or where answers come back slower than requests arrive. One narrow miss may be the machine's noise, so
it is tried once more; one that is far off is believed at once. A step whose generator was late says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

FAILED_SHARE_MAX = 0.01
ACHIEVED_SHARE_MIN = 0.9
"""Answers a second over arrivals a second; below it the queue grows for as long as the step lasts."""

CLEAR_MISS = 2.0
"""A p95 this many times the objective is no noise."""

RESOLUTION = 1.15
"""The search ends when the lowest rate missed is within this factor of the highest held."""

TRIES_MAX = 2
"""Of one rate, where it was missed narrowly or the generator was late."""

HALVINGS_MAX = 10


class Verdict(StrEnum):
    """What a step says about its rate."""

    HELD = "held"
    MISSED = "missed"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rate that was offered for a while.

    Attributes:
        rate_per_s: requests a second that were due.
        requests, failed: how many ended, and how many of those not in an answer below 400.
        achieved_per_s: answers a second.
        p50_s, p95_s, p99_s: from when a request was due to its whole answer; None where failed requests hold the rank.
        cpu_cores: mean number of cores that the worker used; None where that is not known.
        is_void: the generator sent so late that the step says nothing.
    """

    rate_per_s: float
    requests: int
    failed: int
    achieved_per_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    cpu_cores: float | None = None
    is_void: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the steps found: the highest rate held and the lowest one not held above it; None where there is none.

    `is_bound_by_generator`: the rate above could not be offered, so that the worker may hold more.
    """

    held_per_s: float | None
    missed_per_s: float | None
    is_bound_by_generator: bool = False


def verdict(step: Step, objective_s: float | None) -> Verdict:
    """What one step says; without an objective only failures and the growing queue count."""
    if step.is_void or not step.requests:
        return Verdict.VOID
    if step.failed > FAILED_SHARE_MAX * step.requests or step.achieved_per_s < ACHIEVED_SHARE_MIN * step.rate_per_s:
        return Verdict.MISSED
    if objective_s is not None and (step.p95_s is None or step.p95_s > objective_s):
        return Verdict.MISSED
    return Verdict.HELD


def capacity(steps: Sequence[Step], objective_s: float | None) -> Capacity:
    """What is known after these steps."""
    missed, too_fast, held = [], [], []
    for rate in sorted({step.rate_per_s for step in steps}):
        of_rate = [step for step in steps if step.rate_per_s == rate]
        verdicts = [verdict(step, objective_s) for step in of_rate]
        if Verdict.HELD in verdicts:
            held.append(rate)
        elif Verdict.MISSED in verdicts:
            missed.append(rate)
        elif len(verdicts) >= TRIES_MAX:
            too_fast.append(rate)
    ceiling = min([*missed, *too_fast], default=None)
    below = [rate for rate in held if ceiling is None or rate < ceiling]
    return Capacity(
        held_per_s=max(below, default=None),
        missed_per_s=ceiling,
        is_bound_by_generator=ceiling is None or ceiling in too_fast,
    )


def next_rate_per_s(
    steps: Sequence[Step], *, objective_s: float | None, first_per_s: float, rate_max_per_s: float
) -> float | None:
    """The rate to offer next; None when enough is known.

    Args:
        steps: those done, in order.
        objective_s: what p95 must keep; None where there is no such thing.
        first_per_s: where to begin.
        rate_max_per_s: never more than this.
    """
    if not steps:
        return min(first_per_s, rate_max_per_s)
    last = steps[-1]
    tries = sum(step.rate_per_s == last.rate_per_s for step in steps)
    if tries < TRIES_MAX and _is_doubtful(last, objective_s):
        return last.rate_per_s
    known = capacity(steps, objective_s)
    held, missed = known.held_per_s, known.missed_per_s
    if missed is None:
        return None if held is None or held >= rate_max_per_s else min(2 * held, rate_max_per_s)
    if held is None:
        return missed / 2 if missed > first_per_s / 2**HALVINGS_MAX else None
    return math.sqrt(held * missed) if missed > held * RESOLUTION else None


def _is_doubtful(step: Step, objective_s: float | None) -> bool:
    found = verdict(step, objective_s)
    if found is not Verdict.MISSED:
        return found is Verdict.VOID
    if step.failed > FAILED_SHARE_MAX * step.requests or objective_s is None or step.p95_s is None:
        return False
    return step.p95_s <= CLEAR_MISS * objective_s


def knee_per_s(steps: Sequence[Step]) -> float | None:
    """The rate at which answers a second over p95 latency is highest; None with fewer than three steps to tell.

    Below it latency is bought with idle time, above it throughput with waiting (L. Kleinrock, "Power and deterministic
    rules of thumb for probabilistic problems in computer communications", ICC 1979).
    """
    told = [step for step in steps if not step.is_void and step.p95_s]
    if len({step.rate_per_s for step in told}) < 3:
        return None
    return max(told, key=lambda step: step.achieved_per_s / (step.p95_s or math.inf)).rate_per_s
