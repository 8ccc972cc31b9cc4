"""`peaker status`: what runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option


@click.command("status")
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@json_option
def command(*, config: str | None, state: Path | None, as_json: bool) -> None:
    """Show what runs: addresses, servers and workers, functions, latency by where requests ran, the day's spend.

    Counters are since the app was started; of an app that has stopped, those of its last run. It works without a
    supervisor too. Exit code 1 when no app was ever started here.

    \b
    Examples:
      peaker status
      peaker status --json | python -c 'import json,sys; print(json.load(sys.stdin)["app_url"])'
      peaker status --state /var/lib/shop

    \b
    Fields of --json: app, status (starting, ready, draining, stopped), app_url, ops_url, lambda_endpoint, aws_profile,
    aws_shared_credentials_file, generation, version, state, supervisor {pid, alive}, servers {count, count_min,
    count_max}, workers [{name, server, row, pid, status, slots, in_flight, waiting, spilling, lag_ms,
    heartbeat_age_ms, connections, websockets, lease_usd, spent_usd}], host {pid, status, ...}, usage {counters,
    latency_ms {all, server, sibling, function: {p50, p95, p99}}}, spend {today_usd, usd_per_day_max}.
    """  # noqa: D301
    from peaker.clock import SystemClock
    from peaker.engines.local.report import report

    found = asyncio.run(report(state_here(config, state), SystemClock()))
    if as_json:
        present.data(found)
        return
    present.out("\n".join([*_head(found), *_workers(found), *_functions(found), *_usage(found)]))


def _head(found: dict[str, Any]) -> list[str]:
    supervisor = found["supervisor"]
    alive = f"pid {supervisor['pid']}" if supervisor["alive"] else "gone; `peaker run` takes over"
    lines = [f"{found['app']}: {found['status']}, generation {found['generation']}"]
    if found["status"] == "stopped":
        return [*lines, "  start it with `peaker run`; below is what the last run counted"]
    lines += [f"  app         {found['app_url']}", f"  ops         {found['ops_url']}"]
    if found["lambda_endpoint"]:
        lines.append(f"  lambda      {found['lambda_endpoint']}  (AWS_PROFILE={found['aws_profile']}")
        lines[-1] += f" AWS_SHARED_CREDENTIALS_FILE={found['aws_shared_credentials_file']})"
    servers = found["servers"]
    lines.append(f"  supervisor  {alive}")
    lines.append(f"  servers     {servers['count']} ({max(1, servers['count_min'])} to {servers['count_max']})")
    return lines


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
        lines += ["", _figures("instances now", counted, "instances"), "", _figures("in all", counted, "totals")]
    notes = []
    for function in functions:
        reason = f" ({function['rung_reason']})" if function["rung_reason"] else ""
        notes.append(f"  {function['name']}: instances start {function['rung']}{reason}")
        notes += [f"  warning: {warning}" for warning in function["warnings"]]
    if functions:
        notes.append(f"  what functions print is in {Path(found['state'], 'logs', 'functions.log')}")
    return [*lines, "", *notes] if notes else lines


def _figures(head: str, functions: list[dict[str, Any]], key: str) -> str:
    """One table: a row a function, a column a figure."""
    names = list(functions[0][key])
    rows = [[function["name"], *(f"{function[key][name]:,}" for name in names)] for function in functions]
    return present.table([[head, *(name.replace("_", " ") for name in names)], *rows])


def _usage(found: dict[str, Any]) -> list[str]:
    usage, spend = found["usage"], found["spend"]
    rows = [["ran on", "requests", "p50", "p95", "p99"]]
    for name, counter in (("server", "on_server"), ("sibling", "on_sibling"), ("function", "on_function")):
        latency = usage["latency_ms"][name]
        rows.append([name, f"{usage[counter]:,}", *(present.milliseconds(latency[key]) for key in latency)])
    latency = usage["latency_ms"]["all"]
    rows.append(["all", f"{usage['requests']:,}", *(present.milliseconds(latency[key]) for key in latency)])
    limit = spend["usd_per_day_max"]
    return [
        "",
        present.table(rows),
        f"  refused {usage['refused']:,}, cold starts {usage['cold_starts']:,}, failed {usage['failed']:,}",
        f"  functions today: ${spend['today_usd']:.4f}" + (f" of ${limit:g}" if limit is not None else ", no limit"),
    ]
