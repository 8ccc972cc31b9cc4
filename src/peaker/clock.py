"""Time and chance as parameters.

Everything above takes a `Clock` and a `random.Random`; only the shells that start processes create the real ones.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings: one that only moves forward, one that a calendar understands."""

    def now_s(self) -> float:
        """Monotonic seconds; comparable between processes of one machine."""
        ...

    def epoch_s(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""
        ...


class SystemClock:
    """The clock of this machine."""

    # Bound methods of the class would cost a frame per reading on the request path.
    now_s = staticmethod(time.monotonic)
    epoch_s = staticmethod(time.time)


class VirtualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_s: float = 0.0, epoch_s: float = 1_767_225_600.0) -> None:
        self._now_s = now_s
        self._epoch_offset_s = epoch_s - now_s

    def now_s(self) -> float:
        """Seconds since this clock began."""
        return self._now_s

    def epoch_s(self) -> float:
        """Calendar seconds, moving with `now_s`."""
        return self._now_s + self._epoch_offset_s

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`; raises ValueError for a step back."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds} s")
        self._now_s += seconds
