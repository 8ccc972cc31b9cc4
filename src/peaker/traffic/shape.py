"""The shape of a trace: baseline, peaks, cycles, burstiness, idleness, trend. Pure sums over the counts.

Steps that were not collected (GAP) are left out everywhere: a wider bin is known if at least half of it is, and its
rate is that of the known part.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peaker.traffic.peaks import Peak, find_peaks
from peaker.traffic.trace import GAP, Trace

Rates = NDArray[np.float64]
"""Requests a second by bin, nan where unknown."""

BASELINE_EXCEEDED = 0.9
BASELINE_BIN_S = 60.0
BINS_MIN = 20
"""A trace of fewer minutes is told by its own steps."""

SCALES_S = {"1s": 1.0, "10s": 10.0, "1min": 60.0, "10min": 600.0, "1h": 3600.0, "1d": 86_400.0}
RATIO_SCALES = ("1s", "1min", "1h")
IDLE_SCALES = ("1s", "1min", "10min", "1h")
LEVEL_QUANTILES = (0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
_HOUR_S = 3600.0
_BINS_TOGETHER = 60


@dataclass(frozen=True, slots=True)
class Cycle:
    """How far hour of day and day of week explain the hourly rates; in UTC, or the trace's own time if it has no start.

    `share` is the share of variance between the classes' means (eta squared, corrected for their number as
    omega squared is); `autocorrelation` is that of the hourly rates at one period.
    """

    share: float
    autocorrelation: float
    highest: int
    """Hour of day, 0 to 23, or day of week, 0 for Monday (0 for the trace's first day without a start)."""
    lowest: int
    means_per_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """Rates are requests a second; what cannot be told from a trace so short or so coarse is None or absent."""

    step_s: float
    duration_s: float
    known_share: float
    total: int
    mean_per_s: float
    baseline_per_s: float
    """The rate exceeded 90 % of the time, by the minute (by the step, if that is longer or the trace is short)."""
    trough_per_s: float | None
    """The mean of the quietest hour of the day over all days; from two days on."""
    levels_per_s: dict[str, float]
    """Quantiles of the rate by the minute: the load-duration curve at a few places."""
    peak_to_mean: dict[str, float]
    peaks: tuple[Peak, ...]
    """The highest ten above the level around them, highest first."""
    peak_count: int
    peaks_per_day: float
    daily: Cycle | None
    weekly: Cycle | None
    dispersion: dict[str, float]
    """Variance over mean of the counts by scale, within stretches of 60 bins: 1 is Poisson, more is bursts."""
    idle_share: dict[str, float]
    """Share of bins without a request."""
    trend_per_week: float | None
    """Relative change of the daily mean in a week by least squares; from four days on."""

    def as_json(self) -> dict[str, Any]:
        """Everything, for --json."""
        return asdict(self)


def binned(trace: Trace, bin_s: float) -> tuple[Rates, float]:
    """Rates by bins of the whole number of steps nearest to `bin_s`, and the bins' length; the last may be cut off."""
    return rates_of(trace.array(), trace.step_s, bin_s)


def rates_of(counts: NDArray[np.int64], step_s: float, bin_s: float) -> tuple[Rates, float]:
    """As `binned`, of the counts themselves."""
    steps = max(1, round(bin_s / step_s))
    bins = max(1, len(counts) // steps)
    cut = counts[: bins * steps].reshape(bins, -1)
    known = (cut != GAP).sum(axis=1)
    sums = np.where(cut == GAP, 0, cut).sum(axis=1)
    rates = np.full(bins, np.nan)
    enough = (known > 0) & (known * 2 >= cut.shape[1])
    rates[enough] = sums[enough] / (known[enough] * step_s)
    return rates, steps * step_s


def shape_of(trace: Trace) -> Shape:
    """The shape of a trace with at least one request."""
    counts = trace.array()
    step_s = trace.step_s
    told = _known(rates_of(counts, step_s, level_bin_s(trace))[0])
    if not told.size:
        told = _known(rates_of(counts, step_s, step_s)[0])
    hourly = rates_of(counts, step_s, _HOUR_S)[0] if step_s <= _HOUR_S else np.empty(0)
    first_hour, first_day = _place_in_week(trace)
    daily = _cycle(hourly, 24, 1, first_hour)
    peaks = find_peaks(counts, step_s, trace.start)
    days = trace.duration_s / 86_400
    mean = trace.mean_per_s
    return Shape(
        step_s=step_s,
        duration_s=trace.duration_s,
        known_share=1 - trace.gap_steps / len(counts),
        total=trace.total,
        mean_per_s=mean,
        baseline_per_s=float(np.quantile(told, 1 - BASELINE_EXCEEDED)),
        trough_per_s=min(daily.means_per_s) if daily else None,
        levels_per_s={f"p{100 * q:g}": float(np.quantile(told, q)) for q in LEVEL_QUANTILES},
        peak_to_mean=_ratios(counts, step_s, mean),
        peaks=tuple(peaks[:10]),
        peak_count=len(peaks),
        peaks_per_day=len(peaks) / days if days else 0.0,
        daily=daily,
        weekly=_cycle(hourly, 7, 24, first_hour + 24 * first_day),
        dispersion=_dispersions(counts, step_s),
        idle_share=_idle(counts, step_s),
        trend_per_week=_trend(counts, step_s),
    )


def level_bin_s(trace: Trace) -> float:
    """The bins in which levels are told: a minute, or the step where that is longer or the trace is short."""
    return trace.step_s if trace.duration_s < BINS_MIN * BASELINE_BIN_S else max(BASELINE_BIN_S, trace.step_s)


def _known(rates: Rates) -> Rates:
    return rates[~np.isnan(rates)]


def _ratios(counts: NDArray[np.int64], step_s: float, mean: float) -> dict[str, float]:
    found = {}
    for name in RATIO_SCALES:
        scale_s = SCALES_S[name]
        if step_s <= scale_s <= len(counts) * step_s and mean > 0:
            rates, _ = rates_of(counts, step_s, scale_s)
            if not np.isnan(rates).all():
                found[name] = float(np.nanmax(rates)) / mean
    return found


def _idle(counts: NDArray[np.int64], step_s: float) -> dict[str, float]:
    found = {}
    for name in IDLE_SCALES:
        if step_s <= SCALES_S[name] <= len(counts) * step_s:
            rates, _ = rates_of(counts, step_s, SCALES_S[name])
            known = rates[~np.isnan(rates)]
            if known.size:
                found[name] = float((known == 0).mean())
    return found


def _dispersions(counts: NDArray[np.int64], step_s: float) -> dict[str, float]:
    """Index of dispersion of counts (Cox and Lewis, 1966), local: slow cycles are not burstiness.

    In each stretch of 60 bins variance and mean are taken; the sum of the variances over the sum of the means weighs
    busy stretches as they are.
    """
    found = {}
    for name, scale_s in SCALES_S.items():
        if scale_s < step_s:
            continue
        rates, bin_s = rates_of(counts, step_s, scale_s)
        stretches = len(rates) // _BINS_TOGETHER
        if not stretches:
            break
        table = rates[: stretches * _BINS_TOGETHER].reshape(stretches, -1) * bin_s
        table = table[~np.isnan(table).any(axis=1)]
        mean = float(table.mean(axis=1).sum()) if len(table) else 0.0
        if mean > 0:
            found[name] = float(table.var(axis=1, ddof=1).sum()) / mean
    return found


def _place_in_week(trace: Trace) -> tuple[int, int]:
    """Hour of the day and day of the week in which the trace starts; 0 and 0 if nobody knows."""
    if trace.start is None:
        return 0, 0
    return trace.start.hour, trace.start.weekday()


def _cycle(hourly: Rates, classes: int, hours_each: int, first: int) -> Cycle | None:
    """The cycle of `classes` stretches of `hours_each`; from two periods on, and only if the rates vary at all."""
    period = classes * hours_each
    if len(hourly) < 2 * period:
        return None
    known = ~np.isnan(hourly)
    values = hourly[known]
    label = ((first + np.arange(len(hourly))) // hours_each % classes)[known]
    count = np.bincount(label, minlength=classes)
    if (count == 0).any() or values.size < 2 * classes or np.ptp(values) == 0:
        return None
    means = np.bincount(label, values, minlength=classes) / count
    within = float(((values - means[label]) ** 2).sum()) / (values.size - classes)
    whole = float(((values - values.mean()) ** 2).sum())
    between = whole - within * (values.size - classes)
    share = (between - (classes - 1) * within) / (whole + within)
    return Cycle(
        share=min(1.0, max(0.0, share)),
        autocorrelation=autocorrelation(hourly, period),
        highest=int(means.argmax()),
        lowest=int(means.argmin()),
        means_per_s=tuple(means.tolist()),
    )


def autocorrelation(values: Rates, lag: int) -> float:
    """Pearson's correlation of the values with those `lag` later, where both are known; nan if one side is constant."""
    early, late = values[:-lag], values[lag:]
    both = ~np.isnan(early) & ~np.isnan(late)
    early, late = early[both], late[both]
    if early.size < 3 or not np.ptp(early) or not np.ptp(late):
        return math.nan
    return float(np.corrcoef(early, late)[0, 1])


def _trend(counts: NDArray[np.int64], step_s: float) -> float | None:
    if step_s > 86_400:
        return None
    daily, _ = rates_of(counts, step_s, 86_400.0)
    days = np.flatnonzero(~np.isnan(daily))
    if days.size < 4 or not daily[days].mean():
        return None
    slope = float(np.polyfit(days.astype(np.float64), daily[days], 1)[0])
    return 7 * slope / float(daily[days].mean())


def when(trace: Trace, seconds: float) -> str:
    """A place in the trace as people say it: a time if the trace has one, else hours from its begin."""
    if trace.start is None:
        return f"+{timedelta(seconds=round(seconds))}"
    return f"{trace.start + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"
