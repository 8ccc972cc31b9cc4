"""When requests come: times drawn from counts by step, in chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peaker.plan.queueing.state import Floats, Integers
from peaker.plan.workload import Spacing

CHUNK = 32_768
"""Requests drawn at once: their arrays stay in the second-level cache of a core."""


def arrival_times(
    counts: Integers, step_s: float, chance: np.random.Generator, *, spacing: Spacing = "poisson", chunk: int = CHUNK
) -> Iterator[Floats]:
    """Arrays of at most `chunk` times in seconds from the start of the trace, in order.

    "poisson" places the requests of a step independently and uniformly, which is what a Poisson process looks like
    once its count is known; "even" places them equally far apart. A step with more requests than a chunk is cut.
    """
    upto = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = upto[first - 1] if first else 0
        end = int(np.searchsorted(upto, before + chunk, side="right"))
        if end > first:
            end = min(end, first + chunk)
            yield _times(np.arange(first, end, dtype=np.float64) * step_s, counts[first:end], step_s, chance, spacing)
            first = end
        else:
            yield from _parts(first * step_s, int(counts[first]), step_s, chance, spacing, chunk)
            first += 1


def _parts(
    start_s: float, count: int, step_s: float, chance: np.random.Generator, spacing: Spacing, chunk: int
) -> Iterator[Floats]:
    """One step in equal parts; how many of its requests fall into each is drawn, so that no seam shows."""
    parts = -(-2 * count // chunk)
    width_s = step_s / parts
    if spacing == "poisson":
        in_part = chance.multinomial(count, np.full(parts, 1 / parts))
    else:
        in_part = np.diff(np.arange(parts + 1) * count // parts)
    for part in range(parts):
        starts_s = np.array([start_s + part * width_s])
        times_s = _times(starts_s, in_part[part : part + 1], width_s, chance, spacing)
        for at in range(0, len(times_s), chunk):
            yield times_s[at : at + chunk]


def _times(starts_s: Floats, counts: Integers, width_s: float, chance: np.random.Generator, spacing: Spacing) -> Floats:
    total = int(counts.sum())
    if not total:
        return np.empty(0)
    if spacing == "poisson":
        times_s = chance.random(total)
        times_s *= width_s
        times_s += np.repeat(starts_s, counts)
        times_s.sort()
        return times_s
    first = np.repeat(np.cumsum(counts) - counts, counts)
    within = (np.arange(total) - first + 0.5) / np.repeat(counts, counts)
    return np.repeat(starts_s, counts) + within * width_s
