"""The control process: answers on the ops port and leases the day's spend. `python -m peaker.control.main --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from peaker.clock import Clock, SystemClock
from peaker.control.lease import TICK_S, Spend, billed_by_host_microusd, spent_by_gates_microusd
from peaker.control.metering import Metering
from peaker.control.metrics import families
from peaker.control.observe import Tables
from peaker.control.ops import Ops
from peaker.control.steered import loop_of
from peaker.control_socket import ControlServer, Status, WithSocket
from peaker.engines.local.cost import Metered, read_meter, usage_report
from peaker.engines.local.listener import open_listener
from peaker.engines.local.report import report
from peaker.errors import PeakerError
from peaker.gate.slots import HEARTBEAT_MS_MAX, WorkerStatus, open_slot_table
from peaker.meter.bill import bill
from peaker.meter.exposition import render
from peaker.meter.function_usage import open_function_table
from peaker.meter.price import prices_of
from peaker.meter.route_usage import open_route_table, read_routes
from peaker.meter.usage import open_usage_table
from peaker.meter.work import open_work_table
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory
from peaker.unix_socket import is_listened_on

CONNECTIONS_MAX = 256
STUCK_MS = HEARTBEAT_MS_MAX * 20
"""A worker whose loop has not turned for five seconds is no reason to send more requests to this machine."""

_logger = logging.getLogger("peaker.control")


class _OpsServer(uvicorn.Server):
    """uvicorn without its signal handlers, which raise the signal again after the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to this module."""
        yield


class Control:
    """One control process from start to drain."""

    def __init__(
        self, state: StateDirectory, generation: int, settings: Settings, listener: socket.socket, clock: Clock
    ) -> None:
        self._settings = settings
        self._state = state
        self._listener = listener
        self._clock = clock
        self._generation = generation
        self._draining = asyncio.Event()
        self._control = ControlServer(
            state.control_socket("control"),
            process="control",
            generation=generation,
            commands={"drain": self._drain_command, "listener": self._listener_command},
            orphan_s_max=self._settings.servers.orphan_s_max,
            on_orphaned=self._orphaned,
        )

    async def run(self) -> None:
        """Serve until told to drain.

        Raises:
            PeakerError: the tables or the day's spend cannot be read; those connected have been told.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._draining.set)
        try:
            self._slots = open_slot_table(self._state.slots)
            self._usage = open_usage_table(self._state.usage)
            self._functions = open_function_table(self._state.function_usage)
            prices = prices_of(self._settings)
            self._metering = Metering(
                self._state,
                slots=self._slots,
                usage=self._usage,
                functions=self._functions,
                work=open_work_table(self._state.work),
                settings=self._settings,
                clock=self._clock,
            )
            limit_usd = self._settings.objective.spend_usd_per_day_max
            self._spend = Spend(
                self._state,
                run=self._usage.made_ns,
                slots=self._slots,
                spent_microusd=lambda: (
                    billed_by_host_microusd(self._functions, prices)
                    + (spent_by_gates_microusd(self._usage) if self._settings.functions.arn else 0)
                ),
                limit_microusd=None if limit_usd is None else int(limit_usd * 1_000_000),
                clock=self._clock,
            )
            self._loop = loop_of(
                self._state,
                self._settings,
                Tables(slots=self._slots, usage=self._usage, functions=self._functions, prices=prices),
                functions_may_run=lambda: self._spend.is_within,
                clock=self._clock,
            )
            await self._serve()
        except PeakerError as error:
            await self._control.tell_failure(str(error))
            raise

    async def _serve(self) -> None:
        server = _OpsServer(
            uvicorn.Config(
                Ops(self._is_ready, report=self._report, usage=self._usage_report, metrics=self._metrics),
                lifespan="off",
                log_config=None,
                access_log=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_graceful_shutdown=1,
                server_header=False,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        self._tick()
        self._control.set_status(Status.READY)
        steering = self._steer()
        while not self._draining.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._draining.wait()
            self._tick()
        if steering is not None:
            await asyncio.wait({steering})
        self._end_metering()
        self._control.set_status(Status.DRAINING)
        server.should_exit = True
        await serving
        self._control.close()

    def _steer(self) -> asyncio.Task[None] | None:
        if self._loop is None:
            return None
        steering = asyncio.create_task(self._loop.run(self._draining))
        steering.add_done_callback(_say_failure)
        return steering

    def _tick(self) -> None:
        try:
            self._spend.tick()
        except OSError as error:
            # Gates use up what they have and stop: without a record on disk nothing more may be leased.
            _logger.error("the day's spend cannot be kept: %s", error, extra={"action": "lease"})  # noqa: TRY400

        try:
            self._metering.tick()
        except (OSError, PeakerError) as error:
            # Nothing is lost: what was not kept now is kept by a later tick, or by the next control process.
            _logger.error("the meter cannot keep what it reads: %s", error, extra={"action": "meter"})  # noqa: TRY400

    def _end_metering(self) -> None:
        try:
            self._metering.close()
        except (OSError, PeakerError) as error:
            _logger.error("the meter cannot keep its last reading: %s", error, extra={"action": "meter"})  # noqa: TRY400

    def _is_ready(self) -> bool:
        if not self._settings.app.web:
            return is_listened_on(self._state.invoke_socket)
        now_ms = int(self._clock.now_s() * 1000)
        return is_any_worker_ready(self._slots, now_ms)

    async def _report(self) -> dict[str, Any]:
        return await report(self._state, self._clock)

    def _read_meter(self) -> Metered:
        return read_meter(self._state, self._settings, self._clock, is_running=True)

    async def _usage_report(self) -> dict[str, Any]:
        return usage_report(self._read_meter())

    async def _metrics(self, openmetrics: bool) -> str:  # noqa: FBT001 - the one thing it depends on
        status, metered = await self._report(), self._read_meter()
        paths = [route.path for route in self._settings.route]
        table = open_route_table(self._state.route_usage)
        try:
            routes = read_routes(table, paths) if paths else {}
        finally:
            table.close()
        made = bill(metered.used, metered.prices)
        return render(families(metered, routes, status, made), openmetrics=openmetrics)

    async def _drain_command(self, _: dict[str, Any]) -> dict[str, Any]:
        self._draining.set()
        return {}

    async def _listener_command(self, _: dict[str, Any]) -> WithSocket:
        return WithSocket(self._listener)

    def _orphaned(self) -> None:
        _logger.warning("no supervisor came; draining", extra={"action": "orphan"})
        self._draining.set()


def _say_failure(steering: asyncio.Task[None]) -> None:
    """A mistake in the loop must not end the process that leases the spend: the servers stay as many as they are."""
    if not steering.cancelled() and (error := steering.exception()) is not None:
        _logger.error("the number of servers is not decided any more", exc_info=error, extra={"action": "decide"})


def is_any_worker_ready(slots: SharedTable, now_ms: int) -> bool:
    """A worker takes requests: READY, and its loop turns. A saturated one is ready, a draining one is not."""
    return any(
        slots.get(row, "status") == WorkerStatus.READY and now_ms - slots.get(row, "heartbeat_ms") <= STUCK_MS
        for row in range(slots.rows)
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits 0 after a drain, else with the error's code."""
    parser = argparse.ArgumentParser(prog="python -m peaker.control.main", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="state directory")
    parser.add_argument("--generation", type=int, required=True, help="which generation-G.json to read")
    parser.add_argument("--ops-fd", type=int, help="listening socket; absent: opened as app.ops_listen says")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="peaker control: %(message)s", level=logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    state = StateDirectory(given.state.absolute())
    try:
        asyncio.run(_run(state, given.generation, given.ops_fd))
    except PeakerError as error:
        _logger.error("%s", error)  # noqa: TRY400 - the sentence is for a person
        raise SystemExit(error.exit_code) from None


async def _run(state: StateDirectory, generation: int, ops_fd: int | None) -> None:
    settings = Settings.from_json(state.settings_of(generation).read_text(encoding="utf-8"))
    if ops_fd is None:
        listener = open_listener(settings.app.ops_listen, "app.ops_listen")
    else:
        listener = socket.socket(fileno=ops_fd)
    await Control(state, generation, settings, listener, SystemClock()).run()


if __name__ == "__main__":
    main()
