"""`like = "lambda"`: start times, pace and overhead of AWS Lambda, so that what one machine shows is not too good.

Instances here start in milliseconds from a zygote; on Lambda a process starts and imports the code each time. CPU
share, freezing and the read-only disk are made by functions/limits.py; this is the rest of the difference.
"""

from __future__ import annotations

import random
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence

from peaker.policy.stream_pace import LAMBDA_PACE

FRACTIONS = (0.0, 0.05, 0.50, 0.90, 0.95, 0.99, 1.0)

INIT_MS: dict[tuple[int, int], tuple[float, ...]] = {
    (3, 11): (57.16, 57.16, 73.84, 81.15, 86.91, 106.23, 231.79),
    (3, 12): (62.72, 62.72, 81.13, 89.93, 95.88, 138.41, 223.32),
    (3, 13): (62.87, 62.87, 81.28, 98.91, 103.96, 124.79, 201.49),
    (3, 14): (79.33, 79.33, 102.91, 119.81, 126.39, 213.37, 280.16),
}
"""Init Duration of an empty Python function at FRACTIONS, which are p5, p50, p90, p95, p99 and the largest seen; the
smallest was not published, p5 stands for it. Zip package, arm64, 512 MB (the other sizes differ by a few percent),
some 770 starts each, 2026-05-22 to 2026-08-22. Source: github.com/maxday/lambda-perf (Apache-2.0)."""

PLACEMENT_S = 0.050
"""Before the init phase: finding a place, fetching the code. Not in Init Duration, and no public measurement of it was
found: an assumption."""

OVERHEAD_S = 0.008
"""From a caller in the same region to the handler and back, beside the run itself. An assumption, likewise."""

INSTANCES_PER_10_S = 1000
"""Each function gets at most this many more instances in ten seconds (AWS Lambda Developer Guide, "Lambda scaling
behavior")."""


def quantile(fractions: Sequence[float], values: Sequence[float], at: float) -> float:
    """The value at fraction `at`, straight lines between those known; `fractions` goes from 0 to 1."""
    above = min(max(bisect_right(fractions, at), 1), len(fractions) - 1)
    low, high = fractions[above - 1], fractions[above]
    share = (at - low) / (high - low)
    return values[above - 1] + share * (values[above] - values[above - 1])


class LambdaLike:
    """A `StartModel` for one function.

    Args:
        own_init_s: what this app's import and start-up took here, on a whole core, when it was prepared; 0 where
            instances import by themselves, for then it is part of the time a start took. Lambda too runs the init
            phase of small functions on more CPU than their share, so it is not stretched.
        chance: seeded by the owner.
        version: of Python.
        brings_runtime: the function is a program with a runtime of its own, whose start is part of the time taken here.
    """

    freezes = True
    stream_pace = LAMBDA_PACE

    def __init__(
        self,
        own_init_s: Callable[[], float],
        *,
        chance: random.Random,
        version: tuple[int, int] = sys.version_info[:2],
        brings_runtime: bool = False,
    ) -> None:
        self._own_init_s = own_init_s
        self._chance = chance
        self._init_ms = INIT_MS.get(version, INIT_MS[max(INIT_MS)]) if not brings_runtime else (0.0,) * len(FRACTIONS)
        self._starts_left = float(INSTANCES_PER_10_S)
        self._counted_s: float | None = None

    def may_start(self, now_s: float) -> bool:
        """Up to 1,000 at once, and 100 more each second; counts the start as made."""
        if self._counted_s is not None:
            refill = (now_s - self._counted_s) * INSTANCES_PER_10_S / 10
            self._starts_left = min(float(INSTANCES_PER_10_S), self._starts_left + refill)
        self._counted_s = now_s
        if self._starts_left < 1.0:
            return False
        self._starts_left -= 1.0
        return True

    def start_s(self, took_s: float) -> float:
        """Placement, the runtime's own init, and the app's; never less than it took here."""
        runtime_s = quantile(FRACTIONS, self._init_ms, self._chance.random()) / 1000
        return PLACEMENT_S + runtime_s + max(took_s, self._own_init_s())

    def overhead_s(self) -> float:
        """The same for each."""
        return OVERHEAD_S
