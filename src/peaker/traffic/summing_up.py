"""What all parts gave, as `Traffic` and `ReadingReport`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from peaker.errors import LogError
from peaker.traffic.columns import Zones
from peaker.traffic.counts import Counts, count_trace
from peaker.traffic.histogram import Histogram
from peaker.traffic.line_reader import Part, Reports
from peaker.traffic.log_formats.pattern import LineFormat
from peaker.traffic.request_tally import RequestTally, counted, method_name
from peaker.traffic.requests import (
    OTHER,
    ROUTES_MAX,
    Excluded,
    FunctionFigures,
    Gap,
    ReadingReport,
    RouteTraffic,
    Traffic,
    Unreadable,
)
from peaker.traffic.steps import COARSE_STEP_S

_OUT_OF_ORDER = "{:,} lines are more than a minute older than the line before: the log is not in time order."
_ONLY_COUNTS = "the source tells only how many requests came"


@dataclass(slots=True)
class SourceRead:
    """The parts of one source, in order; their tallies are merged as they come, so that one is held at a time."""

    name: str
    line_format: LineFormat | None
    parts: list[Part] = field(default_factory=list)
    tally: RequestTally = field(default_factory=RequestTally)

    def add(self, part: Part) -> None:
        """The next part."""
        self.tally.merge(part.tally)
        part.tally = RequestTally()
        self.parts.append(part)


def logged_traffic(sources: Sequence[SourceRead]) -> tuple[Traffic, ReadingReport]:
    """The traffic that the parts tell together.

    Raises:
        LogError: there is no load in it.
    """
    tally, all_parts = RequestTally(), [part for source in sources for part in source.parts]
    for source in sources:
        tally.merge(source.tally)
    tally.settle()
    tally.routes.fold(ROUTES_MAX)
    unreadable = tuple(each for source in sources for each in _unreadable(source))
    if not tally.used:
        raise _no_load(tally, unreadable, ", ".join(source.name for source in sources))
    names = tuple(source.name for source in sources)
    trace, gaps = tally.steps.trace(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more")
    zones = Zones()
    zones.seen = set().union(*(part.zones.seen for part in all_parts))
    zone = _zone(zones)
    formats: Counter[str] = sum((part.formats for part in all_parts), Counter())
    by_name = {source.line_format.name: source.line_format for source in sources if source.line_format}
    main = by_name.get(formats.most_common(1)[0][0])
    excluded = _excluded(tally)
    traffic = Traffic(
        trace=trace,
        routes=_routes(tally),
        service_time=_or_none(tally.service_time),
        service_time_is=main.service_time_is if main else next(iter(by_name.values())).service_time_is,
        response_time=_or_none(tally.response_time),
        request_bytes=_or_none(tally.request_bytes),
        response_bytes=_or_none(tally.response_bytes),
        methods=_summed_methods(tally),
        status_classes=_summed_classes(tally),
        excluded=excluded,
        zone=zone,
        start_epoch_s=trace.start.timestamp() if trace.start else None,
        functions=_functions([part.reports for part in all_parts]),
    )
    report = ReadingReport(
        sources=names,
        formats=counted(formats),
        lines=sum(part.lines for part in all_parts),
        used=tally.used,
        excluded=sum(each.count for each in excluded),
        skipped=sum(part.skipped for part in all_parts),
        unreadable=unreadable,
        bytes_read=sum(part.bytes_read for part in all_parts),
        first_epoch_s=min(part.first_s for part in all_parts),
        last_epoch_s=max(part.last_s for part in all_parts),
        gaps=gaps,
        zone=zone,
        zones=zones.names(),
        backwards=sum(part.backwards for part in all_parts),
        notes=tuple(_notes(sources, all_parts, zones, gaps=gaps, step_s=trace.step_s, formats=formats)),
    )
    return traffic, report


def _or_none(histogram: Histogram) -> Histogram | None:
    return histogram if histogram.count else None


def _unreadable(source: SourceRead) -> list[Unreadable]:
    found: dict[str, Unreadable] = {}
    lines_before = 0
    for part in source.parts:
        for kind, (count, first, example) in part.bad.items():
            known = found.get(kind)
            found[kind] = (
                Unreadable(kind, known.count + count, source.name, known.first_line, known.example)
                if known
                else Unreadable(kind, count, source.name, lines_before + first, example)
            )
        lines_before += part.lines
    return sorted(found.values(), key=lambda each: -each.count)


def _no_load(tally: RequestTally, unreadable: Sequence[Unreadable], names: str) -> LogError:
    seen = [f"{each.count:,} {each.kind} (first: line {each.first_line})" for each in unreadable]
    seen += [f"{each.count:,} {each.kind}" for each in _excluded(tally)]
    found = "; ".join(seen) or "no request"
    remedy = ""
    if any(each.kind.startswith("no time") for each in unreadable):
        remedy = "Export the lines with their times, as `aws logs tail --format short` does."
    return LogError(f"there is no load in it: {found}.", where=names, remedy=remedy)


def _excluded(tally: RequestTally) -> tuple[Excluded, ...]:
    found = [
        Excluded(kind, rule, entry.count, _or_none(entry.open_time)) for (kind, rule), entry in tally.left_out.items()
    ]
    return tuple(sorted(found, key=lambda each: -each.count))


def _routes(tally: RequestTally) -> tuple[RouteTraffic, ...]:
    routes = tally.routes
    made = []
    for name in sorted(routes.rows, key=lambda name: (name == OTHER, -routes.count(name), name)):
        service, request, response = (routes.histogram(name, of) for of in ("service", "request", "response"))
        made.append(
            RouteTraffic(
                pattern=name,
                count=routes.count(name),
                share=routes.count(name) / tally.used,
                service_time=service and _or_none(service),
                request_bytes=request and _or_none(request),
                response_bytes=response and _or_none(response),
                methods={method_name(index): count for index, count in routes.methods(name).most_common()},
                status_classes=counted(routes.status_classes(name)),
            )
        )
    return tuple(made)


def _summed_methods(tally: RequestTally) -> Mapping[str, int]:
    total: Counter[int] = sum((tally.routes.methods(name) for name in tally.routes.rows), Counter())
    return {method_name(index): count for index, count in total.most_common()}


def _summed_classes(tally: RequestTally) -> Mapping[int, int]:
    total: Counter[int] = sum((tally.routes.status_classes(name) for name in tally.routes.rows), Counter())
    return counted(total)


def _functions(reports: Sequence[Reports]) -> FunctionFigures | None:
    total = Reports()
    for each in reports:
        total.merge(each)
    if not total.count:
        return None
    return FunctionFigures(total.memory_mb, total.memory_used_mb_max, total.init_time.count, total.init_time)


def _zone(zones: Zones) -> str:
    names = zones.names()
    if len(names) == 1:
        return "not told, taken as UTC" if names[0] == "not told" else names[0]
    return "mixed"


def _notes(
    sources: Sequence[SourceRead],
    parts: Sequence[Part],
    zones: Zones,
    *,
    gaps: Sequence[Gap],
    step_s: float,
    formats: Counter[str],
) -> list[str]:
    notes = [f"{source.name} is empty." for source in sources if not source.parts]
    notes += [f"{part.broken} What came before was read." for part in parts if part.broken]
    if len(formats) > 1:
        notes.append(f"Lines are in several formats: {', '.join(formats)}.")
    if len(zones.seen) > 1:
        notes.append(f"Times are told in several zones ({', '.join(zones.names())}); each is taken at its own.")
    if backwards := sum(part.backwards for part in parts):
        notes.append(_OUT_OF_ORDER.format(backwards))
    if gaps:
        hours = sum(gap.duration_s for gap in gaps) / 3600
        notes.append(f"Nothing was recorded in {len(gaps)} stretches, {hours:.1f} h together; they count as unknown.")
    if step_s >= COARSE_STEP_S:
        notes.append(f"The span is so long that requests are counted in steps of {step_s:g} s.")
    return notes


@dataclass(frozen=True, slots=True)
class TableRead:
    """One table of counts, and what its file's name or index says of its step and begin."""

    name: str
    table: Counts
    step_s: float | None
    start: datetime | None


def counted_traffic(tables: Sequence[TableRead], step_s: float | None) -> tuple[Traffic, ReadingReport]:
    """The traffic of tables of counts; several must have times, and are put together.

    Raises:
        LogError: there is no request in it, or several have no times.
    """
    names = tuple(each.name for each in tables)
    read = [each.table for each in tables]
    if len(read) > 1 and not all(table.time_s for table in read):
        raise LogError("several tables are read together only if each line has a time.", where=", ".join(names))
    start: datetime | None = None
    if not read[0].time_s:
        step_s, start = step_s or tables[0].step_s, tables[0].start
    trace, gaps = count_trace(_together(read), names[0], step_s, start)
    if not trace.total:
        raise LogError("there is no request in it: every step is 0 or a gap.", where=", ".join(names))
    unreadable = tuple(
        Unreadable(kind, count, name, first, example)
        for name, table in zip(names, read, strict=True)
        for kind, (count, first, example) in table.bad.items()
    )
    zone = _zone(read[0].zones) if read[0].time_s else "not told, taken as UTC"
    start_epoch_s = trace.start.timestamp() if trace.start else None
    traffic = Traffic(
        trace, (), None, _ONLY_COUNTS, None, None, None, {}, {}, (), zone=zone, start_epoch_s=start_epoch_s
    )
    lines = sum(table.lines for table in read)
    bad = sum(each.count for each in unreadable)
    skipped = sum(table.skipped for table in read)
    end = None if start_epoch_s is None else start_epoch_s + trace.duration_s
    notes = [f"{len(gaps)} stretches without a number count as unknown."] if gaps else []
    report = ReadingReport(
        names, {"counts": lines - bad - skipped}, lines, lines - bad - skipped, 0, skipped, unreadable,
        sum(table.bytes_read for table in read), start_epoch_s, end, gaps, zone, read[0].zones.names(),
        sum(int((np.diff(table.time_s) < 0).sum()) for table in read), tuple(notes),
    )  # fmt: skip
    return traffic, report


def _together(read: Sequence[Counts]) -> Counts:
    first = read[0]
    for table in read[1:]:
        first.time_s += table.time_s
        first.counts += table.counts
        first.missing_is_zero &= table.missing_is_zero
    return first
