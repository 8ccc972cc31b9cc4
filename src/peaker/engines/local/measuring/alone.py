"""An app started beside whatever else runs: by the supervisor of `peaker run`, with a state directory of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from peaker.clock import Clock
from peaker.engines.local.listener import split_address
from peaker.engines.local.state_dir import LockedState
from peaker.engines.local.supervisor import Supervisor
from peaker.errors import AppStartError, PeakerError, SettingsError
from peaker.gate.slots import open_slot_table
from peaker.http1 import Address
from peaker.policy.supervision import Kind
from peaker.settings import Settings, replaced
from peaker.state import StateDirectory

ORPHAN_S_MAX = 5.0
"""Should this process be killed, what it started ends by itself after this time."""

DRAIN_S_MAX = 5.0
_FREE_PORT = "127.0.0.1:0"
_LOOK_S = 0.02


class WorkerEnded(PeakerError):  # noqa: N818 - named for what happened
    """The worker ended while it was measured."""


@dataclass(frozen=True, slots=True)
class AppAlone:
    """One worker, and where functions were asked for the function host."""

    settings: Settings
    state: StateDirectory
    supervisor: Supervisor
    worker_pid: int

    @property
    def settings_file(self) -> Path:
        """Where its settings stand as JSON."""
        return self.state.settings_of(self.supervisor.launch.generation)

    @property
    def address(self) -> Address:
        """Where the worker serves."""
        host, port = split_address(self.supervisor.urls[0].removeprefix("http://"))
        return Address(host=host, port=port)

    def require_worker(self) -> None:
        """Stop where the worker is not the one it was: the supervisor starts another, but figures would be mixed.

        Raises:
            WorkerEnded: it is gone.
        """
        if _worker_pids(self.supervisor) != [self.worker_pid]:
            raise WorkerEnded(
                "the worker ended while it was measured.",
                where=f"pid {self.worker_pid}",
                remedy="Its last words stand above; `peaker run` shows them too.",
            )

    async def until_idle(self, timeout_s: float) -> bool:
        """Wait until the worker has nothing in flight and nothing waiting; False if it has not by then."""
        rows = [member.row for member in self.supervisor.members if member.row is not None]
        table = open_slot_table(self.state.slots)
        try:
            async with asyncio.timeout(timeout_s):
                # The table is shared memory: nothing tells of a change in it.
                while any(table.get(row, "in_flight") or table.get(row, "waiting") for row in rows):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return False
        finally:
            table.close()
        return True


def _worker_pids(supervisor: Supervisor) -> list[int]:
    return [member.child.pid for member in supervisor.members if member.role.kind is Kind.WORKER]


def settings_alone(settings: Settings, *, functions: bool) -> Settings:
    """The settings of a run that meets no other: free ports, one worker, no logs of the app's own, nothing spills.

    With `functions` the host runs the web app too, whatever `app.spill` says, but only those who ask it get there.

    Raises:
        SettingsError: there is no web app.
    """
    if not settings.app.web:
        raise SettingsError("app.web is not set: there is no web app to measure.", where=settings.directory)
    changes = {
        "app.listen": _FREE_PORT,
        "app.ops_listen": _FREE_PORT,
        "functions.invoke_listen": _FREE_PORT,
        "app.access_log": "",
        "app.spill": functions,
        "app.placement_header": False,
        "servers.count_min": 1,
        "servers.count_max": 1,
        "servers.workers": 1,
        "servers.orphan_s_max": ORPHAN_S_MAX,
        "servers.drain_s_max": DRAIN_S_MAX,
        "functions.like": "local",
        "functions.log_format": "text",
        "functions.buffer": 0,
    }
    for name, value in changes.items():
        settings = replaced(settings, name, value)
    routes = tuple(dataclasses.replace(route, placement="servers", stream=False) for route in settings.route)
    return dataclasses.replace(settings, route=routes, function=())


@contextlib.asynccontextmanager
async def running_alone(settings: Settings, clock: Clock) -> AsyncIterator[AppAlone]:
    """Start it, wait until all is ready, and in the end stop it and leave nothing behind.

    Raises:
        AppStartError: it did not start; in the words of the process that failed.
    """
    root = Path(tempfile.mkdtemp(prefix="peaker-measure-"))
    state = StateDirectory(root)
    try:
        locked = LockedState(root)
        try:
            supervisor = await Supervisor.open(locked, settings, clock)
            running = asyncio.create_task(supervisor.run())
            try:
                await _until_settled(supervisor, running, settings.servers.start_s_max)
                pids = _worker_pids(supervisor)
                if len(pids) != 1:
                    raise WorkerEnded("the worker ended as soon as it had started; its last words stand above.")
                yield AppAlone(settings, state, supervisor, pids[0])
            finally:
                await _stop(supervisor, running)
        finally:
            locked.close()
    finally:
        for folder in (state.sockets, root):
            shutil.rmtree(folder, ignore_errors=True)


async def _until_settled(supervisor: Supervisor, running: asyncio.Task[None], start_s_max: float) -> None:
    settling = asyncio.create_task(supervisor.settled())
    try:
        await asyncio.wait([settling, running], timeout=2 * start_s_max, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        if not settling.done():
            raise AppStartError(f"it was not ready within {2 * start_s_max:g} s.")
        settling.result()
    finally:
        settling.cancel()
        await asyncio.wait([settling])


async def _stop(supervisor: Supervisor, running: asyncio.Task[None]) -> None:
    """Drain; when cancelled meanwhile (a second Ctrl-C), kill. An error of the run is told where it was awaited."""
    if not running.done():
        supervisor.stop()
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        if not running.done():
            supervisor.stop()
            await asyncio.wait([running])
        raise
    finally:
        if running.done() and not running.cancelled():
            running.exception()  # Looked at, so that it is not reported a second time.
