"""`peaker stop`: drain and end the app."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option
from peaker.state import StateDirectory


@click.command("stop")
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@json_option
def command(*, config: str | None, state: Path | None, as_json: bool) -> None:
    """Drain and stop the app, as SIGTERM to `peaker run` does; also one whose supervisor is gone.

    Returns when every process has ended, at most some seconds after servers.drain_s_max.

    \b
    Examples:
      peaker stop
      peaker stop --state /var/lib/shop
    """  # noqa: D301
    stopped = asyncio.run(_stop(state_here(config, state)))
    if as_json:
        present.data({"stopped": stopped})
    else:
        present.out(f"stopped {stopped} processes" if stopped else "nothing is running")


async def _stop(state: StateDirectory) -> int:
    from peaker.clock import SystemClock
    from peaker.engines.local.child import Child
    from peaker.engines.local.report import RunningApp
    from peaker.engines.local.state_dir import LockedState
    from peaker.engines.local.stop import stop_orphans

    app = RunningApp.open(state)
    record, is_supervised = app.record, app.is_supervised
    app.close()
    if not is_supervised:
        locked = LockedState(state.root)
        try:
            return await stop_orphans(locked, SystemClock())
        finally:
            locked.close()
    from peaker.cli.asking import supervisor

    ended = asyncio.Event()
    Child.adopt(record.supervisor_pid, record.supervisor_ticks).watch(ended.set)
    async with supervisor(state.supervisor_socket) as client:
        await client.command("drain")
    await ended.wait()
    return len(record.processes) + 1
