"""`peaker run`: the supervisor."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from peaker.app import find_settings, worker_count
from peaker.cli import present
from peaker.cli.check import check_settings
from peaker.cli.options import settings_options, state_of, state_option
from peaker.cli.profile import export_lines
from peaker.policy.placement import explain
from peaker.settings import Settings, replaced
from peaker.state import StateDirectory

if TYPE_CHECKING:
    from peaker.engines.local.supervisor import Supervisor


@click.command("run")
@settings_options
@state_option
@click.option("--listen", metavar="ADDRESS", help="Serve here instead of app.listen, e.g. 0.0.0.0:8000 or [::1]:0.")
def command(*, config: str | None, stage: str, state: Path | None, listen: str | None) -> None:
    """Run the app: servers take the baseline, functions the peaks.

    Runs until SIGTERM or Ctrl-C, then lets running requests finish for at most servers.drain_s_max seconds; a second
    Ctrl-C ends everything at once. If this command is killed, the app serves on for servers.orphan_s_max seconds, and
    `peaker run` takes it over where it stands.

    \b
    Examples:
      peaker run
      peaker run --config examples/streaming/peaker.toml --listen 127.0.0.1:0
      peaker run --stage prod --state /var/lib/shop
    """  # noqa: D301
    settings = find_settings(config, stage)
    if listen is not None:
        settings = replaced(settings, "app.listen", listen, where="--listen")
    check_settings(settings)
    present.log_to_stderr()
    asyncio.run(_run(settings, state_of(settings, state).root))


async def _run(settings: Settings, root: Path) -> None:
    from peaker.clock import SystemClock
    from peaker.engines.local.state_dir import LockedState
    from peaker.engines.local.supervisor import Supervisor

    locked = LockedState(root)
    try:
        supervisor = await Supervisor.open(locked, settings, SystemClock())
        loop = asyncio.get_running_loop()
        # A closed terminal (SIGHUP) stops the app as Ctrl-C does; only a killed supervisor leaves it running.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, supervisor.stop)
        announcing = asyncio.create_task(_announce(supervisor, settings, root))
        try:
            await supervisor.run()
        finally:
            announcing.cancel()
            await asyncio.wait([announcing])
        present.say("peaker: stopped")
    finally:
        locked.close()


async def _announce(supervisor: Supervisor, settings: Settings, root: Path) -> None:
    app_url, ops_url, lambda_endpoint = supervisor.urls
    verb = "takes over" if supervisor.took_over else "starts"
    present.say(f"peaker: {verb} {settings.app.name}, generation {supervisor.launch.generation}; state in {root}")
    await supervisor.settled()
    if not supervisor.is_settled:
        return
    workers = worker_count(settings)
    servers = len(await supervisor.servers())
    present.say(f"peaker: servers: {servers} of at most {settings.servers.count_max}; workers of each: {workers}")
    for line in [*placement_lines(settings), *functions_lines(supervisor)]:
        present.say(f"peaker: {line}")
    present.say(f"peaker: ops on {ops_url}" + (f", Lambda endpoint {lambda_endpoint}" if lambda_endpoint else ""))
    if lambda_endpoint:
        present.say("peaker: for `aws --profile peaker lambda ...` and boto3:")
        for line in export_lines(StateDirectory(root)):
            present.say(f"  {line}")
    present.say(f"peaker: serving {app_url}")


def placement_lines(settings: Settings) -> list[str]:
    """How many routes may run where; `peaker check` shows each with its reason."""
    placements = Counter(line.placement for line in explain(settings))
    counted = ", ".join(f"{count} {placement}" for placement, count in sorted(placements.items()))
    return [f"placements: {counted} (`peaker check` says why)"]


def functions_lines(supervisor: Supervisor) -> list[str]:
    """What the function host told: how instances of each function are started, and why not better."""
    host = next((member for member in supervisor.members if member.name == "host"), None)
    if host is None:
        return ["functions: none, for app.spill is off"]
    lines = []
    for function in host.details.get("functions", []):
        reason = f" ({function['rung_reason']})" if function["rung_reason"] else ""
        lines.append(f"function {function['name']}: instances start {function['rung']}{reason}")
        lines += [f"warning: {warning}" for warning in function["warnings"]]
    return lines
