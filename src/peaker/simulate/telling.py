"""How figures of a prediction are written, wherever they are shown."""

from __future__ import annotations

from peaker.simulate.measures import Judged, Measure


def figure(measure: Measure, value: float | None) -> str:
    """A figure in its unit; `failed` where a percentile falls on a request without a good answer."""
    if value is None:
        return "failed"
    if measure.judged is Judged.POINTS:
        return f"{value:.1%}"
    if measure.unit == "$":
        return f"${value:,.6f}" if abs(value) < 1 else f"${value:,.2f}"
    return f"{value:,.4g} {measure.unit}".strip()


def off(measure: Measure, value: float, *, sign: bool = True) -> str:
    """A distance: `+3.1 %`, or in points for shares."""
    text = f"{value * 100:+.1f}" if sign else f"{value * 100:.1f}"
    return f"{text} points" if measure.judged is Judged.POINTS else f"{text} %"
