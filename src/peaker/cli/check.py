"""`peaker check`: are the settings right, and what do they mean?"""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

import click

from peaker.app import FunctionSpec, environment, find_settings, functions, worker_count
from peaker.cli import present
from peaker.cli.importing import import_all
from peaker.cli.options import json_option, settings_options
from peaker.clock import SystemClock
from peaker.engines.local.starting_secrets import starting_secrets
from peaker.errors import SettingsError
from peaker.functions.command import BOOTSTRAP, resolve_command
from peaker.functions.function_environment import function_environment
from peaker.functions.layers import check_layers
from peaker.local_time import zone_of
from peaker.meter.price import prices_of
from peaker.policy.consistency import check_consistency
from peaker.policy.placement import explain
from peaker.policy.resources import check_resources
from peaker.policy.schedule import Schedule, next_after
from peaker.schedule_expression import Rate, parse_expression
from peaker.settings import Settings, replaced
from peaker.triggers import TriggerSection


@click.command("check")
@settings_options
@click.option("--no-import", is_flag=True, help="Do not import the app and its handlers.")
@click.option("--aws", metavar="local|URL", help="As of `peaker run`: code that is imported meets no AWS.")
@json_option
def command(*, config: str | None, stage: str, no_import: bool, aws: str | None, as_json: bool) -> None:
    """Check the settings, import and start the app, and show where each route may run and why.

    Refused are unknown keys, wrong values, a declared placement that breaks a limit, resources that could be
    overbooked, time-outs that do not line up, layers and programs that are not there, targets that do not import, and
    a lifespan start-up that fails or takes longer than servers.start_s_max (it is run once and ended again). Exit code
    2 then, with the file and line where the value stands.

    \b
    Examples:
      peaker check
      peaker check --stage prod --no-import
      peaker check --aws local
      peaker check --json
    """  # noqa: D301
    settings = find_settings(config, stage)
    if aws is not None:
        settings = replaced(settings, "aws.endpoint", aws, where="--aws")
    check_settings(settings)
    if not no_import:
        import_all(settings, start=True)
    found = _found(settings)
    if as_json:
        present.data(found)
        return
    present.out(_text(found, imported=not no_import))


def check_settings(settings: Settings) -> None:
    """Everything that can be refused before a process is started; raises SettingsError."""
    if not settings.app.web and not settings.started:
        raise SettingsError(
            "there is neither [app] web nor a [[function]] or [[job]], so there is nothing to run.",
            where="settings",
            remedy='Name the ASGI or WSGI app as web = "module:attribute", or declare a function.',
        )
    workers = worker_count(settings)
    check_consistency(settings, workers)
    explain(settings)
    may_run = {spec.name: spec.concurrency_max for spec in functions(settings) if not spec.web or settings.app.spill}
    check_resources(settings, workers, may_run)
    check_programs(settings)
    starting_secrets(settings)
    prices_of(settings)


def check_programs(settings: Settings) -> None:
    """The folders and programs that functions need are there; raises SettingsError."""
    variables = environment(settings)
    for spec in functions(settings):
        check_layers(spec)
        if spec.is_provided:
            resolve_command(spec, settings.directory, function_environment(spec, settings, variables))


def _found(settings: Settings) -> dict[str, Any]:
    servers = settings.servers
    triggers = {function.name: [_trigger(trigger) for trigger in function.on] for function in settings.started}
    return {
        "app": settings.app.name,
        "stage": settings.stage,
        "directory": settings.directory,
        "has_web": bool(settings.app.web),
        "servers": {
            "count_min": servers.count_min,
            "count_max": servers.count_max,
            "workers": worker_count(settings),
        },
        "secrets": sorted(settings.secrets),
        "functions": [
            {"name": spec.name, "target": _what_runs(spec), "memory_mb": spec.memory_mb, "timeout_s": spec.timeout_s,
             "concurrency_max": spec.concurrency_max, "on": triggers.get(spec.name, [])}
            for spec in functions(settings)
            if not spec.web or settings.app.spill
        ],
        "jobs": [
            {"name": job.name, "target": job.handler, "concurrency_max": job.concurrency_max, "on": triggers[job.name]}
            for job in settings.job
        ],
        "routes": [
            {"route": line.route, "placement": line.placement, "reason": line.reason}
            for line in (explain(settings) if settings.app.web else ())
        ],
    }  # fmt: skip


def _trigger(trigger: TriggerSection) -> dict[str, Any]:
    """What starts a function; of a time of day also when that is next, None where no moment is left."""
    kind = trigger.kind.value
    found: dict[str, Any] = {"kind": kind, "what": getattr(trigger, kind)}
    zone = zone_of(trigger.timezone)
    if not trigger.schedule or zone is None or isinstance(expression := parse_expression(trigger.schedule), Rate):
        return found  # The beat of a rate begins when it is first seen.
    next_s = next_after(Schedule(expression, zone), SystemClock().epoch_s())
    shown = None if next_s is None else datetime.fromtimestamp(next_s, zone).isoformat(timespec="minutes")
    return {**found, "timezone": trigger.timezone, "next": shown}


def _trigger_line(trigger: dict[str, Any]) -> str:
    line = f"    on {trigger['kind']} {trigger['what']}"
    if "next" not in trigger:
        return line
    when = f"next {trigger['next']}" if trigger["next"] else "no moment is left"
    return f"{line} in {trigger['timezone']}: {when}"


def servers_line(servers: dict[str, Any], *, has_web: bool) -> str:
    """How many there may be, and why never none where there is a web app."""
    if not has_web:
        return "  servers: none, for there is no web app"
    line = f"  servers: {max(1, servers['count_min'])} to {servers['count_max']}; workers of each: {servers['workers']}"
    return line + ("" if servers["count_min"] else " (count_min = 0: here one stays, for it holds the gate)")


def _what_runs(spec: FunctionSpec) -> str:
    return shlex.join(spec.command or (BOOTSTRAP,)) if spec.is_provided else spec.target


def _text(found: dict[str, Any], *, imported: bool) -> str:
    servers = found["servers"]
    stage = f", stage {found['stage']}" if found["stage"] else ""
    ran = "the app imports and starts" if found["has_web"] else "the handlers import"
    lines = [
        f"{found['app']}{stage}: the settings are right" + (f"; {ran}" if imported else ""),
        servers_line(servers, has_web=found["has_web"]),
    ]
    for function in found["functions"]:
        lines.append(
            f"  function {function['name']}: {function['target']}, {function['memory_mb']} MB, "
            f"{function['timeout_s']:g} s, at most {function['concurrency_max']} instances"
        )
        lines += [_trigger_line(trigger) for trigger in function["on"]]
    for job in found["jobs"]:
        lines.append(f"  job {job['name']}: {job['target']}, no time limit, at most {job['concurrency_max']} at once")
        lines += [_trigger_line(trigger) for trigger in job["on"]]
    if found["secrets"]:
        lines.append(f"  secrets, all there: {', '.join(found['secrets'])}")
    if not found["routes"]:
        return "\n".join(lines)
    rows = [["route", "placement", "because"]]
    rows += [[route["route"], route["placement"], route["reason"]] for route in found["routes"]]
    lines += ["", present.table(rows)]
    return "\n".join(lines)
