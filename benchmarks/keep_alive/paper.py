"""The hybrid histogram of "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020, section 4), for comparison.

Bins of a minute over 4 hours; the 5th percentile rounded down and the 99th rounded up, with a margin of 10 %, give when
an instance is started ahead and when it ends. Where the histogram says little (coefficient of variation of its counts
below 2) or half of the idle times lie outside, an instance is kept for 4 hours. The paper forecasts the latter by
ARIMA, which is left out here. A histogram per level here, for one per application there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from benchmarks.keep_alive.levels import Idle
from benchmarks.keep_alive.rules import Cost, of_windows

BINS, BIN_S = 240, 60.0
HEAD, TAIL, MARGIN, VARIATION_MIN, OUTSIDE_MAX = 0.05, 0.99, 0.10, 2.0, 0.5
STANDARD = ((0.0, BINS * BIN_S),)


@dataclass(slots=True)
class Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    outside: int = 0
    total: int = 0
    squares: int = 0

    def add(self, idle_s: float) -> None:
        index = int(idle_s / BIN_S)
        if index >= BINS:
            self.outside += 1
            return
        self.squares += 2 * self.counts[index] + 1
        self.counts[index] += 1
        self.total += 1

    def windows(self) -> tuple[tuple[float, float], ...]:
        if not self.total or self.outside > OUTSIDE_MAX * (self.total + self.outside):
            return STANDARD
        mean = self.total / BINS
        if math.sqrt(max(0.0, self.squares / BINS - mean * mean)) < VARIATION_MIN * mean:
            return STANDARD
        head = self._bin_of(HEAD) * BIN_S * (1 - MARGIN)
        tail = (self._bin_of(TAIL) + 1) * BIN_S * (1 + MARGIN)
        return ((head, tail),)

    def _bin_of(self, share: float) -> int:
        wanted, seen = share * self.total, 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return index
        return BINS - 1


def hybrid(idle: Idle) -> Cost:
    rows: dict[int, Histogram] = {}
    windows: dict[int, tuple[tuple[float, float], ...]] = {}
    changed: dict[int, int] = {}
    cold, kept_s, ahead = idle.firsts, 0.0, 0
    for level, idle_s, is_used in zip(idle.level, idle.idle_s.tolist(), idle.is_used.tolist(), strict=True):
        is_warm, own_s, own_ahead = of_windows(windows.get(level, STANDARD), idle_s)
        kept_s += own_s
        ahead += own_ahead
        if is_used:
            cold += not is_warm
            own = rows.setdefault(level, Histogram())
            own.add(idle_s)
            changed[level] = changed.get(level, 1) - 1
            if changed[level] <= 0:  # When a sixteenth is new.
                windows[level] = own.windows()
                changed[level] = max(1, own.total // 16)
    return Cost(cold, kept_s * idle.memory_gb, ahead)
