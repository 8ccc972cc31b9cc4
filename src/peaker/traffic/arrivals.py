"""When each request of a trace arrives.

A trace tells how many came in a step, not when within it. The default puts them uniformly at random, which is what
arrivals of many independent people look like once their number is known; `even` is the calmest reading of the same
counts, `poisson` draws the number as well, so that a step of 0.2 requests a second does not tick like a clock.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum

from peaker.traffic.trace import GAP, Trace


class Spread(StrEnum):
    """How the requests of one step are spread within it."""

    RANDOM = "random"
    EVEN = "even"
    POISSON = "poisson"


def arrival_times_s(trace: Trace, spread: Spread, chance: random.Random) -> Iterator[float]:
    """Seconds from the beginning of the trace, rising, one a request, made as they are asked for.

    RANDOM and EVEN give exactly `trace.total` of them, POISSON as many on average. Nothing arrives in a gap.
    """
    within = _WITHIN_STEP[spread]
    for step, count in enumerate(trace.counts):
        if count == GAP:
            continue
        for fraction in within(count, chance):
            yield (step + fraction) * trace.step_s


def _random(count: int, chance: random.Random) -> Iterator[float]:
    """Uniform and in order without sorting, so that a step of an hour with a million requests costs no pause.

    The smallest of k uniform draws from the rest (1 - t) lies at t + (1 - t) (1 - u^(1/k)) for uniform u (Bentley and
    Saxe, "Generating sorted lists of random numbers", ACM TOMS 6, 1980).
    """
    rest = 1.0
    for remaining in range(count, 0, -1):
        rest *= chance.random() ** (1.0 / remaining)
        yield 1.0 - rest


def _even(count: int, _chance: random.Random) -> Iterator[float]:
    for place in range(count):
        yield (place + 0.5) / count


def _poisson(count: int, chance: random.Random) -> Iterator[float]:
    if not count:
        return
    fraction = chance.expovariate(count)
    while fraction < 1.0:
        yield fraction
        fraction += chance.expovariate(count)


_WITHIN_STEP = {Spread.RANDOM: _random, Spread.EVEN: _even, Spread.POISSON: _poisson}
