"""A trace: how many requests came in each step of time.

Two text forms are read, plain or gzipped. The first is a `count` header and one whole number a line; -1 is a gap in the
collection, which is not the same as no load. The second is `timestamp,count`, where a missing line is a gap. Nothing
here looks at a clock or draws a random number, so the planner and the replay share it.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from peaker.errors import TraceError
from peaker.units import parse_duration_s

if TYPE_CHECKING:  # numpy comes with an extra, and the replay does without it
    import numpy as np
    from numpy.typing import NDArray

GAP = -1
"""The count of a step that was not collected."""

STEPS_MAX = 20_000_000
"""231 days of seconds; a longer file is more likely not a trace."""

COUNT_MAX = 10**12
FACTOR_MAX = 1e6

STEP_S_DEFAULT = 1.0
"""The step of a `count` file that nothing else tells the step of."""

_STEP_IN_NAME = re.compile(r"_(\d+(?:s|min|h|d))\.csv(?:\.gz)?$")


@dataclass(frozen=True, slots=True)
class Trace:
    """Request counts: `counts[i]` came in the `step_s` seconds from `i * step_s` on; GAP where nobody knows."""

    counts: tuple[int, ...]
    step_s: float
    start: datetime | None = None
    name: str = "trace"

    def array(self) -> NDArray[np.int64]:
        """The counts as a numpy array, made anew; needs `peaker[plan]`."""
        import numpy as np

        return np.array(self.counts, np.int64)

    @property
    def total(self) -> int:
        """Requests in all; gaps add nothing."""
        return sum(count for count in self.counts if count != GAP)

    @property
    def gap_steps(self) -> int:
        """Steps that were not collected."""
        return self.counts.count(GAP)

    @property
    def duration_s(self) -> float:
        """From the first step's beginning to the last step's end."""
        return len(self.counts) * self.step_s

    @property
    def peak_per_s(self) -> float:
        """Requests a second in the busiest step."""
        return max(0, max(self.counts, default=0)) / self.step_s

    @property
    def mean_per_s(self) -> float:
        """Requests a second over the steps that were collected."""
        known = len(self.counts) - self.gap_steps
        return self.total / (known * self.step_s) if known else 0.0

    def cut(self, from_s: float = 0.0, for_s: float | None = None) -> Trace:
        """The steps that begin within `[from_s, from_s + for_s)`, in seconds of the trace.

        Raises:
            TraceError: no step begins there.
        """
        # The tolerance keeps 0.3 s in steps of 0.1 s, not exact in binary, from starting one step late.
        first = math.ceil(from_s / self.step_s - 1e-9)
        end = len(self.counts) if for_s is None else math.ceil((from_s + for_s) / self.step_s - 1e-9)
        counts = self.counts[max(0, first) : max(0, end)]
        start = self.start and self.start + timedelta(seconds=first * self.step_s)
        if from_s < 0 or not counts:
            asked = f"from {from_s:g} s" + ("" if for_s is None else f" for {for_s:g} s")
            raise TraceError(
                f"no step begins {asked}; the trace is {self.duration_s:g} s long in steps of {self.step_s:g} s.",
                where=self.name,
            )
        return replace(self, counts=counts, start=start)

    def scaled(self, factor: float) -> Trace:
        """`factor` times as many requests in each step.

        Counts stay whole: what rounding leaves over is carried to the next step, so after every step the sum is
        `floor(factor * sum so far + 1/2)` and nothing is lost, however small the factor.

        Raises:
            TraceError: the factor is not above 0 and at most 1e6.
        """
        _require_factor("scale", factor, self.name)
        counts, seen, given = [], 0, 0
        for count in self.counts:
            if count == GAP:
                counts.append(GAP)
                continue
            seen += count
            due = math.floor(seen * factor + 0.5)
            counts.append(due - given)
            given = due
        return replace(self, counts=tuple(counts))

    def faster(self, speed: float) -> Trace:
        """The same requests in `1 / speed` of the time; raises TraceError as `scaled` does."""
        _require_factor("speed", speed, self.name)
        return replace(self, step_s=self.step_s / speed)


def _require_factor(name: str, value: float, where: str) -> None:
    if not 0 < value <= FACTOR_MAX:
        raise TraceError(f"{name} = {value:g} is not allowed; allowed: above 0, to {FACTOR_MAX:g}.", where=where)


def read_trace(path: Path, *, step_s: float | None = None) -> Trace:
    """Read `.csv` or `.csv.gz`.

    The step of a `count` file is `step_s`, else what an INDEX.json beside it says, else what the name ends with
    (`_1s`, `_5min`, `_1h`), else one second.

    Raises:
        TraceError: the file cannot be read or is not a trace; names the line.
    """
    found_step_s, start = file_step_and_start(path)
    step_s = found_step_s if step_s is None else step_s
    try:
        with _open_text(path) as lines:
            return parse_trace(lines, name=str(path), step_s=step_s, start=start)
    except UnicodeDecodeError as error:
        raise TraceError(f"the trace is not UTF-8 text: {error.reason}.", where=str(path)) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TraceError(f"the trace cannot be read: {reason}.", where=str(path)) from error


def file_step_and_start(path: Path) -> tuple[float | None, datetime | None]:
    """What an INDEX.json beside a `count` file or the file's name says of its step and its first step's begin.

    Raises:
        TraceError: the INDEX.json is no list of traces.
    """
    entry = _index_entry(path)
    step_s = float(entry["step_s"]) if "step_s" in entry else None
    if step_s is None and (match := _STEP_IN_NAME.search(path.name)):
        step_s = parse_duration_s(match[1])
    return step_s, _start_of(entry)


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, "rt", encoding="utf-8-sig"))
    return path.open(encoding="utf-8-sig")


def parse_trace(
    lines: Iterable[str], *, name: str = "trace", step_s: float | None = None, start: datetime | None = None
) -> Trace:
    """The trace in `lines`, whose first is the header; `step_s` is for the `count` form, which does not tell it.

    Raises:
        TraceError: names the line that is wrong, or says that there is nothing in it.
    """
    if step_s is not None and not 1e-3 <= step_s <= 86_400:
        raise TraceError(f"step = {step_s:g} s is not allowed; allowed: 0.001 to 86400.", where=name)
    numbered = _without_trailing_blanks(lines, name)
    _, header = next(numbered, (1, ""))
    columns = [column.strip().lower() for column in header.split(",")]
    if columns == ["count"]:
        counts = tuple(_count(text, f"{name}:{number}") for number, text in numbered)
        trace = Trace(counts, step_s or STEP_S_DEFAULT, start, name)
    elif columns == ["timestamp", "count"]:
        trace = _timestamped(numbered, name)
    else:
        raise TraceError(f"the header is {header!r}; it must be 'count' or 'timestamp,count'.", where=f"{name}:1")
    if not trace.counts:
        raise TraceError("there is no step after the header.", where=name)
    if trace.total == 0:
        raise TraceError("there is no request in it: every step is 0 or a gap.", where=name)
    return trace


def _without_trailing_blanks(lines: Iterable[str], name: str) -> Iterator[tuple[int, str]]:
    blank = 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            blank = blank or number
            continue
        if blank:
            raise TraceError("the line is empty.", where=f"{name}:{blank}")
        if number > STEPS_MAX + 1:
            raise TraceError(f"there are more than {STEPS_MAX:,} steps.", where=f"{name}:{number}")
        yield number, text


def _count(text: str, where: str) -> int:
    try:
        count = int(text) if text.isascii() and "_" not in text else None
    except ValueError:
        count = None
    if count is None:
        raise TraceError(f"{text!r} is not a whole number.", where=where)
    if not GAP <= count <= COUNT_MAX:
        raise TraceError(f"{count} is not allowed; allowed: 0 to {COUNT_MAX}, and -1 for a gap.", where=where)
    return count


def _timestamped(numbered: Iterator[tuple[int, str]], name: str) -> Trace:
    rows: list[tuple[int, datetime, int]] = []
    for number, text in numbered:
        where = f"{name}:{number}"
        stamp, comma, count = text.partition(",")
        if not comma:
            raise TraceError(f"{text!r} is not 'timestamp,count'.", where=where)
        rows.append((number, _moment(stamp.strip(), where), _count(count.strip(), where)))
    if not rows:
        return Trace((), STEP_S_DEFAULT, None, name)
    return Trace(*_on_a_grid(rows, name), start=rows[0][1], name=name)


def _on_a_grid(rows: list[tuple[int, datetime, int]], name: str) -> tuple[tuple[int, ...], float]:
    """Counts of equal steps, the shortest distance between two lines being the step, gaps where lines are missing."""
    distances = []
    for (_, before, _), (number, after, _) in itertools.pairwise(rows):
        if (before.tzinfo is None) != (after.tzinfo is None):
            raise TraceError("some times have a zone and some have none.", where=f"{name}:{number}")
        distances.append((after - before).total_seconds())
        if distances[-1] <= 0:
            raise TraceError("the time is not later than that of the line before.", where=f"{name}:{number}")
    step_s = min(distances, default=STEP_S_DEFAULT)
    counts = [rows[0][2]]
    for distance_s, (number, _, count) in zip(distances, rows[1:], strict=True):
        steps = round(distance_s / step_s)
        if abs(distance_s / step_s - steps) > 1e-3:
            raise TraceError(
                f"{distance_s:g} s after the line before is no multiple of the step, {step_s:g} s.",
                where=f"{name}:{number}",
            )
        if len(counts) + steps > STEPS_MAX:
            raise TraceError(f"there are more than {STEPS_MAX:,} steps.", where=f"{name}:{number}")
        counts += [GAP] * (steps - 1)
        counts.append(count)
    return tuple(counts), step_s


def _moment(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        raise TraceError(f"{text!r} is neither an ISO 8601 time nor seconds since 1970.", where=where) from None


def _index_entry(path: Path) -> dict[str, Any]:
    index = path.parent / "INDEX.json"
    if not index.is_file():
        return {}
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
        return next((entry for entry in entries if entry.get("file") == path.name), {})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise TraceError(f"the index is not a JSON list of traces: {error}.", where=str(index)) from error


def _start_of(entry: dict[str, Any]) -> datetime | None:
    """The index tells some starts in words; those stay unknown. A zone is joined only where it is one."""
    zone = str(entry.get("tz", "")).split(" ", 1)[0]
    text = str(entry.get("start", "")) + (zone if re.fullmatch(r"Z|[+-]\d\d:\d\d", zone) else "")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
