"""Requests counted by the second in blocks of a day; and what of the seconds without any is a gap."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peaker.traffic.requests import Gap
from peaker.traffic.trace import GAP, Trace

_DAY_S = 86_400
SECONDS_DAYS_MAX = 62
"""Days with requests that are kept by the second; with more of them everything is kept by the minute."""
COARSE_STEP_S = 60
STEPS_MAX = SECONDS_DAYS_MAX * _DAY_S
"""Of the trace in the end; a longer one has coarser steps."""

GAP_S_MIN = 300
GAP_REQUESTS_MIN = 30.0
"""Requests that the quiet hours of the log would have brought in a stretch without any: then nothing was recorded.

By chance alone 30 expected requests fail to come with a probability of e^-30 = 1e-13.
"""


LIKE_MAX = 3


class StepCounts:
    """Counts by step of 1 s, or of COARSE_STEP_S once there are more than SECONDS_DAYS_MAX days."""

    def __init__(self) -> None:
        self.step_s = 1
        self._days: dict[int, NDArray[np.int64]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Only the steps with requests: it crosses between processes."""
        days = {}
        for day, counts in self._days.items():
            places = np.flatnonzero(counts)
            days[day] = (places.astype(np.int32), counts[places])
        return {"step_s": self.step_s, "days": days}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.step_s = state["step_s"]
        self._days = {}
        for day, (places, filled) in state["days"].items():
            counts = self._days[day] = np.zeros(_DAY_S // self.step_s, np.int64)
            counts[places] = filled

    def add(self, time_s: NDArray[np.float64]) -> None:
        """Count requests at these seconds since 1970."""
        whole = np.floor(time_s).astype(np.int64)
        days = whole // _DAY_S
        for day in np.unique(days).tolist():
            within = (whole[days == day] - day * _DAY_S) // self.step_s
            self._add_day(day, np.bincount(within, minlength=_DAY_S // self.step_s))
        self._bound()

    def merge(self, other: StepCounts) -> None:
        """Add the other's counts."""
        if other.step_s > self.step_s:
            self._coarsen()
        for day, counts in other._days.items():
            self._add_day(day, counts if other.step_s == self.step_s else _summed(counts))
        self._bound()

    def _add_day(self, day: int, counts: NDArray[np.int64]) -> None:
        if day in self._days:
            self._days[day] += counts
        else:
            self._days[day] = counts.astype(np.int64)

    def _bound(self) -> None:
        if self.step_s == 1 and len(self._days) > SECONDS_DAYS_MAX:
            self._coarsen()

    def _coarsen(self) -> None:
        if self.step_s == 1:
            self.step_s = COARSE_STEP_S
            self._days = {day: _summed(counts) for day, counts in self._days.items()}

    def trace(self, name: str) -> tuple[Trace, tuple[Gap, ...]]:
        """From the first step with a request to the last, and the gaps in it; at least one request was counted."""
        first, last = min(self._days), max(self._days)
        step_s = self.step_s
        while (last - first + 1) * _DAY_S // step_s > STEPS_MAX:
            step_s = COARSE_STEP_S if step_s == 1 else step_s * COARSE_STEP_S
        per_day = max(1, _DAY_S // step_s)
        counts = np.zeros((last - first + 1) * per_day, np.int64)
        for day, fine in self._days.items():
            at = (day - first) * per_day
            counts[at : at + per_day] = fine.reshape(per_day, -1).sum(axis=1)
        filled = np.flatnonzero(counts)
        counts = counts[filled[0] : filled[-1] + 1]
        start_epoch_s = float(first * _DAY_S + int(filled[0]) * step_s)
        counts, gaps = with_gaps(counts, float(step_s), start_epoch_s)
        start = datetime.fromtimestamp(start_epoch_s, UTC)
        return Trace(tuple(counts.tolist()), float(step_s), start, name), gaps


def _summed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    summed: NDArray[np.int64] = counts.reshape(-1, COARSE_STEP_S).sum(axis=1)
    return summed


def with_gaps(
    counts: NDArray[np.int64], step_s: float, start_epoch_s: float
) -> tuple[NDArray[np.int64], tuple[Gap, ...]]:
    """The counts with GAP in stretches of nothing that are no idleness.

    Such a stretch is at least GAP_S_MIN long, would have brought GAP_REQUESTS_MIN requests at the quiet rate (the 10th
    percentile of the rates of those hours that have requests), and has no like: fewer than LIKE_MAX other stretches are
    at least half as long. What comes again, every night or between bursts, is idleness.
    """
    rate = _quiet_rate_per_s(counts, step_s)
    gap_s_min = max(GAP_S_MIN, GAP_REQUESTS_MIN / rate if rate > 0 else np.inf)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (counts == 0).view(np.int8), [0]))))
    begins, lengths = edges[::2], edges[1::2] - edges[::2]
    ranked = np.sort(lengths)
    marked, gaps = counts.copy(), []
    for place in np.flatnonzero(lengths * step_s >= gap_s_min).tolist():
        begin, length = int(begins[place]), int(lengths[place])
        likes = len(ranked) - int(np.searchsorted(ranked, length / 2)) - 1
        if likes < LIKE_MAX:
            marked[begin : begin + length] = GAP
            gaps.append(Gap(start_epoch_s + begin * step_s, length * step_s))
    return marked, tuple(gaps)


def _quiet_rate_per_s(counts: NDArray[np.int64], step_s: float) -> float:
    steps = max(1, round(3600 / step_s))
    if len(counts) < 2 * steps:
        return 0.0  # too short to tell a quiet hour from a pause
    hours = counts[: len(counts) // steps * steps].reshape(-1, steps).sum(axis=1)
    return float(np.percentile(hours[hours > 0], 10)) / (steps * step_s) if hours.any() else 0.0
