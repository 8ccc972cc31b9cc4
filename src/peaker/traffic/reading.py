"""Logs and metric exports read into `Traffic`, with an account of every line.

A large plain file is read by several processes, a range each; compressed files and streams by one, in blocks.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from peaker.errors import LogError
from peaker.traffic.counts import looks_like_counts, read_counts
from peaker.traffic.line_reader import Part, read_lines
from peaker.traffic.log_formats.known import find_format, named_format
from peaker.traffic.log_formats.pattern import LineFormat, PatternFormat
from peaker.traffic.requests import ReadingReport, Traffic
from peaker.traffic.sources import (
    LINE_BYTES_MAX,
    SAMPLE_BYTES,
    BrokenSource,
    blocks,
    expanded,
    find_sources,
    is_compressed,
    range_blocks,
    read_some,
)
from peaker.traffic.summing_up import SourceRead, TableRead, counted_traffic, logged_traffic
from peaker.traffic.trace import file_step_and_start

RANGE_BYTES = 32 << 20
RANGE_BYTES_MIN = 4 << 10
PARALLEL_BYTES_MIN = 96 << 20
"""Below this, starting processes costs more than they save."""

PROCESSES_MAX = 8
Progress = Callable[[int, int | None], None]
COUNT_FORMATS = ("counts", "cloudwatch")
NO_FORMAT = "no known format"


@dataclass(frozen=True)
class _Unknown(PatternFormat):
    """Stands for the format of a source that is in none: all its lines are counted as unreadable."""


_UNKNOWN = _Unknown(name=NO_FORMAT, pattern=rb"(?!)(?P<time>)")


@dataclass(slots=True)
class _Source:
    """A source looked at: its first bytes, expanded, and the format they are in; None for a table of counts."""

    name: str
    origin: Path | BinaryIO
    head: bytes
    line_format: LineFormat | None
    is_plain_file: bool
    stream: BinaryIO | None = None
    """A stream can be opened only once: what follows the head."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Range:
    path: Path
    start: int
    end: int
    line_format: LineFormat
    tries_others: bool


def read_traffic(
    sources: Sequence[str | Path | BinaryIO],
    *,
    format: str | None = None,  # noqa: A002 - named as the option is
    progress: Progress | None = None,
    processes: int | None = None,
    step_s: float | None = None,
) -> tuple[Traffic, ReadingReport]:
    """The traffic in these files, patterns, folders or binary streams.

    `format` is a name of `known.MAKERS`, `counts`, `cloudwatch` or an nginx `log_format` string; without it the first
    lines tell. `progress` is called with the bytes done and all bytes, None where a stream does not tell its length.
    `processes` is for plain files; without it large ones are read by one a core, at most eight. `step_s` is the step of
    a `count` table that does not tell it. With several processes the main module must be importable, as for any
    multiprocessing in Python.

    Raises:
        LogError: nothing is there, no format fits, or there is no load in it; says which.
        MissingExtraError: a file is zstd and nothing here reads that.
    """
    looked = [_look(origin, format) for origin in find_sources(sources)]
    filled = [source for source in looked if source.head]
    if not filled:
        raise LogError("it is empty.", where=", ".join(source.name for source in looked))
    tables = [source for source in filled if source.line_format is None]
    if tables and len(tables) < len(filled):
        other = next(source.name for source in filled if source.line_format is not None)
        raise LogError(f"this is a table of counts and {other} is a log: read one or the other.", where=tables[0].name)
    meter = _Meter(progress, looked)
    if tables:
        return counted_traffic([_read_table(source, meter) for source in tables], step_s)
    if all(source.line_format is _UNKNOWN for source in filled):
        raise LogError(
            "no known format fits its first lines.",
            where=filled[0].name,
            remedy="Name it with --format, or give it as in nginx's log_format: '$remote_addr [$time_local] ...'.",
        )
    read = _read_all(filled, tries_others=format is None, processes=processes, meter=meter)
    read += [SourceRead(source.name, source.line_format) for source in looked if not source.head]
    return logged_traffic(read)


class _Meter:
    """Tells how far the reading is."""

    def __init__(self, progress: Progress | None, sources: Sequence[_Source]) -> None:
        self._progress = progress
        self._done = 0
        is_known = all(isinstance(source.origin, Path) for source in sources)
        sizes = [source.origin.stat().st_size for source in sources if isinstance(source.origin, Path)]
        self._total = sum(sizes) if is_known else None

    def seen(self, count: int) -> None:
        """So many bytes more, as they lie on the disk."""
        self._done += count
        if self._progress is not None:
            self._progress(self._done if self._total is None else min(self._done, self._total), self._total)


def _look(origin: Path | BinaryIO, format_name: str | None) -> _Source:
    name = str(origin) if isinstance(origin, Path) else str(getattr(origin, "name", "standard input"))
    try:
        with ExitStack() as stack:
            file = stack.enter_context(origin.open("rb")) if isinstance(origin, Path) else origin
            stream = expanded(file, name)
            head = read_some(stream, SAMPLE_BYTES, name)
            if len(head) == SAMPLE_BYTES and b"\n" not in head:  # a first line so long tells no format
                head += read_some(stream, 2 * LINE_BYTES_MAX, name)
        is_plain = isinstance(origin, Path) and not is_compressed(origin)
    except OSError as error:
        raise LogError(f"it cannot be read: {error.strerror}.", where=name) from error
    except BrokenSource:
        return _Source(name, origin, b"", None, is_plain_file=False)
    line_format = _format_of(head, format_name, name)
    return _Source(name, origin, head, line_format, is_plain, None if isinstance(origin, Path) else stream)


def _format_of(head: bytes, format_name: str | None, name: str) -> LineFormat | None:
    """The format the head is in; None where it is a table of counts."""
    whole_lines = head[: head.rfind(b"\n") + 1] or head
    if len(whole_lines) > SAMPLE_BYTES:
        whole_lines = whole_lines[whole_lines.find(b"\n") + 1 :][:SAMPLE_BYTES]
        whole_lines = whole_lines[: whole_lines.rfind(b"\n") + 1]
    if format_name in COUNT_FORMATS:
        return None
    if format_name is not None:
        return named_format(format_name, whole_lines, name)
    if not whole_lines.strip():
        return _UNKNOWN
    if looks_like_counts(whole_lines):
        return None
    return find_format(whole_lines) or _UNKNOWN


@contextmanager
def _table_stream(source: _Source) -> Iterator[BinaryIO]:
    """What follows the head."""
    if source.stream is not None:
        yield source.stream
        return
    assert isinstance(source.origin, Path)
    with source.origin.open("rb") as file:
        stream = expanded(file, source.name)
        read_some(stream, len(source.head), source.name)
        yield stream


def _read_table(source: _Source, meter: _Meter) -> TableRead:
    with _table_stream(source) as stream:
        table = read_counts(stream, source.head, source.name)
    meter.seen(table.bytes_read)
    step_s, start = file_step_and_start(source.origin) if isinstance(source.origin, Path) else (None, None)
    return TableRead(source.name, table, step_s, start)


def _read_all(
    sources: Sequence[_Source],
    *,
    tries_others: bool,
    processes: int | None,
    meter: _Meter,
) -> list[SourceRead]:
    plain = [source for source in sources if source.is_plain_file]
    size = sum(source.origin.stat().st_size for source in plain if isinstance(source.origin, Path))
    count = processes if processes is not None else min(PROCESSES_MAX, len(os.sched_getaffinity(0)))
    reads = [SourceRead(source.name, source.line_format) for source in sources]
    if count < 2 or (processes is None and size < PARALLEL_BYTES_MIN):
        for source, read in zip(sources, reads, strict=True):
            read.add(_read_stream(source, meter, tries_others=tries_others))
        return reads
    # A fresh interpreter each: numpy's threads do not survive a fork.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        for source, read in zip(sources, reads, strict=True):
            if not source.is_plain_file:
                read.add(_read_stream(source, meter, tries_others=tries_others))
                continue
            for part in pool.map(_read_range, _ranges(source, count, tries_others=tries_others)):
                meter.seen(part.bytes_read)
                read.add(part)
    return reads


def _ranges(source: _Source, processes: int, *, tries_others: bool) -> list[_Range]:
    assert isinstance(source.origin, Path)
    assert source.line_format is not None
    size = source.origin.stat().st_size
    length = min(RANGE_BYTES, max(RANGE_BYTES_MIN, size // processes + 1))
    starts = range(0, size, length)
    return [
        _Range(source.origin, start, min(size, start + length), source.line_format, tries_others) for start in starts
    ]


def _read_range(task: _Range) -> Part:
    return read_lines(range_blocks(task.path, task.start, task.end), task.line_format, tries_others=task.tries_others)


def _read_stream(source: _Source, meter: _Meter, *, tries_others: bool) -> Part:
    assert source.line_format is not None
    if not isinstance(source.origin, Path):
        assert source.stream is not None
        return read_lines(
            blocks(source.stream, source.name, source.head),
            source.line_format,
            tries_others=tries_others,
            seen=meter.seen,
        )
    with source.origin.open("rb") as file:
        at = 0

        def seen(_expanded: int) -> None:
            nonlocal at
            now = file.tell()
            meter.seen(now - at)
            at = now

        stream = expanded(file, source.name)
        return read_lines(blocks(stream, source.name), source.line_format, tries_others=tries_others, seen=seen)
