"""The pictures of a report: traffic with its baseline, the load-duration curve, cost by servers, latency by candidate.

Each is drawn twice, for wide and for narrow screens; the style sheet shows one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from peaker.plan.plan import Architecture, Candidate, CountCost, Kind, Plan, Servers
from peaker.plan.svg import (
    Frame,
    Point,
    box,
    clip,
    line,
    path,
    picture,
    short,
    stairs,
    text,
    time_axis,
    y_axis,
)
from peaker.plan.telling import by_dollars, closest, dollars, milliseconds, percent, percentile_name

WIDE, NARROW = 960.0, 400.0
_BARS_MAX = 80
_BANDS_MAX = 40
DATA_OUT = "data out to the internet"
"""The item of a bill that costs the same wherever the answer was made."""

_Draw = Callable[[Plan, float, str], str]


def both(draw: _Draw, plan: Plan) -> str:
    """A picture for wide and one for narrow screens."""
    return draw(plan, WIDE, "wide") + draw(plan, NARROW, "narrow")


def shown_servers(plan: Plan) -> Servers | None:
    """The servers of the answer, or of who comes closest; None for functions."""
    chosen = plan.answer or closest(plan)
    if chosen is None or chosen.architecture is Architecture.FUNCTIONS:
        return None
    return chosen.servers


def traffic(plan: Plan, width: float, kind: str) -> str:
    """Requests a second over time, cut at what the servers of the answer hold."""
    last = plan.traffic[-1].start_s if plan.traffic else 0.0
    each_s = plan.traffic[1].start_s if len(plan.traffic) > 1 else plan.step_s
    duration_s = last + each_s
    peak = max((moment.peak_per_s for moment in plan.traffic), default=1.0) or 1.0
    servers = shown_servers(plan)
    held = _held(servers, duration_s)
    tallest = max((y for _, y in held), default=0.0)
    highest_shown = max(peak, tallest if tallest < 2 * peak else 0) * 1.08
    frame = Frame(width, 300.0, duration_s, highest_shown, top=28.0 if width > NARROW else 46.0)
    name = f"traffic-{kind}"
    above = _above_css(plan)
    mean = stairs([(frame.x(m.start_s), frame.y(m.mean_per_s)) for m in plan.traffic], frame.end)
    highest = stairs([(frame.x(m.start_s), frame.y(m.peak_per_s)) for m in plan.traffic], frame.end)
    roof = [(frame.x(x), max(frame.top, frame.y(y))) for x, y in held]
    under = path([(frame.left, frame.floor), *roof, (frame.end, frame.floor)], "", closed=True)
    body = [
        *y_axis(frame, "requests a second"),
        path(_closed(highest, frame), f"{above} faint", closed=True),
        path(_closed(mean, frame), above, closed=True),
    ]
    if roof:
        body += [
            clip(f"{name}-held", under),
            path(_closed(highest, frame), "servers solid-faint", closed=True, clip=f"{name}-held"),
            path(_closed(mean, frame), "servers", closed=True, clip=f"{name}-held"),
        ]
    if roof and min(y for _, y in held) <= frame.y_max:
        body.append(path(roof, "baseline"))
    body += [*time_axis(frame, duration_s, plan.start), _baseline_label(frame, servers, held)]
    return picture(name, frame, "Traffic over time", _traffic_told(plan, peak), body, kind)


def _above_css(plan: Plan) -> str:
    """What takes the load that no server holds: functions, or nobody, where it waits."""
    chosen = plan.answer or closest(plan)
    return "waits" if chosen is not None and chosen.architecture is Architecture.SERVERS else "functions"


def _closed(points: list[Point], frame: Frame) -> list[Point]:
    return [(frame.left, frame.floor), *points, (frame.end, frame.floor)]


def _held(servers: Servers | None, duration_s: float) -> list[Point]:
    """What the servers hold over time, in requests a second."""
    if servers is None:
        return []
    counts = servers.ready or (servers.least,)
    each_s = duration_s / len(counts)
    return stairs([(index * each_s, count * servers.requests_per_s) for index, count in enumerate(counts)], duration_s)


def _baseline_label(frame: Frame, servers: Servers | None, held: list[Point]) -> str:
    """Beside a line that does not move, else above the picture, where nothing is drawn."""
    if servers is None:
        return text(frame.end, frame.top - 16, "no server: every request runs on a function", "note", "end")
    least, most = (short(count * servers.requests_per_s) for count in (servers.least, servers.most))
    held_words = least if servers.most == servers.least else f"{least} to {most}"
    words = f"{_count(servers)} {'holds' if servers.most == 1 else 'hold'} {held_words} requests a second"
    if servers.most == servers.least and held[-1][1] <= frame.y_max:
        y = frame.y(held[-1][1])
        return text(frame.end - 4, y - 7 if y > frame.top + 20 else y + 15, words, "note halo", "end")
    above = " (above this picture)" if held[-1][1] > frame.y_max else ""
    return text(frame.end, frame.top - 16, words + above, "note", "end")


def _count(servers: Servers) -> str:
    if servers.most > servers.least:
        return f"{servers.least} to {servers.most} {servers.size}"
    return f"{servers.least} {servers.size}"


def _traffic_told(plan: Plan, peak: float) -> str:
    mean = plan.requests / (plan.hours * 3600)
    servers = shown_servers(plan)
    told = f"{plan.requests:,} requests; {mean:,.3g} a second on average, {peak:,.3g} in the busiest step."
    if servers is None:
        return f"{told} All run on functions."
    return f"{told} A line marks what {_count(servers)} hold: {servers.least * servers.requests_per_s:,.3g} and more."


def duration_curve(plan: Plan, width: float, kind: str) -> str:
    """Levels of load by the share of time they are reached, and who serves which slice."""
    peak = max((point.requests_per_s for point in plan.curve), default=1.0) or 1.0
    frame = Frame(width, 300.0, 1.0, peak * 1.05)
    servers = shown_servers(plan)
    name = f"curve-{kind}"
    # A point stands at the end of its level: the level lasts from the share of the one before.
    begins = (0.0, *(point.share for point in plan.curve))
    levels = [(frame.x(at), frame.y(p.requests_per_s)) for at, p in zip(begins, plan.curve, strict=False)]
    outline = stairs(levels, frame.end)
    area = path(_closed(outline, frame), "", closed=True)
    body = [*y_axis(frame, "requests a second"), clip(name, area)]
    body += [f'<g clip-path="url(#{name})">', box(frame.left, 0, frame.end - frame.left, frame.floor, _above_css(plan))]
    body += [*_slices(frame, servers), "</g>", path(outline, "outline")]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        body.append(text(frame.x(share), frame.floor + 18, f"{share:.0%}", "tick", anchor))
    body.append(text((frame.left + frame.end) / 2, frame.height - 5, "share of the time at or above", "tick", "middle"))
    body.append(line(frame.left, frame.floor, frame.end, frame.floor, "axis"))
    body += _slice_legend(plan, frame, servers)
    return picture(name, frame, "Load-duration curve", _curve_told(plan, servers), body, kind)


def _slices(frame: Frame, servers: Servers | None) -> list[str]:
    """A band for each server: those that always run, then those that come and go."""
    if servers is None:
        return []
    parts = []
    each = servers.requests_per_s
    for css, first, last in (("servers", 0, servers.least), ("at-times", servers.least, servers.most)):
        if last > first:
            top, bottom = frame.y(last * each), frame.y(first * each)
            parts.append(box(frame.left, top, frame.end - frame.left, bottom - top, css))
    if servers.most <= _BANDS_MAX:
        for count in range(1, servers.most + 1):
            y = frame.y(count * each)
            parts.append(line(frame.left, y, frame.end, y, "seam"))
    return parts


def _slice_legend(plan: Plan, frame: Frame, servers: Servers | None) -> list[str]:
    entries = []
    if servers is not None and servers.least:
        entries.append(("servers", f"{servers.least} {servers.size}, always"))
    if servers is not None and servers.most > servers.least:
        entries.append(("at-times", f"up to {servers.most} as load comes and goes"))
    chosen = plan.answer or closest(plan)
    if chosen is not None and chosen.architecture is not Architecture.SERVERS:
        entries.append(("functions", f"functions: {percent(chosen.spilled_share)} of the requests"))
    parts = []
    for row, (css, words) in enumerate(entries):
        y = frame.top + 6 + row * 21
        parts += [box(frame.end - 16, y, 13, 13, css), text(frame.end - 23, y + 11, words, "note halo", "end")]
    return parts


def _curve_told(plan: Plan, servers: Servers | None) -> str:
    half = next((point.requests_per_s for point in plan.curve if point.share >= 0.5), 0.0)
    told = f"For half of the time there are {half:,.3g} requests a second or more."
    if servers is None:
        return f"{told} Functions serve all of it."
    return f"{told} Servers serve what lies below {servers.most * servers.requests_per_s:,.3g} requests a second."


def cost_by_count(plan: Plan, width: float, kind: str) -> str:
    """Dollars a month of each fixed number of servers, with functions above them; "" where it was not looked at."""
    counted = _costs_from_none(plan)
    if not counted:
        return ""
    total = [cost.servers_usd + cost.functions_usd for cost in counted]
    best = min(range(len(total)), key=total.__getitem__)
    costs = counted[: min(len(total), _BARS_MAX, max(best * 3 + 4, 12))]
    size = next((c.servers.size for c in plan.candidates if c.kind is Kind.HYBRID_FIXED and c.servers), "servers")
    frame = Frame(width, 300.0, float(len(costs)), max(total[: len(costs)]) * 1.12, left=66.0)
    pitch = (frame.end - frame.left) / len(costs)
    body = y_axis(frame, "dollars a month", "${}")
    every = max(1, math.ceil(len(costs) / (frame.width / 45)))
    for place, cost in enumerate(costs):
        x, wide = frame.left + (place + 0.14) * pitch, pitch * 0.72
        told = (
            f"{cost.servers} {size}: servers {dollars(cost.servers_usd)}, functions {dollars(cost.functions_usd)}, "
            f"in all {dollars(total[place])}"
        )
        middle = frame.y(cost.servers_usd)
        body.append(box(x, middle, wide, frame.floor - middle, "servers", told))
        body.append(box(x, frame.y(total[place]), wide, middle - frame.y(total[place]), "functions", told))
        if place % every == 0:
            body.append(text(x + wide / 2, frame.floor + 17, str(cost.servers), "tick", "middle"))
        if place == best:
            anchor = "start" if x < frame.left + 60 else "middle"
            at = x if anchor == "start" else x + wide / 2
            body.append(text(at, frame.y(total[place]) - 7, dollars(total[place]), "note strong halo", anchor))
    body.append(line(frame.left, frame.floor, frame.end, frame.floor, "axis"))
    body.append(text((frame.left + frame.end) / 2, frame.height - 5, f"fixed servers ({size})", "tick", "middle"))
    told = f"Cheapest with {counted[best].servers}: {dollars(total[best])} a month."
    return picture(f"costs-{kind}", frame, "Cost by number of servers", told, body, kind)


def _costs_from_none(plan: Plan) -> tuple[CountCost, ...]:
    """What was looked at, and before it functions alone as no server, where they do."""
    alone = next((each for each in plan.candidates if each.kind is Kind.FUNCTIONS and each.holds), None)
    if alone is None or not plan.count_costs or plan.count_costs[0].servers != 1:
        return plan.count_costs
    usd = sum(each.usd for each in alone.bill if each.item != DATA_OUT)
    return (CountCost(servers=0, servers_usd=0.0, functions_usd=usd), *plan.count_costs)


def latency(plan: Plan, width: float, kind: str) -> str:
    """The median, 95th and 99th percentile of each candidate beside the objective."""
    shown = by_dollars(plan)
    is_narrow = width < 600
    row = 44.0 if is_narrow else 27.0
    values = [each.latency_p50_ms for each in shown] + [each.latency_p99_ms for each in shown] + [plan.objective_ms]
    least = math.floor(math.log10(max(0.1, min(values))) * 4) / 4
    most = max(math.ceil(math.log10(max(values)) * 4) / 4, least + 0.5)
    left = 12.0 if is_narrow else 350.0
    frame = Frame(width, 62.0 + row * len(shown), most - least, 1.0, left=left, right=24.0, top=30.0)

    def at(value: float) -> float:
        return frame.x(math.log10(max(10**least, value)) - least)

    body = []
    for value in _log_ticks(least, most, 4 if is_narrow else 9):
        body.append(line(at(value), frame.top, at(value), frame.floor, "grid"))
        body.append(text(at(value), frame.floor + 17, milliseconds(value), "tick", "middle"))
    goal = at(plan.objective_ms)
    anchor = "start" if goal < (frame.left + frame.end) / 2 else "end"
    words = f"objective: {percentile_name(plan.percentile)} within {milliseconds(plan.objective_ms)}"
    body.append(line(goal, frame.top - 6, goal, frame.floor, "objective"))
    body.append(text(goal, frame.top - 11, words, "note bad", anchor))
    for index, each in enumerate(shown):
        body += _latency_row(plan, each, frame, at, frame.top + row * (index + 0.5), is_narrow=is_narrow)
    told = "; ".join(f"{each.title}: p95 {milliseconds(each.latency_p95_ms)}" for each in shown)
    return picture(f"latency-{kind}", frame, "Latency by candidate", told, body, kind)


def _latency_row(
    plan: Plan, each: Candidate, frame: Frame, at: Callable[[float], float], y: float, *, is_narrow: bool
) -> list[str]:
    css = "chosen" if each is plan.answer else "other" if each.holds else "broken"
    told = ", ".join(
        f"{name} {milliseconds(value)}"
        for name, value in (("p50", each.latency_p50_ms), ("p95", each.latency_p95_ms), ("p99", each.latency_p99_ms))
    )
    strong = " strong" if each is plan.answer else "" if each.holds else " dim"
    if is_narrow:
        label = text(frame.left, y - 7, each.title, f"note halo{strong}")
        y += 9
    else:
        label = text(frame.left - 14, y + 4, each.title, f"note{strong}", "end")
    low, middle, high = at(each.latency_p50_ms), at(each.latency_p95_ms), at(each.latency_p99_ms)
    return [
        f"<g><title>{told}</title>",
        label,
        line(low, y, high, y, f"reach {css}"),
        line(low, y - 5, low, y + 5, f"reach {css}"),
        line(high, y - 5, high, y + 5, f"reach {css}"),
        f'<circle cx="{middle:.1f}" cy="{y:.1f}" r="5" class="{css}"/></g>',
    ]


def _log_ticks(least: float, most: float, about: int) -> list[float]:
    """1, 2, 5 times powers of ten between two logarithms, or the powers alone where these are too many."""
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [
            factor * 10.0**power
            for power in range(math.floor(least), math.ceil(most) + 1)
            for factor in factors
            if least - 1e-9 <= math.log10(factor * 10.0**power) <= most + 1e-9
        ]
        if len(found) <= about:
            return found
    return found[:: math.ceil(len(found) / about)]


def dollar_bar(plan: Plan, candidate: Candidate) -> str:
    """A bar for a cell of the table, as long as its share of the dearest candidate's dollars."""
    dearest = max(each.usd_per_month for each in plan.candidates) or 1.0
    css = "chosen" if candidate is plan.answer else "other" if candidate.holds else "broken"
    share = max(0.0, candidate.usd_per_month / dearest) * 100
    return (
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{share:.1f}" height="6" class="{css}"/></svg>'
    )
