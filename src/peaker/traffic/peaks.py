"""Peaks: where the rate stands out from the level of the hours around it.

The level of a minute is the median of the two hours around it, so the slow rise of a day is level and a flash crowd of
ten minutes is a peak. A peak begins where the rate exceeds 1.5 times the level, and by more than five standard
deviations of Poisson arrivals, and ends where it does so no more for longer than two minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from peaker.traffic.trace import GAP

ABOVE_LEVEL = 1.5
DEVIATIONS = 5.0
PAUSE_BINS = 2
_BIN_S = 60.0
_AROUND_S = 3600.0
_AROUND_BINS_MIN = 12
_BINS_MAX = 300_000
_RISE_FROM, _RISE_TO = 0.1, 0.9
_SMOOTH_S = 5.0
_CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class Peak:
    """One peak; `start_s` counts from the trace's begin."""

    start_s: float
    duration_s: float
    highest_per_s: float
    """By the minute, or by the step where that is longer."""
    level_per_s: float
    rise_s: float
    """From a tenth to nine tenths of the way from the level to the top; no finer than the step."""
    requests_above: float
    """Requests above the level, in all."""
    start: str | None
    """ISO 8601, where the trace has a start."""

    @property
    def times_level(self) -> float:
        """Top over level; infinite above nothing."""
        return self.highest_per_s / self.level_per_s if self.level_per_s else float("inf")


def find_peaks(counts: NDArray[np.int64], step_s: float, start: datetime | None) -> list[Peak]:
    """All peaks, those first that rise highest above their level."""
    steps = max(1, round(_BIN_S / step_s), -(-len(counts) // _BINS_MAX))
    bins = len(counts) // steps
    half = max(_AROUND_BINS_MIN, round(_AROUND_S / (steps * step_s)))
    if bins < half:
        return []
    table = counts[: bins * steps].reshape(bins, steps)
    known = (table != GAP).sum(axis=1)
    sums = np.where(table == GAP, 0, table).sum(axis=1).astype(np.float64)
    sums[known == 0] = np.nan
    scaled = sums * steps / np.maximum(known, 1)
    level = _running_median(scaled, half)
    threshold = np.maximum(ABOVE_LEVEL * level, level + DEVIATIONS * np.sqrt(np.maximum(level, 1.0)))
    above = np.nan_to_num(scaled) > np.nan_to_num(threshold, nan=np.inf)
    bin_s = steps * step_s
    peaks = []
    for begin, end in _stretches(above):
        top = begin + int(np.nanargmax(scaled[begin:end]))
        fine = counts[max(0, begin - 2) * steps : (top + 1) * steps]
        base = float(level[top])
        peaks.append(
            Peak(
                start_s=begin * bin_s,
                duration_s=(end - begin) * bin_s,
                highest_per_s=float(scaled[top]) / bin_s,
                level_per_s=base / bin_s,
                rise_s=_rise_s(fine, step_s, base / bin_s, float(scaled[top]) / bin_s),
                requests_above=float(np.nansum(scaled[begin:end] - level[begin:end])),
                start=None if start is None else (start + timedelta(seconds=begin * bin_s)).isoformat(),
            )
        )
    return sorted(peaks, key=lambda peak: peak.level_per_s - peak.highest_per_s)


def _stretches(above: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where the flags are set, from and to; a pause of at most PAUSE_BINS does not end a stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], above.view(np.int8), [0])))).tolist()
    joined: list[tuple[int, int]] = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if joined and begin - joined[-1][1] <= PAUSE_BINS:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def _running_median(values: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """The median of the known values from `half` before to `half` after each; unknown ones do not count."""
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    medians = np.empty(len(values))
    for at in range(0, len(values), _CHUNK):
        medians[at : at + _CHUNK] = _median_of_known(windows[at : at + _CHUNK])
    return medians


def _median_of_known(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    # nanmedian works row by row; sorting puts nan last, and the middle of the known ones is then at hand.
    ordered = np.sort(windows, axis=1)
    known = (~np.isnan(ordered)).sum(axis=1)
    rows = np.arange(len(ordered))
    low, high = np.maximum(known - 1, 0) // 2, known // 2
    medians: NDArray[np.float64] = (ordered[rows, low] + ordered[rows, np.minimum(high, ordered.shape[1] - 1)]) / 2
    return medians


def _rise_s(counts: NDArray[np.int64], step_s: float, level_per_s: float, top_per_s: float) -> float:
    """How long the way up took, in the finest steps there are, smoothed over five seconds."""
    width = max(1, round(_SMOOTH_S / step_s))
    rates = np.where(counts == GAP, 0, counts).astype(np.float64) / step_s
    if len(rates) <= width:
        return step_s
    smooth = np.convolve(rates, np.full(width, 1 / width), mode="valid")
    top = int(np.argmax(smooth))
    height = top_per_s - level_per_s  # of the minute: the top of single seconds is chance
    before = smooth[: top + 1]
    low = np.flatnonzero(before <= level_per_s + _RISE_FROM * height)
    from_step = int(low[-1]) if low.size else 0
    high = np.flatnonzero(before[from_step:] >= level_per_s + _RISE_TO * height)
    return max(step_s, float(high[0]) * step_s if high.size else step_s)
