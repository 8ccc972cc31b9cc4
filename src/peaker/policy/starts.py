"""Whether one more instance should be started, and what for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Need(IntEnum):
    """Why an instance is wanted; the higher comes first where starts are limited."""

    NONE = 0
    SPARE = 1
    REQUEST = 2


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """What one function has at one moment. `existing` counts processes, the ending ones included."""

    waiting: int = 0
    starting: int = 0
    busy: int = 0
    idle: int = 0
    spares: int = 0
    ending: int = 0

    @property
    def live(self) -> int:
        """Instances that do or will take requests; `spares` is the unused part of `idle`."""
        return self.starting + self.busy + self.idle


def admits(counts: PoolCounts, concurrency_max: int) -> bool:
    """One more request may come: each of those running and waiting has its instance within the limit."""
    return counts.busy + counts.waiting < concurrency_max


def start_need(counts: PoolCounts, *, concurrency_max: int, buffer: int, spares_allowed: bool = True) -> Need:
    """Whether to start one more instance.

    A start for each request that waits and no start is under way for; then as many spares as `buffer` asks for. Both
    within `concurrency_max`, so spares never keep a request from its instance: with fewer than concurrency_max
    running and waiting, those waiting have a start under way or room for one.
    """
    if counts.live >= concurrency_max:
        return Need.NONE
    if counts.waiting > counts.starting:
        return Need.REQUEST
    if spares_allowed and counts.spares + counts.starting - counts.waiting < buffer:
        return Need.SPARE
    return Need.NONE


SPARE_RETRY_S_FIRST = 1.0
SPARE_RETRY_S_MAX = 60.0


def spare_retry_s(failures: int) -> float:
    """How long to leave spares alone after this many failed starts in a row with nobody waiting: 1, 2, 4 .. 60 s."""
    return min(SPARE_RETRY_S_MAX, SPARE_RETRY_S_FIRST * 2.0 ** min(failures - 1, 10)) if failures > 0 else 0.0
