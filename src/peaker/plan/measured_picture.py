"""The latency curve of one worker as a picture: rate against latency, and against the core it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from peaker.plan.measured import CurvePoint, Measured, MeasuredFileError
from peaker.policy.knee import Verdict

ENDINGS = (".svg", ".png", ".pdf")
_BLUE, _LIGHT, _RED, _GREY = "#20639b", "#3caea3", "#d1495b", "#8d99ae"


def require_picture_name(path: Path) -> None:
    """Stop at a name whose ending is none of ENDINGS; raises MeasuredFileError."""
    if path.suffix not in ENDINGS:
        raise MeasuredFileError(f"a picture ends with {', '.join(ENDINGS)}.", where=str(path))


def draw_measured(measured: Measured, path: Path) -> None:
    """Write the picture in the format that the path ends with.

    Raises:
        MeasuredFileError: there is no curve in it, the path ends otherwise, or it cannot be written.
    """
    require_picture_name(path)
    points = sorted((point for point in measured.curve if point.verdict is not Verdict.VOID), key=_rate)
    if not points:
        raise MeasuredFileError("there is no latency curve to draw.", where=str(path))
    with mpl.rc_context({"svg.hashsalt": "peaker", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
        _latency(above, measured, points)
        _cores(below, points)
        try:
            figure.savefig(path, dpi=140, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise MeasuredFileError(f"the picture cannot be written: {error.strerror}.", where=str(path)) from error


def _rate(point: CurvePoint) -> float:
    return point.rate_per_s


def _latency(axes: Any, measured: Measured, points: list[CurvePoint]) -> None:
    for name, colour in (("p50", _LIGHT), ("p95", _BLUE), ("p99", _GREY)):
        told = [(point.rate_per_s, getattr(point, f"{name}_s")) for point in points]
        known = [(rate, 1000 * latency_s) for rate, latency_s in told if latency_s]
        axes.plot([rate for rate, _ in known], [ms for _, ms in known], "o", color=colour, markersize=4)
        line = _calmest(known)
        axes.plot(list(line), list(line.values()), color=colour, label=name)
    axes.axhline(measured.objective_s * 1000, color=_RED, linewidth=1, linestyle="--", label="objective for p95")
    if measured.capacity_per_s is not None:
        axes.axvline(measured.capacity_per_s, color=_RED, linewidth=1, label=f"holds {measured.capacity_per_s:,.4g}/s")
    if measured.knee_per_s is not None:
        axes.axvline(
            measured.knee_per_s, color=_GREY, linewidth=1, linestyle=":", label=f"knee {measured.knee_per_s:,.4g}/s"
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_ylabel("latency, ms")
    axes.set_title(f"One worker of {measured.app} on {measured.machine}", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    axes.grid(visible=True, color="#e5e5e5", linewidth=0.6)


def _calmest(points: list[tuple[float, float]]) -> dict[float, float]:
    """The lower value where a rate was offered twice: what was above it was noise of the machine."""
    lowest: dict[float, float] = {}
    for rate, value in points:
        lowest[rate] = min(value, lowest.get(rate, value))
    return lowest


def _cores(axes: Any, points: list[CurvePoint]) -> None:
    known = [(point.rate_per_s, point.cpu_cores) for point in points if point.cpu_cores is not None]
    axes.plot([rate for rate, _ in known], [cores for _, cores in known], "o", color=_BLUE, markersize=4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("cores used")
    axes.set_xlabel("requests a second offered")
    axes.grid(visible=True, color="#e5e5e5", linewidth=0.6)
