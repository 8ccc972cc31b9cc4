"""Lines of one source read in their format and added up; what cannot be read is tried in the others, then counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from peaker.traffic.columns import BadLine, Columns, Flags, Floats, Parsed, Zones
from peaker.traffic.histogram import Histogram
from peaker.traffic.log_formats.known import others_that_read
from peaker.traffic.log_formats.pattern import LineFormat
from peaker.traffic.request_tally import RequestTally, Texts
from peaker.traffic.sources import Block, BrokenSource

TOO_LONG = "longer than a line may be"
TIME_FAR = "the time is far from that of the lines around it"
_FAR_S = 86_400.0
_FAR_AT_EDGES_S = 366 * 86_400.0
_BACKWARDS_S = 60.0
_TRIED_LINES = 20
_TRIES_MAX = 8
"""How often a source's unreadable lines are tried in all formats: junk must not cost more than the log."""

EXAMPLE_CHARS = 120


@dataclass(slots=True)
class Reports:
    """Of Lambda REPORT lines."""

    memory_mb: int = 0
    memory_used_mb_max: int = 0
    count: int = 0
    init_time: Histogram = field(default_factory=Histogram)

    def add(self, reports: list[tuple[int, int, float]]) -> None:
        """Memory MB, most used MB, seconds of initialisation or nan, of each invocation."""
        if not reports:
            return
        table = np.array(reports)
        inits = table[:, 2][~np.isnan(table[:, 2])]
        self.merge(Reports(int(table[:, 0].max()), int(table[:, 1].max()), len(reports), Histogram.of(inits)))

    def merge(self, other: Reports) -> None:
        """Add the other's."""
        self.memory_mb = max(self.memory_mb, other.memory_mb)
        self.memory_used_mb_max = max(self.memory_used_mb_max, other.memory_used_mb_max)
        self.count += other.count
        self.init_time = self.init_time.merge(other.init_time)


@dataclass(slots=True)
class Part:
    """What a stretch of one source gave; parts of a source follow each other."""

    tally: RequestTally = field(default_factory=RequestTally)
    lines: int = 0
    skipped: int = 0
    bytes_read: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    bad: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """By kind: how many, the first line (from 1 within this part), and the line."""
    zones: Zones = field(default_factory=Zones)
    backwards: int = 0
    first_s: float = np.inf
    last_s: float = -np.inf
    reports: Reports = field(default_factory=Reports)
    broken: str = ""

    def refuse(self, kind: str, index: int, text: bytes) -> None:
        """Count a line that cannot be read; `index` counts from 0 within this part."""
        count, first, example = self.bad.get(kind, (0, index + 1, ""))
        if not count or index + 1 < first:
            first, example = index + 1, text[:EXAMPLE_CHARS].decode("utf-8", "backslashreplace")
        self.bad[kind] = (count + 1, first, example)


def read_lines(
    found: Iterable[Block], line_format: LineFormat, *, tries_others: bool, seen: Callable[[int], None] | None = None
) -> Part:
    """All blocks of a stretch; `seen` is called with the bytes of each."""
    part, texts, others = Part(), Texts(), _Others(line_format.name, tries_others)
    try:
        for block in found:
            part.bytes_read += len(block.data) + 1
            if block.too_long:
                part.refuse(TOO_LONG, part.lines, block.data)
                part.lines += 1
            else:
                _read_block(block.data, line_format, part, texts, others)
            if seen is not None:
                seen(len(block.data) + 1)
    except BrokenSource as error:
        part.broken = str(error)
    return part


class _Others:
    """Further formats that lines of this source turned out to be in."""

    def __init__(self, own: str, is_wanted: bool) -> None:  # noqa: FBT001 - private, one call
        self._own = own
        self._tries = _TRIES_MAX if is_wanted else 0
        self.formats: list[LineFormat] = []

    def look(self, bad: list[BadLine]) -> None:
        """Try the first of these lines in every format."""
        if not bad or not self._tries:
            return
        self._tries -= 1
        sample = b"\n".join(line.text for line in bad[:_TRIED_LINES] if line.text)
        known = {each.name for each in self.formats}
        self.formats += [each for each in others_that_read(sample, self._own) if each.name not in known]


def _read_block(data: bytes, line_format: LineFormat, part: Part, texts: Texts, others: _Others) -> None:
    parsed = line_format.parse(data, part.zones)
    bad = _take(parsed, line_format, np.arange(parsed.lines), part, texts)
    part.skipped += parsed.skipped
    others.look(bad)
    for other in others.formats:
        if not bad:
            break
        again = other.parse(b"\n".join(line.text for line in bad), part.zones)
        places = np.array([line.index for line in bad])
        if again.lines != len(bad):
            break
        still_bad = _take(again, other, places, part, texts)
        part.skipped += again.skipped
        bad = still_bad
    for line in bad:
        part.refuse(line.kind, part.lines + line.index, line.text)
    part.lines += parsed.lines


def _take(
    parsed: Parsed, line_format: LineFormat, places: np.ndarray[tuple[int], np.dtype[np.intp]], part: Part, texts: Texts
) -> list[BadLine]:
    """Add the requests; gives the lines that hold none, by their place in the block."""
    bad = [BadLine(int(places[line.index]), line.kind, line.text) for line in parsed.bad]
    columns = parsed.columns
    far = far_times(columns.time_s)
    if far.any():
        for row in np.flatnonzero(far).tolist():
            text = f"{columns.time_s[row]:.0f} {columns.targets[row].decode('utf-8', 'replace')}"
            part.refuse(TIME_FAR, part.lines + int(places[parsed.rows[row]]), text.encode())
        columns = columns.kept(~far)
    if len(columns):
        _note_times(columns, part)
        part.formats[line_format.name] += len(columns)
        part.reports.add(parsed.reports)
        part.tally.add(columns, texts, line_format.passed_on_rule)
    return bad


def _note_times(columns: Columns, part: Part) -> None:
    times = columns.time_s
    part.backwards += int((np.diff(times) < -_BACKWARDS_S).sum()) + int(times[0] < part.last_s - _BACKWARDS_S)
    part.first_s = min(part.first_s, float(times.min()))
    part.last_s = max(part.last_s, float(times.max()))


def far_times(times: Floats) -> Flags:
    """Which times are more than a day from the median of the five around them: a clock that jumped and came back.

    A log in time order, however sparse, has none: there each time is itself the median. At both ends, where there is
    nothing on one side, a time is far that is a year from the next four, if these lie within a day.
    """
    count = len(times)
    far = np.zeros(count, np.bool_)
    if count < 5 or not (np.abs(np.diff(times)) > _FAR_S).any():
        return far
    padded = np.pad(times, 2, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    far = np.abs(times - around) > _FAR_S
    for end, others in ((0, times[1:5]), (count - 1, times[-5:-1])):
        is_calm = np.ptp(others) < _FAR_S
        far[end] |= bool(is_calm and abs(times[end] - np.median(others)) > _FAR_AT_EDGES_S)
    return far
