"""`peaker traffic`: what a log or metric export tells of the traffic, and its shape, on one screen."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from peaker.cli import present
from peaker.cli.options import json_option
from peaker.extras import require_extra
from peaker.units import parse_duration_s

if TYPE_CHECKING:  # what needs the extra is imported after it was asked for
    from peaker.traffic.histogram import Histogram
    from peaker.traffic.peaks import Peak
    from peaker.traffic.requests import ReadingReport, Traffic
    from peaker.traffic.shape import Cycle, Shape

_COLUMNS = 76
_BARS = " ▁▂▃▄▅▆▇█"
_ROUTES_SHOWN = 8
_PEAKS_SHOWN = 5
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@click.command("traffic")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@click.option("--format", "format_name", metavar="NAME", help="The log's format: a name, or a string as in log_format.")
@click.option("--step", help="Length of a step of a count file whose name does not say it, such as 1min.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the shape into this file: .svg, .png or .pdf.")
@json_option
def command(
    *, logs: tuple[str, ...], format_name: str | None, step: str | None, picture: Path | None, as_json: bool
) -> None:
    """Show what LOG tells: how much traffic, its shape, and what of the log is no load.

    LOG is an access log or metric export: a file, a pattern, a folder, or - for standard input; plain, gzip or zstd;
    several are read as one. The format is found by its first lines.

    \b
    Examples:
      peaker traffic access.log
      peaker traffic 'logs/*.gz' --picture shape.svg
      zcat app.log.gz | peaker traffic - --format '$remote_addr [$time_local] "$request" $status $request_time'
    """  # noqa: D301 - \b is click's mark for text it must not wrap
    require_extra("plan", purpose="Reading logs")
    from peaker.traffic.reading import read_traffic
    from peaker.traffic.shape import shape_of

    try:
        step_s = None if step is None else parse_duration_s(step)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--step") from error
    with present.reading_bar() as progress:
        traffic, report = read_traffic(_sources(logs), format=format_name, progress=progress, step_s=step_s)
    shape = shape_of(traffic.trace)
    if picture is not None:
        from peaker.traffic.shape_picture import draw_shape

        draw_shape(traffic.trace, shape, traffic.trace.name, picture)
    if as_json:
        present.data({"report": as_data(report), "traffic": traffic_data(traffic), "shape": as_data(shape)})
        return
    present.out(
        "\n".join([*reading_lines(report, traffic), "", *shape_lines(traffic, shape), "", *load_lines(traffic)])
    )
    if picture is not None:
        present.say(f"The picture is in {picture}.")


def _sources(logs: Sequence[str]) -> list[str | Path | BinaryIO]:
    return [sys.stdin.buffer if log == "-" else log for log in logs]


def as_data(value: Any) -> Any:
    """Values as JSON has them: dataclasses by field, infinite and unknown numbers as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "summary"):
            return as_data(value.summary())
        return {field.name: as_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): as_data(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [as_data(each) for each in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124
        return None
    return value


def traffic_data(traffic: Traffic) -> dict[str, Any]:
    """The traffic without its counts by step, which are told by number only."""
    fields = {
        field.name: getattr(traffic, field.name) for field in dataclasses.fields(traffic) if field.name != "trace"
    }
    trace = traffic.trace
    told = {"step_s": trace.step_s, "steps": len(trace.counts), "gap_steps": trace.gap_steps, "total": trace.total}
    return {"trace": told, **{name: as_data(value) for name, value in fields.items()}}


def reading_lines(report: ReadingReport, traffic: Traffic) -> list[str]:
    """What was read and what became of its lines."""
    names = report.sources[0] if len(report.sources) == 1 else f"{report.sources[0]} and {len(report.sources) - 1} more"
    span = f", {_span(report.first_epoch_s, report.last_epoch_s)}" if report.first_epoch_s is not None else ""
    lines = [
        f"{names}: {', '.join(report.formats)}{span}, zone {report.zone}",
        (
            f"  {report.lines:,} lines: {report.used:,} load ({100 * report.used / max(1, report.lines):.1f} %), "
            f"{report.excluded:,} no load, {report.skipped:,} without a request, {report.unreadable_count:,} unreadable"
        ),
    ]
    if traffic.excluded:
        lines += ["  no load:", *(f"  {each.count:>12,}  {each.kind}: {each.rule}" for each in traffic.excluded)]
    if report.unreadable:
        lines.append("  unreadable:")
    lines += [
        f"  {each.count:>12,}  {each.kind}; first: line {each.first_line:,}, {each.example[:48]!r}"
        for each in report.unreadable[:6]
    ]
    return lines + [f"  {note}" for note in report.notes]


def _span(first_s: float | None, last_s: float | None) -> str:
    if first_s is None or last_s is None:
        return ""
    first, last = datetime.fromtimestamp(first_s, UTC), datetime.fromtimestamp(last_s, UTC)
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


def shape_lines(traffic: Traffic, shape: Shape) -> list[str]:
    """Baseline, ratios, cycles and peaks."""
    lines = [
        f"  {sparkline(traffic)}",
        f"  {shape.total:,} requests in {_long(shape.duration_s)}, {100 * shape.known_share:.4g} % of it recorded",
        f"  baseline {_rate(shape.baseline_per_s)} (exceeded 90 % of the time), mean {_rate(shape.mean_per_s)}, "
        f"top {_rate(shape.levels_per_s['p100'])}"
        + (f"; quietest hour of the day {_rate(shape.trough_per_s)}" if shape.trough_per_s is not None else ""),
        f"  peak to mean   {_named(shape.peak_to_mean, '{:.2f}')}",
        f"  burstiness     {_named(shape.dispersion, '{:.3g}')}   (variance over mean; 1 is Poisson)",
        f"  idle           {_named(shape.idle_share, '{:.1%}')}   (share of steps without a request)",
    ]
    if shape.daily is not None:
        hours = f"highest {shape.daily.highest:02d}:00 UTC, lowest {shape.daily.lowest:02d}:00 UTC"
        lines.append(f"  day  {_explains(shape.daily)}; {hours}")
    if shape.weekly is not None:
        days = f"highest {_DAYS[shape.weekly.highest]}, lowest {_DAYS[shape.weekly.lowest]}"
        lines.append(f"  week {_explains(shape.weekly)}; {days}")
    if shape.trend_per_week is not None:
        lines.append(f"  trend {100 * shape.trend_per_week:+.1f} % a week")
    return lines + _peak_lines(shape)


def _explains(cycle: Cycle) -> str:
    return f"explains {100 * cycle.share:.0f} % of the hourly variance, autocorrelation {cycle.autocorrelation:.2f}"


def _peak_lines(shape: Shape) -> list[str]:
    if not shape.peak_count:
        return ["  no peak stands out from the hours around it"]
    rows = [("  when", "top", "over level", "rise", "lasts"), *(_peak_row(peak) for peak in shape.peaks[:_PEAKS_SHOWN])]
    head = f"  {shape.peak_count} peaks above the hours around them, {shape.peaks_per_day:.3g} a day; the highest:"
    return [head, present.table(rows)]


def _peak_row(peak: Peak) -> tuple[str, ...]:
    begin = peak.start[:16].replace("T", " ") if peak.start else f"+{timedelta(seconds=round(peak.start_s))}"
    times = f"{peak.times_level:.1f} x" if peak.level_per_s else "from none"
    return (f"  {begin}", _rate(peak.highest_per_s), times, _long(peak.rise_s), _long(peak.duration_s))


def load_lines(traffic: Traffic) -> list[str]:
    """Times, answers and routes."""
    if not traffic.routes:
        return [f"  service time: {traffic.service_time_is}"]
    classes = {hundred: 100 * traffic.status_share(hundred) for hundred in sorted(traffic.status_classes)}
    lines = [
        "  answers        " + "   ".join(f"{hundred}xx {share:.3g} %" for hundred, share in classes.items() if hundred)
    ]
    if traffic.service_time is not None:
        lines.append(f"  service time   {_quantiles(traffic.service_time)}")
    lines.append(f"                 {traffic.service_time_is}")
    if traffic.functions is not None:
        figures = traffic.functions
        lines.append(
            f"  functions      {figures.memory_mb:,} MB, at most {figures.memory_used_mb_max:,} MB used, "
            f"{figures.cold_starts:,} cold starts, p50 {present.milliseconds(1000 * figures.init_time.quantile(0.5))}"
        )
    rows = [("  route", "requests", "share", "p50", "p95")]
    rows += [
        (f"  {route.pattern[:44]}", f"{route.count:,}", f"{100 * route.share:.1f} %", *_two(route.service_time))
        for route in traffic.routes[:_ROUTES_SHOWN]
    ]
    more = len(traffic.routes) - _ROUTES_SHOWN
    return [*lines, present.table(rows), *([f"    and {more} routes more"] if more > 0 else [])]


def _two(times: Histogram | None) -> tuple[str, str]:
    if times is None:
        return "-", "-"
    return present.milliseconds(1000 * times.quantile(0.5)), present.milliseconds(1000 * times.quantile(0.95))


def _quantiles(times: Histogram) -> str:
    shown = [f"p{100 * q:g} {present.milliseconds(1000 * times.quantile(q))}" for q in (0.5, 0.95, 0.99)]
    return "   ".join([f"mean {present.milliseconds(1000 * times.mean)}", *shown])


def _named(values: dict[str, float], form: str) -> str:
    return (
        "   ".join(f"{name} {form.format(value)}" for name, value in values.items()) or "not told by so short a trace"
    )


def _rate(per_s: float) -> str:
    return f"{per_s:,.3g}/s" if per_s < 1000 else f"{per_s:,.0f}/s"


def _long(seconds: float) -> str:
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds:.3g} s"


def sparkline(traffic: Traffic, columns: int = _COLUMNS) -> str:
    """The mean rate over time; a blank is no request, a dot a stretch that was not recorded."""
    from peaker.traffic.shape import binned

    trace = traffic.trace
    rates, _ = binned(trace, max(trace.step_s, trace.duration_s / columns))
    shown = [rates[len(rates) * place // columns] for place in range(min(columns, len(rates)))] if len(rates) else []
    top = max((rate for rate in rates.tolist() if rate == rate), default=0.0) or 1.0  # noqa: PLR0124 - nan
    return "".join("." if rate != rate else _BARS[-int(-rate / top * 8 // 1)] for rate in map(float, shown))  # noqa: PLR0124
