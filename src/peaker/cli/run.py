"""`peaker run`: the supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peaker.app import environment, find_settings, may_leave_servers, worker_count
from peaker.cli import present
from peaker.cli.check import check_settings
from peaker.cli.development import Watch, for_development, names, reload_on_save, watched_files
from peaker.cli.importing import import_all
from peaker.cli.options import settings_options, state_of, state_option
from peaker.cli.profile import export_lines
from peaker.errors import AppImportError, AppStartError, PeakerError, SettingsError
from peaker.events.sources.listening import waits_for_aws
from peaker.extras import require_extra
from peaker.local_aws_section import LOCAL
from peaker.policy.placement import explain
from peaker.policy.supervision import Kind
from peaker.settings import Settings, replaced
from peaker.state import StateDirectory

if TYPE_CHECKING:
    from peaker.engines.local.hand_over import Predecessor
    from peaker.engines.local.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Chosen:
    """The options of one `peaker run`; a reload reads the settings again with the same."""

    config: str | None
    stage: str
    state: Path | None
    listen: str | None
    dev: bool
    spill: bool
    aws: str | None

    def settings(self) -> Settings:
        """Read and checked; raises SettingsError."""
        settings = find_settings(self.config, self.stage)
        if self.listen is not None:
            settings = replaced(settings, "app.listen", self.listen, where="--listen")
        if self.aws is not None:
            settings = replaced(settings, "aws.endpoint", self.aws, where="--aws")
        if settings.aws.endpoint == LOCAL:
            require_extra("local-aws", purpose="A stand-in for AWS")
        if self.dev:
            settings = for_development(settings, spill=self.spill and settings.app.spill)
        settings = self.changed(settings)
        check_settings(settings)
        return settings

    def changed(self, settings: Settings) -> Settings:
        """As the kind of command wants them."""
        return settings

    def watch(self, settings: Settings) -> Watch:
        """The files of code and settings."""
        return Watch(lambda: watched_files(Path(settings.directory), self.config, settings.app.env_file))

    async def new_settings(self) -> Settings:
        """For a reload: also imports everything once, so that what is wrong is said once."""
        settings = self.settings()
        await asyncio.to_thread(_import_once, settings)
        return settings


def _import_once(settings: Settings) -> None:
    """Code that calls AWS while it is imported needs its stand-in for that, so there the workers tell what is wrong."""
    if settings.aws.endpoint != LOCAL:
        import_all(settings)


@click.command("run")
@settings_options
@state_option
@click.option("--listen", metavar="ADDRESS", help="Serve here instead of app.listen, e.g. 0.0.0.0:8000 or [::1]:0.")
@click.option("--take-over", is_flag=True, help="Replace a running supervisor; the app does not notice.")
@click.option("--dev", is_flag=True, help="For development: one worker, reload on save, breakpoints, access log.")
@click.option(
    "--aws", metavar="local|URL", help="What app and functions take for AWS: Peaker's stand-in, or one at this address."
)
@click.option("--spill", is_flag=True, help="With --dev: let requests leave the worker, as app.spill says.")
def command(*, take_over: bool, **options: Any) -> None:
    """Run the app: servers take the baseline, functions the peaks.

    Runs until SIGTERM or Ctrl-C, then lets running requests finish for at most servers.drain_s_max seconds; a second
    Ctrl-C ends everything at once. SIGHUP reloads code and settings, as `peaker reload` does. If this command is
    killed, the app serves on for servers.orphan_s_max seconds, and `peaker run` takes it over where it stands; with
    --take-over it also replaces one that lives, for instance by a newer Peaker.

    With --aws local boto3 and every other client of AWS in the app is led to a stand-in for S3, SQS, SNS, DynamoDB and
    EventBridge on this machine (moto's server), and what [[function.on]] names is made there and read from. Nothing in
    it is durable: it is empty at every start. No key of yours is given to it, and no call goes to AWS.

    With --dev there is one worker, which has the terminal: breakpoint() works, and nothing that stands in a debugger
    is timed out. Saving a file of code or settings reloads; code that does not import leaves what ran before serving.

    \b
    Examples:
      peaker run
      peaker run --config examples/streaming/peaker.toml --listen 127.0.0.1:0
      peaker run --stage prod --state /var/lib/shop
      peaker run --dev
      peaker run --dev --aws local
      peaker run --aws http://localhost:4566
      pip install -U peaker && peaker run --take-over
    """  # noqa: D301
    chosen = Chosen(**options)
    if chosen.spill and not chosen.dev:
        raise click.UsageError("--spill goes with --dev; else app.spill = true says so.")
    if chosen.dev and take_over:
        raise click.UsageError("--dev does not take over.")
    settings = chosen.settings()
    present.log_to_stderr()
    root = state_of(settings, chosen.state).root
    if chosen.dev:
        asyncio.run(_develop(chosen, settings, root))
    else:
        asyncio.run(run_until_stopped(chosen, settings, root, take_over=take_over))


async def run_until_stopped(chosen: Chosen, settings: Settings, root: Path, *, take_over: bool = False) -> None:
    """Start or take over what the settings describe, and supervise it until it is stopped or replaced."""
    from peaker.clock import SystemClock
    from peaker.engines.local.hand_over import ask_to_hand_over
    from peaker.engines.local.state_dir import LockedState
    from peaker.engines.local.supervisor import Supervisor
    from peaker.engines.local.takeover import is_anything_running

    predecessor = await ask_to_hand_over(StateDirectory(root), settings) if take_over else None
    locked = LockedState(root)
    try:
        if not chosen.dev and not is_anything_running(locked.state):
            await asyncio.to_thread(_import_once, settings)
        if settings.aws.endpoint.startswith("http"):
            await _make_declared(settings, locked.state)
        supervisor = await Supervisor.open(
            locked,
            settings,
            SystemClock(),
            new_settings=chosen.new_settings,
            listeners=predecessor.listeners if predecessor is not None else {},
            is_development=chosen.dev,
        )
        await _supervise(supervisor, chosen, root, predecessor)
    finally:
        locked.close()


async def _make_declared(settings: Settings, state: StateDirectory) -> None:
    """In somebody else's stand-in; Peaker's own makes it before it answers anybody."""
    from peaker.aws_calls.client import AwsClient
    from peaker.aws_calls.declared import make_declared
    from peaker.clock import SystemClock
    from peaker.functions.credentials import load_or_create_key
    from peaker.stand_in_variables import region_of_stand_in

    region = region_of_stand_in(settings, environment(settings))
    key = load_or_create_key(state.credentials)
    client = AwsClient(settings.aws.endpoint, region=region, key=key, clock=SystemClock())
    try:
        await make_declared(client, settings)
    finally:
        client.close()


async def _supervise(supervisor: Supervisor, chosen: Chosen, root: Path, predecessor: Predecessor | None) -> None:
    """Until it has stopped, or was replaced."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    beside = {loop.create_task(_announce(supervisor, root))}
    if predecessor is not None:
        beside.add(loop.create_task(_dismiss(predecessor, supervisor)))
    if chosen.dev:
        watch = chosen.watch(supervisor.launch.settings)
        beside.add(loop.create_task(reload_on_save(watch, supervisor.reload)))
    had_terminal = _has_terminal()

    def hung_up() -> None:
        # A closed terminal stops the app, as Ctrl-C does; a signal that somebody has sent reloads it.
        if had_terminal and not _has_terminal():
            present.lose_terminal()
            supervisor.stop()
        else:
            beside.add(loop.create_task(_reload(supervisor)))

    loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        await supervisor.run()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
    if supervisor.was_replaced:
        present.say(f"peaker: pid {supervisor.successor_pid} has taken over")
    else:
        present.say("peaker: stopped")


async def _develop(chosen: Chosen, settings: Settings, root: Path) -> None:
    """As `run_until_stopped`, but an app that does not start is said and started again when something is saved."""
    while True:
        watch = chosen.watch(settings)
        try:
            await asyncio.to_thread(_import_once, settings)
            return await run_until_stopped(chosen, settings, root)
        except (AppImportError, AppStartError) as error:
            present.error(error)
        settings = await _settings_when_saved(chosen, watch)


async def _settings_when_saved(chosen: Chosen, watch: Watch) -> Settings:
    while True:
        present.say("peaker: waiting for a change")
        present.say(f"peaker: {names(await watch.changed())} changed")
        try:
            return chosen.settings()
        except SettingsError as error:
            present.error(error)


async def _dismiss(predecessor: Predecessor, supervisor: Supervisor) -> None:
    await supervisor.has_looked()
    await predecessor.dismiss()


async def _reload(supervisor: Supervisor) -> None:
    try:
        await supervisor.reload()
    except PeakerError as error:
        present.error(error)


def _has_terminal() -> bool:
    try:
        os.tcgetpgrp(0)
    except OSError:
        return False
    return True


async def _announce(supervisor: Supervisor, root: Path) -> None:
    settings = supervisor.launch.settings
    app_url, ops_url, lambda_endpoint = supervisor.urls
    verb = "takes over" if supervisor.took_over else "starts"
    present.say(f"peaker: {verb} {settings.app.name}, generation {supervisor.launch.generation}; state in {root}")
    await supervisor.settled()
    if not supervisor.is_settled:
        return
    servers = await supervisor.servers()
    for line in [*servers_lines(settings, len(servers)), *functions_lines(supervisor)]:
        present.say(f"peaker: {line}")
    present.say(f"peaker: ops on {ops_url}" + (f", Lambda endpoint {lambda_endpoint}" if lambda_endpoint else ""))
    if lambda_endpoint:
        present.say("peaker: for `aws --profile peaker lambda ...` and boto3:")
        for line in export_lines(StateDirectory(root)):
            present.say(f"  {line}")
    for line in aws_lines(settings, supervisor.launch.aws_endpoint):
        present.say(f"peaker: {line}")
    present.say(f"peaker: serving {app_url or lambda_endpoint}")


def servers_lines(settings: Settings, servers: int) -> list[str]:
    """How many there are, and where routes may run."""
    if not settings.app.web:
        return ["servers: none, for there is no web app"]
    low = "" if settings.servers.count_min else "; count_min = 0, but one stays, for it holds the gate"
    line = f"servers: {servers} of at most {settings.servers.count_max}{low}; workers of each: {worker_count(settings)}"
    return [line, *placement_lines(settings)]


def aws_lines(settings: Settings, endpoint: str) -> list[str]:
    """What stands in for AWS, and how a shell gets there; what waits for one, where there is none."""
    if not endpoint:
        waiting = waits_for_aws(settings)
        told = ", ".join(waiting[:3]) + (f" and {len(waiting) - 3} more" if len(waiting) > 3 else "")
        return [f"warning: {told} start nothing without a stand-in for AWS: peaker run --aws local"] if waiting else []
    lines = [f'AWS is {endpoint} for app and functions; in a shell: eval "$(peaker profile --aws)"']
    if settings.aws.endpoint == LOCAL:
        lines.append("warning: what is in this stand-in is kept in memory alone; it is empty at every start")
    return lines


def placement_lines(settings: Settings) -> list[str]:
    """How many routes may run where; `peaker check` shows each with its reason."""
    placements = Counter(line.placement for line in explain(settings))
    counted = ", ".join(f"{count} {placement}" for placement, count in sorted(placements.items()))
    return [f"placements: {counted} (`peaker check` says why)"]


def functions_lines(supervisor: Supervisor) -> list[str]:
    """What the function host told: how instances of each function are started, and why not better."""
    host = next((member for member in supervisor.members if member.role.kind is Kind.HOST), None)
    arn = supervisor.launch.settings.functions.arn
    if host is None and arn and may_leave_servers(supervisor.launch.settings):
        return [f"functions: requests spill to {arn}"]
    if host is None:
        return ["functions: none: app.spill is off, or --dev without --spill leaves it off"]
    lines = []
    for function in host.details.get("functions", []):
        reason = f" ({function['rung_reason']})" if function["rung_reason"] else ""
        lines.append(f"function {function['name']}: instances start {function['rung']}{reason}")
        lines += [f"warning: {warning}" for warning in function["warnings"]]
    return lines
