"""One picture of a trace: traffic over time with its baseline, the load-duration curve, and the day's cycle."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from peaker.errors import LogError
from peaker.traffic.shape import Shape, binned, level_bin_s
from peaker.traffic.trace import Trace

ENDINGS = (".svg", ".png", ".pdf")
_COLUMNS = 1200
_BLUE, _ORANGE, _GREY = "#20639b", "#d1495b", "#8d99ae"


def draw_shape(trace: Trace, shape: Shape, title: str, path: Path) -> None:
    """Write the picture in the format that the path ends with.

    Raises:
        LogError: the path ends otherwise, or cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise LogError(f"a picture ends with {', '.join(ENDINGS)}.", where=str(path))
    with mpl.rc_context({"svg.hashsalt": "peaker", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 6.5), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 2, height_ratios=(3, 2))
        _traffic(figure.add_subplot(grid[0, :]), trace, shape, title)
        _duration_curve(figure.add_subplot(grid[1, 0]), trace, shape)
        _day(figure.add_subplot(grid[1, 1]), shape)
        try:
            figure.savefig(path, dpi=140, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise LogError(f"the picture cannot be written: {error.strerror}.", where=str(path)) from error


def _traffic(axes: Any, trace: Trace, shape: Shape, title: str) -> None:
    """Each column's mean as a line and its highest minute above it: a peak is not lost in a wide column."""
    rates, fine_s = binned(trace, level_bin_s(trace))
    together = max(1, -(-len(rates) // _COLUMNS))
    padded = np.pad(rates, (0, -len(rates) % together), constant_values=np.nan).reshape(-1, together)
    known = ~np.isnan(padded)
    count = known.sum(axis=1)
    mean = np.where(count > 0, np.where(known, padded, 0).sum(axis=1) / np.maximum(count, 1), np.nan)
    highest = np.where(count > 0, np.where(known, padded, -1).max(axis=1), np.nan)
    seconds = np.arange(len(mean)) * together * fine_s
    at: Any = seconds / 3600
    if trace.start is not None:
        at = [trace.start + timedelta(seconds=float(second)) for second in seconds]
    elif trace.duration_s < 7200:
        at = seconds / 60
    axes.fill_between(at, 0, highest, color=_BLUE, alpha=0.25, linewidth=0, label=f"highest {_span(fine_s)}")
    axes.plot(at, mean, color=_BLUE, linewidth=0.9, label="mean")
    axes.axhline(shape.baseline_per_s, color=_ORANGE, linewidth=1.4)
    axes.annotate(
        f"baseline {shape.baseline_per_s:,.3g}/s, exceeded 90 % of the time",
        (1, shape.baseline_per_s), xycoords=("axes fraction", "data"), xytext=(-4, -4), textcoords="offset points",
        ha="right", va="top", color=_ORANGE, fontsize=9,
    )  # fmt: skip
    axes.set(ylabel="requests a second", ylim=(0, None), title=title)
    if trace.start is None:
        axes.set_xlabel("minutes" if trace.duration_s < 7200 else "hours")
    axes.margins(x=0)
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _duration_curve(axes: Any, trace: Trace, shape: Shape) -> None:
    rates, bin_s = binned(trace, level_bin_s(trace))
    falling = np.sort(rates[~np.isnan(rates)])[::-1]
    share = (np.arange(len(falling)) + 0.5) / len(falling) * 100
    keep = np.unique(np.linspace(0, len(falling) - 1, min(len(falling), 2000)).astype(int))
    axes.fill_between(share[keep], 0, falling[keep], color=_BLUE, alpha=0.25, linewidth=0)
    axes.plot(share[keep], falling[keep], color=_BLUE)
    axes.axhline(shape.baseline_per_s, color=_ORANGE, linewidth=1.2)
    axes.axhline(shape.mean_per_s, color=_GREY, linewidth=1, linestyle="--")
    axes.annotate("mean", (99, shape.mean_per_s), ha="right", va="bottom", color=_GREY, fontsize=9)
    axes.set(xlabel=f"share of time (%), by {_span(bin_s)}", ylabel="requests a second", title="Load-duration curve")
    axes.set(xlim=(0, 100), ylim=(0, None))


def _day(axes: Any, shape: Shape) -> None:
    if shape.daily is None:
        axes.text(0.5, 0.5, "shorter than two days:\nno cycle can be told", ha="center", color=_GREY)
        axes.set_axis_off()
        return
    axes.bar(range(24), shape.daily.means_per_s, color=_BLUE, alpha=0.6)
    axes.set(
        xlabel="hour of day (UTC)", ylabel="mean requests a second", xticks=range(0, 24, 3),
        title=f"Day: explains {100 * shape.daily.share:.0f} % of the hourly variance",
    )  # fmt: skip


def _span(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
