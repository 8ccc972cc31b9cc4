"""What `peaker status` tells a person, as one screen of text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peaker.cli import present
from peaker.cli.jobs_text import percentage

ROUTES_SHOWN_MAX = 8
JOBS_SHOWN_MAX = 4

_RAN = (("server", "on_server"), ("sibling", "on_sibling"), ("function", "on_function"))


def status_text(found: dict[str, Any]) -> str:
    """All of it; `found` is what `/status` answers."""
    parts = [
        _head(found),
        _traffic(found),
        _workers(found),
        _functions(found),
        _events(found),
        _routes(found),
        _cost(found),
    ]
    return "\n".join(line for part in parts for line in part)


def _head(found: dict[str, Any]) -> list[str]:
    supervisor = found["supervisor"]
    alive = f"pid {supervisor['pid']}" if supervisor["alive"] else "gone; `peaker run` takes over"
    stage = f", stage {found['stage']}" if found["stage"] else ""
    lines = [f"{found['app']}{stage}: {found['status']}, generation {found['generation']}"]
    if found["status"] == "stopped":
        return [*lines, "  start it with `peaker run`; below is what the last run counted"]
    if found["app_url"]:
        lines.append(f"  app         {found['app_url']}")
    lines.append(f"  ops         {found['ops_url']}")
    if found["lambda_endpoint"]:
        lines.append(f"  lambda      {found['lambda_endpoint']}  (`peaker profile` leads boto3 and the AWS CLI there)")
    servers = found["servers"]
    lines.append(f"  supervisor  {alive}")
    if found["app_url"]:
        least = max(1, servers["count_min"])
        lines.append(f"  servers     {servers['count']} ({least} to {servers['count_max']}){_who_decides(servers)}")
    return lines


def _who_decides(servers: dict[str, Any]) -> str:
    """Of the number of servers; nothing where there is nothing to decide."""
    if servers.get("error"):
        return f"; {servers['error']}"
    if servers.get("held") is not None:
        return ", held by hand (`peaker scale auto` gives it back to the policy)"
    if servers.get("policy", "fixed") == "fixed":
        return ""
    last = servers["loop"]
    if last is None or last["demand_servers"] is None:
        return f", policy {servers['policy']}"
    held_by = f", {last['held_by']}" if last["held_by"] else ""
    demand = f"demand {last['demand_servers']:.2f}, wanted {last['wanted']}{held_by}"
    return f", policy {servers['policy']}: {demand} (`peaker why`)"


def _traffic(found: dict[str, Any]) -> list[str]:
    """Requests by where they ran: now, so far, and how long they took."""
    usage, rates, objective_ms = found["usage"], found["rates"], found["objective"]["latency_p95_ms"]
    rows = [["ran on", "now", "requests", "p50", "p95", "p99"]]
    for name, counter in _RAN:
        rows.append([name, _rate(rates, counter), f"{usage[counter]:,}", *_percentiles(usage, name)])
    now = None if rates is None else {"all": sum(rates[counter] for _, counter in _RAN)}
    rows.append(["all", _rate(now, "all"), f"{usage['requests']:,}", *_percentiles(usage, "all")])
    p95 = usage["latency_ms"]["all"]["p95"]
    kept = "" if p95 is None else ", kept" if p95 <= objective_ms else ", missed"
    return [
        "",
        present.table(rows),
        f"  objective: p95 within {present.milliseconds(objective_ms)}{kept}",
        (
            f"  refused {usage['refused']:,} ({_rate(rates, 'refused')} now), waited {usage['waited']:,}, "
            f"cold starts {usage['cold_starts']:,}, failed {usage['failed']:,}"
        ),
    ]


def _percentiles(usage: dict[str, Any], name: str) -> list[str]:
    return [present.milliseconds(value) for value in usage["latency_ms"][name].values()]


def _rate(rates: dict[str, float] | None, name: str) -> str:
    if rates is None:
        return "-"
    return f"{rates[name]:.1f}/s" if rates[name] < 100 else f"{rates[name]:,.0f}/s"


def _workers(found: dict[str, Any]) -> list[str]:
    if not found["workers"]:
        return []
    head = ["worker", "server", "pid", "status", "in flight", "slots", "waiting", "spilling", "lag", "connections"]
    rows = [
        [
            *(str(worker[key]) for key in ("name", "server", "pid", "status", "in_flight", "slots", "waiting")),
            str(worker["spilling"]),
            present.milliseconds(worker["lag_ms"]),
            str(worker["connections"]),
        ]
        for worker in found["workers"]
    ]
    return ["", present.table([head, *rows])]


def _functions(found: dict[str, Any]) -> list[str]:
    host = found["host"]
    if host is None:
        return []
    functions = host.get("functions", [])
    lines = ["", f"  function host: {host['status']}, pid {host['pid']}"]
    counted = [function for function in functions if "instances" in function]
    if counted:
        lines += ["", _instances(counted)]
    if found["functions"]:
        lines += ["", _invocations(found["functions"])]
    notes = []
    for function in functions:
        reason = f" ({function['rung_reason']})" if function["rung_reason"] else ""
        notes.append(f"  {function['name']}: instances start {function['rung']}{reason}")
        notes += [f"  warning: {warning}" for warning in function["warnings"]]
    if functions:
        notes.append(f"  what functions print is in {Path(found['state'], 'logs', 'functions.log')}")
    return [*lines, "", *notes] if notes else lines


def _events(found: dict[str, Any]) -> list[str]:
    """One line; `peaker events` has the rest."""
    events = found["events"]
    if events is None:
        return []
    counts = events["counts"]
    if counts is None:
        return ["", f"  events: pid {events['pid']} does not answer; what was accepted is on disk"]
    oldest = f", the oldest for {counts['oldest_age_s']:.0f} s" if counts["waiting"] else ""
    dead = " (`peaker events`)" if counts["dead"] else ""
    totals = events["totals"]
    now = f"{counts['waiting']:,} waiting{oldest}, {counts['running']:,} running, {counts['dead']:,} dead{dead}"
    so_far = f"{totals['accepted']:,} accepted, {totals['finished']:,} finished, {totals['retried']:,} retried"
    sources, schedules = events.get("sources") or [], events.get("schedules") or []
    return ["", f"  events: {now}; {so_far}", *_jobs(events), *_schedules(schedules), *_sources(sources)]


def _jobs(events: dict[str, Any]) -> list[str]:
    """One line; `peaker jobs` has the rest."""
    jobs, totals = events.get("jobs") or [], events.get("job_totals") or {}
    if not jobs and not totals:
        return []
    shown = ", ".join(f"{job['name']} {percentage(job['fraction'])}".strip() for job in jobs[:JOBS_SHOWN_MAX])
    running = f"{len(jobs)} running" + (f" ({shown})" if shown else "")
    return [f"  jobs: {running}; {totals.get('finished', 0):,} finished, {totals.get('failed', 0):,} failed"]


def _schedules(schedules: list[dict[str, Any]]) -> list[str]:
    """How many, and which is next."""
    if not schedules:
        return []
    coming = [each for each in schedules if each["next_s"] is not None]
    if not coming:
        return [f"  schedules: {len(schedules)}; no moment is left"]
    first = min(coming, key=lambda each: each["next_s"])
    when = f"{datetime.fromtimestamp(first['next_s'], UTC):%Y-%m-%d %H:%M} UTC"
    return [f"  schedules: {len(schedules)}; next {first['function']}, {first['schedule']}, at {when}"]


def _sources(sources: list[dict[str, Any]]) -> list[str]:
    """One line, and one for each that does not listen."""
    if not sources:
        return []
    listening = sum(source["condition"] == "listening" for source in sources)
    ailing = [source for source in sources if source["error"]]
    taken = sum(source["taken"] for source in sources)
    return [
        f"  sources: {listening} of {len(sources)} listening; {taken:,} taken",
        *(f"    {source['name']}: {source['condition']}: {source['error']}" for source in ailing),
    ]


def _instances(functions: list[dict[str, Any]]) -> str:
    """What there is now, a row a function."""
    names = list(functions[0]["instances"])
    rows = [[function["name"], *(f"{function['instances'][name]:,}" for name in names)] for function in functions]
    return present.table([["instances now", *(name.replace("_", " ") for name in names)], *rows])


def _invocations(functions: list[dict[str, Any]]) -> str:
    """What was run so far, a row for each function and caller."""
    names = ("invocations", "cold_starts", "failures", "throttled")
    head = ["invocations so far", "asked by", *(name.replace("_", " ") for name in names), "GB-s", "dollars"]
    rows = [
        [
            one["name"],
            one["caller"],
            *(f"{one[name]:,}" for name in names),
            f"{one['gb_seconds']:,.2f}",
            _usd(one["usd"]),
        ]
        for one in functions
    ]
    return present.table([head, *rows])


def _routes(found: dict[str, Any]) -> list[str]:
    """Routes that stay on servers though nothing declares it; why is what people ask first."""
    kept = [route for route in found["routes"] if route["stays_because"] and not route["declared"]]
    if not kept:
        return []
    rows = [["stays on servers", "seen", "because"]]
    rows += [[one["route"], f"{one['seen']:,}", one["stays_because"]] for one in kept[:ROUTES_SHOWN_MAX]]
    more = len(kept) - ROUTES_SHOWN_MAX
    return ["", present.table(rows), *([f"  and {more} more: --json has them"] if more > 0 else [])]


def _cost(found: dict[str, Any]) -> list[str]:
    cost, spend = found["cost"], found["spend"]
    rests = cost["rests_on"]
    limit = f" of ${spend['usd_per_day_max']:g}" if spend["usd_per_day_max"] is not None else ", no limit"
    rows = [["cost so far", "dollars", ""], ["as it ran", _usd(cost["usd"]), _as_it_ran(cost)]]
    for name, key in (("servers only", "servers_only"), ("functions only", "functions_only")):
        found_usd = cost[key]["usd"]
        rows.append([name, "-" if found_usd is None else _usd(found_usd), _basis(cost[key])])
    per_month = cost["usd_per_month"]
    month = "" if per_month is None else f"; at the present rate ${per_month:,.2f} a month"
    return [
        "",
        present.table(rows),
        f"  functions today: ${spend['today_usd']:.4f}{limit}{month}",
        (
            f"  prices: {rests['instance_type']} and Lambda {rests['architecture']} in {rests['region']}, list of "
            f"{', '.join(rests['published'])}; left out: {rests['left_out']}"
        ),
        *(f"  {name.replace('_', ' ')}: {line}" for name in ("servers_only", "functions_only")
          for line in cost[name]["rests_on"][:1]),
    ]  # fmt: skip


def _as_it_ran(cost: dict[str, Any]) -> str:
    return ", ".join(f"{line['item']} {line['quantity']:,.4g} {line['unit']}" for line in cost["lines"])


def _basis(alternative: dict[str, Any]) -> str:
    if alternative["usd"] is None:
        return ""
    if "servers" in alternative:
        return f"{alternative['servers']} servers all the time"
    return f"{alternative['invocations']:,} invocations of {alternative['function_ms_mean']:.1f} ms billed"


def _usd(value: float) -> str:
    """Enough digits to tell small sums apart."""
    return f"${value:,.2f}" if value >= 100 else f"${value:.4f}" if value >= 0.01 else f"${value:.6f}"
