"""A comparison as one SVG: the prediction in the middle, what is allowed as a band around it, each replay as a dot."""

from __future__ import annotations

from collections.abc import Iterable

from peaker.plan.svg import Frame, box, line, picture, text
from peaker.simulate.comparison import Comparison, Row, Verdict
from peaker.simulate.measures import BY_NAME, Judged
from peaker.simulate.telling import figure, off

WIDTH = 760.0
ROW = 34.0
TOP = 64.0
BOTTOM = 46.0
_LABELS, _VERDICTS = 210.0, 190.0
SHOWN = 2.5
"""How far the picture goes, in times of what is allowed; what lies beyond stands at the edge."""

_STYLE = (
    "<style>svg{font:13px system-ui,sans-serif;background:#fff}text{fill:#18212b}.soft{fill:#586573}"
    ".head{font-weight:600;font-size:15px}.band{fill:#dcebdf}.grid{stroke:#d8dee5}.middle{stroke:#1b7a4a;stroke-width:2}"
    ".dot{fill:#2b6cb0;fill-opacity:.55}.median{fill:#18212b}.holds{fill:#1b7a4a}.off{fill:#b3261e}</style>"
)


def comparison_svg(found: Comparison) -> str:
    """The whole picture; its size follows the number of figures."""
    frame = Frame(WIDTH, TOP + ROW * len(found.rows) + BOTTOM, 1.0, 1.0, left=_LABELS, right=_VERDICTS)
    title = f"{found.of}: predicted and measured"
    traffic = found.traffic
    told = (
        f"{traffic.requests:,} requests of {traffic.name} in {traffic.duration_s:,.4g} s; "
        f"{found.repeats - found.void} replays"
    )
    body = [_STYLE, text(12, 24, title, "head"), text(12, 44, told, "soft")]
    for index, row in enumerate(found.rows):
        body += _row(frame, row, TOP + ROW * index)
    floor = TOP + ROW * len(found.rows)
    body += [
        text(_x(frame, 0.0), floor + 18, "predicted", "soft", "middle"),
        text(_x(frame, -1.0), floor + 18, "allowed", "soft", "middle"),
        text(_x(frame, 1.0), floor + 18, "allowed", "soft", "middle"),
        text(
            12, floor + 38, "Dots: replays, the black one their median. The band: what a prediction may be off.", "soft"
        ),
    ]
    return picture("comparison", frame, title, told, body, "comparison") + "\n"


def _row(frame: Frame, row: Row, top: float) -> Iterable[str]:
    measure, middle = BY_NAME[row.name], top + ROW / 2
    yield text(12, middle + 4, measure.title)
    yield text(_LABELS - 12, middle + 4, figure(measure, row.predicted), "soft", "end")
    left, right = _x(frame, -1.0), _x(frame, 1.0)
    yield box(left, top + 4, right - left, ROW - 8, "band")
    yield line(_x(frame, -SHOWN), middle, _x(frame, SHOWN), middle, "grid")
    yield line(_x(frame, 0.0), top + 4, _x(frame, 0.0), top + ROW - 4, "middle")
    allowed = row.allowed if measure.judged is Judged.POINTS else row.allowed * (row.measured or 0.0)
    if row.predicted is not None and allowed:
        for value in row.repeats:
            if value is not None:
                yield _dot(_x(frame, (value - row.predicted) / allowed), middle, 5.0, "dot")
        if row.measured is not None:
            yield _dot(_x(frame, (row.measured - row.predicted) / allowed), middle, 3.5, "median")
    error = "" if row.error is None else off(measure, row.error)
    css = {Verdict.HOLDS: "holds", Verdict.OFF: "off", Verdict.NOT_MEASURED: "soft"}[row.verdict]
    yield text(frame.end + 12, middle + 4, f"{error}  {row.verdict}".strip(), css)


def _x(frame: Frame, times: float) -> float:
    """Where a distance from the prediction lies, in times of what is allowed."""
    held = max(-SHOWN, min(SHOWN, times))
    return frame.left + (held + SHOWN) / (2 * SHOWN) * (frame.end - frame.left)


def _dot(x: float, y: float, radius: float, css: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{css}"/>'
