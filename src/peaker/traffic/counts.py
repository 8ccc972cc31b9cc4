"""Tables that hold numbers of requests: `count`, `timestamp,count`, CloudWatch's CSV and its get-metric-data JSON.

Unlike `peaker replay`, which sends what a trace says and refuses a wrong one, this counts what it cannot read and goes
on: a step whose number cannot be read is a gap.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from peaker.errors import LogError
from peaker.traffic.columns import Zones
from peaker.traffic.requests import Gap
from peaker.traffic.sources import Block, blocks, read_some
from peaker.traffic.steps import with_gaps
from peaker.traffic.trace import COUNT_MAX, GAP, STEPS_MAX, Trace

JSON_BYTES_MAX = 256 << 20
_COUNT_NAMES = ("count", "requests", "requestcount", "invocations", "value", "sum", "requests_count", "request_count")
_TIME_NAMES = ("timestamp", "time", "date", "datetime", "ts")
_LABEL = re.compile(r"request.?count|invocations|^count$|requests", re.IGNORECASE)
_HEADER_LINES_MAX = 40
NOT_A_NUMBER = "no whole number of 0 or more"
NOT_A_TIME = "the time is not understood"


@dataclass(slots=True)
class Counts:
    """Numbers of requests as they were read; `time_s` is empty where the table has no times."""

    time_s: list[float] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)
    bad: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """By kind: how many, the first line, and the line."""
    lines: int = 0
    skipped: int = 0
    bytes_read: int = 0
    zones: Zones = field(default_factory=Zones)
    period_s: float | None = None
    missing_is_zero: bool = False
    """CloudWatch stores no value for a period without a request; in other tables a missing line is a gap."""

    def refuse(self, kind: str, line: int, text: str) -> None:
        """Count a line that cannot be read."""
        count, first, example = self.bad.get(kind, (0, line, text[:120]))
        self.bad[kind] = (count + 1, first, example)


def looks_like_counts(sample: bytes) -> str | None:
    """`counts` or `cloudwatch` if the beginning is that of such a table."""
    text = sample.lstrip(b"\xef\xbb\xbf \t\r\n").decode("utf-8", "replace")
    if text.startswith("{") and re.search(r'"(MetricDataResults|Datapoints)"\s*:', text):
        return "cloudwatch"
    first = text.split("\n", 1)[0].strip().lower().replace('"', "")
    columns = [column.strip() for column in first.split(",")]
    if columns == ["count"] or (len(columns) == 2 and columns[0] in _TIME_NAMES and columns[1] in _COUNT_NAMES):
        return "counts"
    if columns[0] in {"full label", "label"} and "\n" in text:
        return "cloudwatch"
    return None


def read_counts(stream: BinaryIO, head: bytes, name: str) -> Counts:
    """Read one table.

    Raises:
        LogError: it is no table of numbers of requests: utilisation, an average, several metrics in one.
        BrokenSource: the stream cannot be read further.
    """
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return _from_json(stream, head, name)
    table = Counts()
    lines = _lines(blocks(stream, name, head), table)
    columns: list[str] = []
    for number, text in lines:
        columns = [column.strip().strip('"').lower() for column in text.split(",")]
        if columns == ["count"]:
            _read_plain(lines, table)
            return table
        if columns[0] in _TIME_NAMES:
            break
        if columns[0] in {"period", "statistic"} and len(columns) > 1:
            _note(table, columns, name)
        if len(columns) > 1 and not np.isnan(table.zones.epoch_s(columns[0].encode())):
            table.missing_is_zero = True
            lines = _again((number, text), lines)
            break
        table.skipped += 1
        if table.skipped > _HEADER_LINES_MAX:
            raise LogError("no line begins with a time.", where=name)
    else:
        raise LogError("there is no number of requests in it.", where=name)
    table.skipped += columns[0] in _TIME_NAMES
    table.missing_is_zero |= columns[-1] == "value"
    _read_timed(lines, table)
    _require_whole(table, name)
    return table


def _again(first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from lines


def _lines(found: Iterable[Block], table: Counts) -> Iterator[tuple[int, str]]:
    for block in found:
        table.bytes_read += len(block.data) + 1
        for line in block.data.split(b"\n"):
            table.lines += 1
            text = line.decode("utf-8", "replace").lstrip("\ufeff").strip()
            if block.too_long:
                table.refuse("longer than a line may be", table.lines, text)
            elif not text:
                table.skipped += 1
            else:
                yield table.lines, text


def _note(table: Counts, columns: list[str], name: str) -> None:
    if columns[0] == "period" and columns[1].isdigit():
        table.period_s = float(columns[1])
    if columns[0] == "statistic" and columns[1] not in {"sum", "samplecount", "sample count"}:
        raise LogError(
            f"the statistic is {columns[1]!r}; requests are counted by 'Sum'.",
            where=name,
            remedy="Export the metric again with the statistic Sum.",
        )


def _read_plain(lines: Iterator[tuple[int, str]], table: Counts) -> None:
    table.skipped += 1
    for number, text in lines:
        count = _count(text)
        if np.isnan(count):
            table.refuse(NOT_A_NUMBER, number, text)
        table.counts.append(GAP if np.isnan(count) else count)
        if len(table.counts) > STEPS_MAX:
            raise LogError(f"there are more than {STEPS_MAX:,} steps.")


def _read_timed(lines: Iterator[tuple[int, str]], table: Counts) -> None:
    for number, text in lines:
        stamp, _, value = text.replace('"', "").rpartition(",")
        time_s, count = table.zones.epoch_s(stamp.strip().encode()), _count(value.strip())
        if np.isnan(time_s):
            table.refuse(NOT_A_TIME, number, text)
        elif np.isnan(count):
            table.refuse(NOT_A_NUMBER, number, text)
        else:
            table.time_s.append(time_s)
            table.counts.append(count)


def _count(text: str) -> float:
    try:
        value = float(text) if "_" not in text else np.nan
    except ValueError:
        return np.nan
    return value if value == GAP or 0 <= value <= COUNT_MAX else np.nan


def _require_whole(table: Counts, name: str) -> None:
    broken = sum(1 for count in table.counts if count % 1)
    if broken * 2 > len(table.counts):
        raise LogError(
            f"{broken} of {len(table.counts)} values are not whole numbers: this is no count of requests.",
            where=name,
            remedy="Export a count, such as RequestCount or Invocations, with the statistic Sum.",
        )


def _from_json(stream: BinaryIO, head: bytes, name: str) -> Counts:
    text = head + read_some(stream, JSON_BYTES_MAX - len(head) + 1, name)
    if len(text) > JSON_BYTES_MAX:
        raise LogError(f"it is longer than {JSON_BYTES_MAX >> 20} MB.", where=name)
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LogError(f"it is not JSON: {error}.", where=name) from error
    pairs = list(_pairs(whole, name))
    table = Counts(lines=len(pairs), bytes_read=len(text), missing_is_zero=True)
    for number, (stamp, value) in enumerate(pairs, 1):
        time_s, count = table.zones.epoch_s(str(stamp).encode()), _count(str(value))
        if np.isnan(time_s):
            table.refuse(NOT_A_TIME, number, str(stamp))
        elif np.isnan(count):
            table.refuse(NOT_A_NUMBER, number, str(value))
        else:
            table.time_s.append(time_s)
            table.counts.append(count)
    _require_whole(table, name)
    return table


def _pairs(whole: Any, name: str) -> Iterator[tuple[Any, Any]]:
    if not isinstance(whole, dict):
        raise LogError("it is not an answer of get-metric-data or get-metric-statistics.", where=name)
    if isinstance(points := whole.get("Datapoints"), list):
        for point in points:
            if isinstance(point, dict):
                yield point.get("Timestamp"), point.get("Sum", point.get("SampleCount"))
        return
    results = [each for each in whole.get("MetricDataResults") or [] if isinstance(each, dict)]
    chosen = [each for each in results if _LABEL.search(str(each.get("Label"))) or _LABEL.search(str(each.get("Id")))]
    chosen = chosen or (results if len(results) == 1 else [])
    labels = {str(each.get("Label")) for each in chosen}
    if len(labels) != 1:
        every = ", ".join(sorted({str(each.get("Label")) for each in results})) or "none"
        raise LogError(
            f"one metric that counts requests is wanted; there are: {every}.",
            where=name,
            remedy="Export only RequestCount, Count or Invocations.",
        )
    for each in chosen:
        yield from zip(each.get("Timestamps") or [], each.get("Values") or [], strict=False)


def on_a_grid(table: Counts, step_s: float | None) -> tuple[NDArray[np.int64], float, float | None]:
    """Counts of equal steps, the step, and the begin of the first; a table without times has its steps already.

    Values of the same step are added (one answer may come in pages, one file may hold several load balancers); a time
    between two steps belongs to the nearer one.

    Raises:
        LogError: there is nothing in it, or its span has too many steps.
    """
    if not table.time_s:
        return np.array(table.counts).astype(np.int64), step_s or 1.0, None
    times, counts = np.array(table.time_s), np.array(table.counts)
    order = np.argsort(times, kind="stable")
    times, counts = times[order], counts[order]
    distances = np.diff(times)
    positive = distances[distances > 0]
    step = step_s or table.period_s or (_usual(positive) if positive.size else 1.0)
    whole = np.rint((times - times[0]) / step).astype(np.int64)
    if whole[-1] + 1 > STEPS_MAX:
        raise LogError(f"from first to last time there are more than {STEPS_MAX:,} steps of {step:g} s.")
    filled = np.full(int(whole[-1]) + 1, 0 if table.missing_is_zero else GAP, np.int64)
    known = counts != GAP
    seen = np.zeros(len(filled), np.bool_)
    seen[whole[known]] = True
    filled[seen] = 0
    np.add.at(filled, whole[known], np.rint(counts[known]).astype(np.int64))
    return filled, step, float(times[0])


def _usual(distances: NDArray[np.float64]) -> float:
    """The shortest distance that at least a tenth of all have: a longer one is a pause, a rare shorter one a shift."""
    lengths, counts = np.unique(np.round(distances, 3), return_counts=True)
    return (
        float(lengths[counts * 10 >= len(distances)][0]) if (counts * 10 >= len(distances)).any() else float(lengths[0])
    )


def count_trace(
    table: Counts, name: str, step_s: float | None, start: datetime | None
) -> tuple[Trace, tuple[Gap, ...]]:
    """The table as a trace, and its gaps."""
    counts, step, start_epoch_s = on_a_grid(table, step_s)
    if start_epoch_s is not None:
        start = datetime.fromtimestamp(start_epoch_s, UTC)
    gaps: tuple[Gap, ...] = ()
    begin_s = start.timestamp() if start is not None else 0.0
    if table.missing_is_zero:
        counts, gaps = with_gaps(counts, step, begin_s)
    else:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], (counts == GAP).view(np.int8), [0])))).tolist()
        gaps = tuple(
            Gap(begin_s + first * step, (end - first) * step)
            for first, end in zip(edges[::2], edges[1::2], strict=True)
        )
    return Trace(tuple(counts.tolist()), step, start, name), gaps
