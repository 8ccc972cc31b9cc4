"""A worker: one process that serves the app. `python -m peaker.servers.worker --help` has its arguments.

Exit codes: 0 drained, 1 cut short by a second signal, 2 wrong state or settings, 3 the app did not import or start.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from peaker.app import environment, load_web, pool_variables
from peaker.asgi import ASGIApp
from peaker.build import build_hash
from peaker.clock import SystemClock
from peaker.control_socket import Answer, CommandRefused, ControlServer, Status, WithSocket
from peaker.errors import AppImportError, AppStartError, PeakerError, StateError
from peaker.event_socket import EventClient
from peaker.gate.route_report import route_lines
from peaker.gate.slots import WorkerStatus, open_slot_table
from peaker.process_start import allow_descriptors, log_to_stderr, loop_factory
from peaker.secret_values import given_secrets, without_secrets
from peaker.servers.serving import Serving
from peaker.servers.webhooks import WAIT_S, Webhooks, hooks_of
from peaker.settings import Settings
from peaker.stand_in_variables import above
from peaker.state import StateDirectory

EXIT_CUT_SHORT = 1
EXIT_APP_FAILED = 3

FAILURE_HEARD_S_MAX = 2.0
"""How long a worker that failed at its start stays to tell whoever is about to connect."""

_OVERRUN_S = 5.0
"""Beyond drain_s_max the steps of a drain need this much at the most, unless the app blocks the loop."""

_OTHER_DESCRIPTORS = 1024
"""Descriptors beside client connections: those of the app, of siblings and of calls to functions."""

_THREADS_S_MAX = 1.0
"""How long threads of the app may go on after everything else has ended."""

_logger = logging.getLogger("peaker.worker")


class Worker:
    """One worker from import to exit."""

    def __init__(
        self, settings: Settings, state: StateDirectory, listener: socket.socket, *, row: int, generation: int
    ) -> None:
        self._settings = settings
        self._state = state
        self._listener = listener
        self._row = row
        self._generation = generation
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self._failure_heard = asyncio.Event()
        self._serving: Serving | None = None
        self._events: EventClient | None = None
        self._secrets: dict[str, str] = {}
        self._control = ControlServer(
            state.control_socket(f"worker-{row}"),
            process=f"worker-{row}",
            generation=generation,
            commands={
                "drain": self._drain_command,
                "listener": self._listener_command,
                "routes": self._routes_command,
            },
            orphan_s_max=settings.servers.orphan_s_max,
            on_orphaned=self._orphaned,
            details=self._details,
        )

    async def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            starting = loop.create_task(self._start())
            await _first(starting, loop.create_task(self._stop.wait()))
            if not starting.done():
                starting.cancel()
                return 0
            starting.result()
        except PeakerError as error:
            await self._tell_failure(error)
            return EXIT_APP_FAILED if isinstance(error, (AppImportError, AppStartError)) else error.exit_code
        else:
            self._control.set_status(Status.READY)
            await self._stop.wait()
            return await self._drain()
        finally:
            self._control.close()
            if self._events is not None:
                self._events.close()

    async def _start(self) -> None:
        self._secrets = given_secrets(self._settings, os.environ)
        declared = above(self._settings, environment(self._settings) | self._secrets, os.environ)
        os.environ.update(declared | pool_variables(self._settings, in_instance=False))
        slots = open_slot_table(self._state.slots)
        if not 0 <= self._row < slots.rows:
            raise StateError(f"--row = {self._row} is not in the slot table; allowed: 0 to {slots.rows - 1}.")
        slots.set(self._row, "generation", self._generation)
        slots.set(self._row, "pid", os.getpid())
        slots.set(self._row, "status", WorkerStatus.STARTING)
        slots.close()
        # Before the import: code that changes meanwhile has another hash than the function, and does not spill to it.
        build = build_hash(self._settings)
        self._serving = Serving(
            self._with_webhooks(load_web(self._settings)),
            self._settings,
            self._state,
            self._listener,
            row=self._row,
            generation=self._generation,
            build=build,
            clock=SystemClock(),
            chance=random.Random(),  # noqa: S311 - it spreads load
        )
        await self._serving.start()
        # What is here now stays: looking through it again at every full collection would only cost latency.
        gc.collect()
        gc.freeze()

    def _with_webhooks(self, application: ASGIApp) -> ASGIApp:
        hooks = hooks_of(self._settings, self._secrets)
        if not hooks:
            return application
        self._events = EventClient(self._state.intake_socket, wait_s=WAIT_S)
        chance = random.Random()  # noqa: S311 - it names events
        return Webhooks(application, hooks, self._events.put, clock=SystemClock(), chance=chance)

    async def _drain(self) -> int:
        assert self._serving is not None
        loop = asyncio.get_running_loop()
        self._control.set_status(Status.DRAINING)
        self._serving.stop_accepting()
        self._listener.close()
        _end_process_after(self._settings.servers.drain_s_max + _OVERRUN_S, "the app blocks the event loop")
        draining = loop.create_task(self._serving.drain())
        await _first(draining, loop.create_task(self._force.wait()))
        if draining.done():
            draining.result()
        else:
            draining.cancel()
            await self._serving.cut_short()
        _end_process_after(_THREADS_S_MAX, "threads of the app have not ended")
        return EXIT_CUT_SHORT if self._force.is_set() else 0

    async def _tell_failure(self, error: PeakerError) -> None:
        """Say it on stderr and to every control connection, and wait a moment for one that is just being made."""
        said = without_secrets(str(error), self._secrets)
        _logger.error("%s", said, extra={"action": "start"})
        self._failure_heard.clear()
        self._control.set_status(Status.FAILED, said)
        if self._control.connections:
            return
        try:
            async with asyncio.timeout(FAILURE_HEARD_S_MAX):
                await self._failure_heard.wait()
        except TimeoutError:
            return  # Nobody has connected: stderr has it.

    def _details(self) -> dict[str, Any]:
        if self._control_is_failed():
            self._failure_heard.set()
        serving = self._serving
        if serving is None:
            return {"row": self._row}
        return {
            "row": self._row,
            "in_flight": serving.gate.in_flight,
            "connections": len(serving.connections.connections),
        }

    def _control_is_failed(self) -> bool:
        # Asked for the first time while the control socket is being made.
        control: ControlServer | None = getattr(self, "_control", None)
        return control is not None and control.status is Status.FAILED and control.connections > 0

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._force.set()
        self._stop.set()

    def _orphaned(self) -> None:
        _logger.warning(
            "no supervisor for %g s: draining", self._settings.servers.orphan_s_max, extra={"action": "orphan"}
        )
        self._stop.set()

    async def _drain_command(self, _: dict[str, Any]) -> Answer:
        self._stop.set()
        return {}

    async def _routes_command(self, _: dict[str, Any]) -> Answer:
        if self._serving is None:
            return {"routes": []}
        after_seen = self._settings.functions.spill_after_seen
        can_spill = self._serving.functions is not None
        return {"routes": route_lines(self._serving.gate.routes, after_seen, can_spill=can_spill)}

    async def _listener_command(self, _: dict[str, Any]) -> Answer:
        if self._listener.fileno() < 0:
            raise CommandRefused("this worker drains and has closed its listening socket.")
        return WithSocket(self._listener)


async def _first(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


def _end_process_after(seconds: float, reason: str) -> None:
    """The last resort, from a thread of its own: code of the app may keep the loop, or the interpreter's exit."""

    def end() -> None:
        sys.stderr.write(f"peaker worker: ended by force, since {reason}.\n")
        sys.stderr.flush()
        os._exit(EXIT_CUT_SHORT)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m peaker.servers.worker", description="One worker of a running app.")
    parser.add_argument("--state", required=True, type=Path, help="the state directory")
    parser.add_argument("--generation", required=True, type=int, help="generation of code and settings to run")
    parser.add_argument("--row", required=True, type=int, help="this worker's row of the shared tables")
    parser.add_argument("--listen-fd", required=True, type=int, help="descriptor of the listening socket")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run one worker to its end."""
    arguments = _arguments(argv)
    log_to_stderr(f"worker {arguments.row}", also_warnings_of=("uvicorn",))
    state = StateDirectory(arguments.state)
    path = state.settings_of(arguments.generation)
    try:
        settings = Settings.from_json(path.read_text(encoding="utf-8"))
        listener = socket.socket(fileno=arguments.listen_fd)
    except (OSError, PeakerError) as error:
        _logger.error("it cannot start: %s", error, extra={"action": "start"})  # noqa: TRY400 - no bug of ours
        return 2
    listener.setblocking(False)
    listener.set_inheritable(False)
    allowed = allow_descriptors(settings.servers.connections_max + _OTHER_DESCRIPTORS)
    if allowed < settings.servers.connections_max + _OTHER_DESCRIPTORS:
        _logger.warning(
            "the limit of open files (%d) allows fewer connections than servers.connections_max = %d",
            allowed,
            settings.servers.connections_max,
            extra={"action": "start"},
        )

    async def run() -> int:
        worker = Worker(settings, state, listener, row=arguments.row, generation=arguments.generation)
        return await worker.run()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
