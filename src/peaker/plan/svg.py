"""Pictures as SVG text: frames, axes and marks. Colours are classes, so that one style sheet gives light and dark.

Everything that is written into a picture is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

Point = tuple[float, float]

_TIME_STEPS_S = (
    1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600,
    2_592_000, 7_776_000, 15_552_000, 31_536_000, 63_072_000,
)  # fmt: skip
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the data lie in a picture: `x_max` and `y_max` data units from 0 on, margins in picture units."""

    width: float
    height: float
    x_max: float
    y_max: float
    left: float = 58.0
    right: float = 14.0
    top: float = 28.0
    bottom: float = 40.0

    def x(self, value: float) -> float:
        """Place of a value on the x axis."""
        return self.left + value / self.x_max * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Place of a value on the y axis."""
        return self.height - self.bottom - value / self.y_max * (self.height - self.top - self.bottom)

    @property
    def floor(self) -> float:
        """The y of 0."""
        return self.height - self.bottom

    @property
    def end(self) -> float:
        """The x of the right edge."""
        return self.width - self.right


def picture(name: str, frame: Frame, title: str, description: str, body: Iterable[str], kind: str) -> str:  # noqa: PLR0917
    """A whole SVG; `name` must be unique in the page, `kind` is its class."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {frame.width:g} {frame.height:g}" role="img" '
        f'aria-labelledby="{name}-title {name}-text" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-text">{escape(description)}</desc>'
        f"{''.join(body)}</svg>"
    )


def text(x: float, y: float, content: str, css: str = "", anchor: str = "start") -> str:
    """A line of text."""
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def box(x: float, y: float, width: float, height: float, css: str, told: str = "") -> str:  # noqa: PLR0917
    """A filled rectangle; `told` shows when a pointer rests on it."""
    inside = f"<title>{escape(told)}</title>" if told else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}" class="{css}">'
        f"{inside}</rect>"
    )


def path(points: Sequence[Point], css: str, *, closed: bool = False, clip: str = "") -> str:
    """A line through points, or the area within them."""
    if not points:
        return ""
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    cut = f' clip-path="url(#{clip})"' if clip else ""
    return f'<path d="M{steps}{"Z" if closed else ""}" class="{css}"{cut}/>'


def clip(name: str, shape: str) -> str:
    """What is drawn with this name shows only within the shape."""
    return f'<clipPath id="{name}">{shape}</clipPath>'


def stairs(points: Sequence[Point], end: float) -> list[Point]:
    """Each value lasts to the next point's x, the last one to `end`."""
    steps: list[Point] = []
    for index, (x, y) in enumerate(points):
        until = points[index + 1][0] if index + 1 < len(points) else end
        steps += [(x, y), (until, y)]
    return steps


def nice_ticks(most: float, about: int) -> list[float]:
    """Round numbers from 0 to at most `most`, `about` of them."""
    raw = most / max(1, about)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * 0.999)
    return [index * step for index in range(int(most / step * 1.0001) + 1)]


def short(value: float) -> str:
    """`1.2k`, `350`, `0.05`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def y_axis(frame: Frame, label: str, form: str = "{}") -> list[str]:
    """Horizontal lines at round values with their numbers, and what they count."""
    parts = []
    for value in nice_ticks(frame.y_max, 5):
        y = frame.y(value)
        parts.append(line(frame.left, y, frame.end, y, "grid"))
        parts.append(text(frame.left - 7, y + 4, form.format(short(value)), "tick", "end"))
    return [*parts, text(4, 12, label, "label")]


def time_axis(frame: Frame, duration_s: float, start: str) -> list[str]:
    """Moments at round times below the frame; without a start, times since the beginning."""
    about = max(2, int(frame.width / 120))
    step = next((step for step in _TIME_STEPS_S if duration_s / step <= about), duration_s / about)
    begin = datetime.fromisoformat(start) if start else None
    if begin is not None and begin.tzinfo is None:
        begin = begin.replace(tzinfo=UTC)
    first = -begin.timestamp() % step if begin is not None else 0.0
    parts = []
    for index in range(int((duration_s - first) / step) + 1):
        at = first + index * step
        if at > duration_s:
            break
        x = frame.x(at)
        parts.append(line(x, frame.floor, x, frame.floor + 5, "axis"))
        anchor = "start" if x < frame.left + 24 else "end" if x > frame.end - 24 else "middle"
        parts.append(text(x, frame.floor + 19, _moment(begin, at, step), "tick", anchor))
    label = "UTC" if begin is not None else "since the beginning"
    return [line(frame.left, frame.floor, frame.end, frame.floor, "axis"), *parts,
            text(frame.end, frame.height - 5, label, "tick", "end")]  # fmt: skip


def _moment(begin: datetime | None, at_s: float, step_s: float) -> str:
    if begin is None:
        for size, unit in ((_DAY_S, "d"), (3600, "h"), (60, "min")):
            if step_s >= size:
                return f"{at_s / size:.3g} {unit}"
        return f"{at_s:g} s"
    when = begin.astimezone(UTC) + timedelta(seconds=at_s)
    if step_s >= 60 * _DAY_S:
        return f"{when:%b %Y}"
    if step_s >= _DAY_S or (when.hour, when.minute) == (0, 0):
        return f"{when.day} {when:%b}"
    return f"{when:%H:%M:%S}" if step_s < 60 else f"{when:%H:%M}"
