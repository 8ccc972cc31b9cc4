"""A block of lines as columns, and the texts in them turned into numbers by tables that remember.

Most texts of a log come again (a second, a status, an agent), so that each is worked out once and found after that by
one look into a dict; the tables are emptied when they grow too large.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

REMEMBERED_MAX = 100_000
_MONTHS = {month.encode(): number for number, month in enumerate(calendar.month_abbr) if month}
_CLF = re.compile(rb"(\d{1,2})/([A-Za-z]{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?: ([+-]\d\d):?(\d\d))?$")
_YEARS = range(1970, 2101)


class Remembered(dict[bytes, Any]):
    """The value of a text, worked out at its first appearance."""

    def __init__(self, work_out: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, text: bytes) -> Any:
        if len(self) >= REMEMBERED_MAX:
            self.clear()
        value = self[text] = self._work_out(text)
        return value

    def array(self, texts: Sequence[bytes], dtype: Any = np.float64) -> NDArray[Any]:
        """The values of all."""
        return np.fromiter(map(self.__getitem__, texts), dtype, len(texts))


class Zones:
    """Which offsets from UTC the texts told; None stands for none told."""

    def __init__(self) -> None:
        self.seen: set[int | None] = set()

    def clf_epoch_s(self, text: bytes) -> float:
        """`10/Oct/2000:13:55:36 -0700`, with or without fraction and offset; nan for anything else."""
        match = _CLF.match(text)
        month = _MONTHS.get(match[2].title()) if match else None
        if not match or not month or int(match[3]) not in _YEARS:
            return np.nan
        try:
            day, hour, minute = int(match[1]), int(match[4]), int(match[5])
            moment = datetime(int(match[3]), month, day, hour, minute, tzinfo=UTC)
        except ValueError:
            return np.nan
        # A leap second is written as 60, which datetime refuses: it is added.
        return moment.timestamp() + min(int(match[6]), 60) - self._offset_s(match[7], match[8])

    def _offset_s(self, hours: bytes | None, minutes: bytes | None) -> int:
        if hours is None or minutes is None:
            self.seen.add(None)
            return 0
        sign = -1 if hours.startswith(b"-") else 1
        offset = int(hours) * 3600 + sign * int(minutes) * 60
        self.seen.add(offset)
        return offset

    def iso_epoch_s(self, text: bytes) -> float:
        """ISO 8601 or RFC 3339, `2024/01/31 10:00:00` too; nan for anything else."""
        try:
            moment = datetime.fromisoformat(text.decode("ascii").strip().replace("/", "-").replace("\t", "T"))
        except (ValueError, UnicodeDecodeError):
            return np.nan
        if moment.year not in _YEARS:
            return np.nan
        offset = moment.utcoffset()
        self.seen.add(None if offset is None else int(offset.total_seconds()))
        return (moment if offset is not None else moment.replace(tzinfo=UTC)).timestamp()

    def number_epoch_s(self, text: bytes) -> float:
        """Seconds since 1970, or milli-, micro- or nanoseconds, told apart by their size."""
        try:
            value = float(text)
        except ValueError:
            return np.nan
        self.seen.add(0)
        for unit in (1.0, 1e3, 1e6, 1e9):
            if 0 <= value / unit < 4.2e9:
                return value / unit
        return np.nan

    def epoch_s(self, text: bytes) -> float:
        """Whichever of the three it is."""
        first = text.strip(b'" [')
        if first[:1].isdigit() and first.replace(b".", b"", 1).isdigit():
            return self.number_epoch_s(first)
        if b"/" in first[:6] and first[:4].isdigit() is False:
            return self.clf_epoch_s(first.rstrip(b"]"))
        return self.iso_epoch_s(first)

    def names(self) -> tuple[str, ...]:
        """`+08:00`, `UTC`, or that none was told."""
        return tuple(sorted({_zone_name(offset) for offset in self.seen}))


def _zone_name(offset_s: int | None) -> str:
    if offset_s is None:
        return "not told"
    if not offset_s:
        return "UTC"
    sign = "-" if offset_s < 0 else "+"
    hours, minutes = divmod(abs(timedelta(seconds=offset_s)) // timedelta(minutes=1), 60)
    return f"{sign}{hours:02d}:{minutes:02d}"


def seconds_of(text: bytes) -> float:
    """Seconds; of a list, as nginx writes it after retries, the sum; nan for `-`, -1 and what is no time."""
    try:
        value = float(text)
    except ValueError:
        parts = [seconds_of(part) for part in re.split(rb", | : |,", text)] if b"," in text or b" : " in text else []
        told = [part for part in parts if part == part]  # noqa: PLR0124 - nan is unequal to itself
        return sum(told) if told else np.nan
    return value if 0 <= value < 1e12 else np.nan


def whole_of(text: bytes) -> int:
    """A status or size; 0 for `-` and what is no number."""
    return int(text) if text.isdigit() and len(text) < 16 else 0


def size_of(text: bytes) -> float:
    """Bytes; nan for `-` and what is no number."""
    return float(text) if text.isdigit() and len(text) < 16 else np.nan


@dataclass(slots=True)
class Columns:
    """One entry a request in each column that the format has; None for columns it has not.

    Times are seconds since 1970 (`time_s`) or seconds; nan where a line does not tell.
    """

    time_s: Floats
    targets: Sequence[bytes]
    methods: Sequence[bytes]
    status: NDArray[np.int16]
    service_s: Floats | None = None
    response_s: Floats | None = None
    request_bytes: Floats | None = None
    response_bytes: Floats | None = None
    agents: Sequence[bytes] | None = None
    clients: Sequence[bytes] | None = None
    not_passed_on: Flags | None = None
    upgraded: Flags | None = None
    event_stream: Flags | None = None
    no_request: Flags | None = None

    def __len__(self) -> int:
        return len(self.time_s)

    def kept(self, keep: Flags) -> Columns:
        """Only the rows whose flag is set."""
        if keep.all():
            return self
        flags = keep.tolist()
        return self._each(lambda column: column[keep], lambda column: list(compress(column, flags)))

    def rows(self, rows: Sequence[int]) -> Columns:
        """Only these rows."""
        places = np.array(rows, np.intp)
        return self._each(lambda column: column[places], lambda column: [column[row] for row in rows])

    def _each(
        self,
        of_array: Callable[[NDArray[Any]], NDArray[Any]],
        of_texts: Callable[[Sequence[bytes]], Sequence[bytes]],
    ) -> Columns:
        made: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if isinstance(column, np.ndarray):
                made[name] = of_array(column)
            else:
                made[name] = column and of_texts(column)
        return Columns(**made)


@dataclass(slots=True)
class BadLine:
    """A line that could not be read: its place in the block, counted from 0, and why."""

    index: int
    kind: str
    text: bytes


@dataclass(slots=True)
class Parsed:
    """A block read: its requests, and what of its `lines` holds none. `rows` tells each request's line."""

    columns: Columns
    lines: int
    rows: NDArray[np.intp]
    bad: list[BadLine] = field(default_factory=list)
    skipped: int = 0
    reports: list[tuple[int, int, float]] = field(default_factory=list)
    """Of Lambda reports: memory MB, most used MB, seconds of initialisation or nan."""


def flags(values: Iterable[bool], count: int) -> Flags:
    """An array of flags."""
    return np.fromiter(values, np.bool_, count)
