"""The events process: keeps events until a function has finished with them. `python -m peaker.events.main --help`.

It alone has the file of the queue. Others send it events over `intake.sock`; sources put theirs within this process;
the dispatcher runs them through the function host. Exit codes: 0 drained, 1 cut short at `drain_s_max` or by a second
signal (nothing is lost: what was running is run again), 2 wrong state or settings.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peaker.app import environment, functions
from peaker.clock import Clock, SystemClock
from peaker.control_socket import ControlServer, Status
from peaker.errors import PeakerError
from peaker.events.destinations import Delivering
from peaker.events.dispatcher import Dispatcher
from peaker.events.intake import Intake
from peaker.events.invoking import HostInvoke
from peaker.events.job_questions import JobQuestions
from peaker.events.job_runs import JobRuns
from peaker.events.lanes import lanes_of
from peaker.events.putting import Putting
from peaker.events.questions import Questions, counts_document
from peaker.events.queue import Bounds, Queue
from peaker.events.runs import Runs
from peaker.events.schedule import Schedules, scheduled_in
from peaker.events.schedule_memory import ScheduleMemory
from peaker.events.sources.listening import Listening, client_of
from peaker.events.sqlite_queue import SqliteQueue
from peaker.events.tally import Tally
from peaker.functions.context import function_arn
from peaker.functions.function_environment import region_of
from peaker.process_start import allow_descriptors, loop_factory
from peaker.settings import Settings
from peaker.state import StateDirectory
from peaker.units import MIB
from peaker.unix_socket import UnixListener
from peaker.wire.function_names import LATEST

EXIT_CUT_SHORT = 1
DESCRIPTORS_BESIDE = 1_024
"""Connections of the intake and of sources, the queue's files, and others."""

_logger = logging.getLogger("peaker.events")


class Events:
    """One events process from start to drain."""

    def __init__(self, state: StateDirectory, generation: int, settings: Settings, clock: Clock) -> None:
        self._state = state
        self._settings = settings
        self._clock = clock
        self._tally = Tally()
        self._queue: Queue | None = None
        self._dispatcher: Dispatcher | None = None
        self._listening: Listening | None = None
        self._schedules: Schedules | None = None
        self._jobs: JobRuns | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._generation = generation
        self._has_heir = False
        self._drain = asyncio.Event()
        self._force = asyncio.Event()
        self._control = ControlServer(
            state.control_socket("events"),
            process="events",
            generation=generation,
            commands={"drain": self._drain_command, "events": self._events_command},
            orphan_s_max=settings.servers.orphan_s_max,
            on_orphaned=self._orphaned,
        )

    async def run(self) -> int:
        """Serve until told to drain; returns the exit code.

        Raises:
            PeakerError: the file of the queue cannot be used; those connected have been told.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)
        try:
            self._queue = SqliteQueue(self._state.events, clock=self._clock, bounds=bounds_of(self._settings))
            return await self._serve(self._queue)
        except PeakerError as error:
            await self._control.tell_failure(str(error))
            raise
        finally:
            if self._queue is not None:
                await self._queue.close()
            self._control.close()

    async def _serve(self, queue: Queue) -> int:
        invoke = HostInvoke(self._state.invoke_socket)
        client = client_of(self._settings, os.environ, self._clock)
        delivering = Delivering(invoke, client)
        jobs = self._jobs = JobRuns(
            delivering,
            queue,
            settings=self._settings,
            state=self._state,
            generation=self._generation,
            clock=self._clock,
            environ=os.environ,
        )
        putting = Putting(queue, self._tally)
        region = region_of(environment(self._settings))
        runs = Runs(
            queue,
            jobs,
            clock=self._clock,
            chance=random.Random(),  # noqa: S311 - it spreads retries and names batches
            arn_of=lambda name, qualifier: f"{function_arn(name, region)}:{qualifier or LATEST}",
            tally=self._tally,
        )
        self._dispatcher = dispatcher = Dispatcher(
            queue,
            runs,
            jobs,
            lanes=lanes_of(self._settings),
            lease_s=self._settings.events.lease_s,
            clock=self._clock,
            on_ended=jobs.ended,
        )
        listening = self._listening = Listening(
            self._settings, self._state, put=putting.put, invoke=invoke, clock=self._clock, environ=os.environ
        )
        schedules = self._schedules = Schedules(
            scheduled_in(self._settings),
            putting.put,
            memory=ScheduleMemory(self._state.schedules),
            clock=self._clock,
            region=region,
        )
        listener = UnixListener(self._state.intake_socket)
        questions = {**Questions(queue, self._clock).by_name(), **JobQuestions(jobs).by_name()}
        intake = Intake(listener, putting, questions)
        try:
            jobs.start()
            failed = (dispatcher.start(), schedules.start())
            await intake.start()
            listening.start()
            self._control.set_status(Status.READY)
            await _first(self._drain, *failed)
            self._control.set_status(Status.DRAINING)
            await schedules.stop()
            _, is_whole = await asyncio.gather(
                listening.stop(self._settings.servers.drain_s_max), self._end(dispatcher, jobs)
            )
            # To the last, events are taken: they are safe, and whoever begins next runs them.
            await intake.close()
            await putting.settled()
        finally:
            jobs.close()
            listener.close()
            invoke.close()
            if client is not None:
                client.close()
        return 0 if is_whole else EXIT_CUT_SHORT

    async def _end(self, dispatcher: Dispatcher, jobs: JobRuns) -> bool:
        drain_s_max = self._settings.servers.drain_s_max
        draining = asyncio.ensure_future(dispatcher.drain(drain_s_max))
        await asyncio.sleep(0)  # From here on it leases nothing, so that a job which stops is not begun again.
        if self._has_heir:
            jobs.leave()
        else:
            self._stopping = asyncio.ensure_future(jobs.stop(drain_s_max))
        await _first(self._force, draining)
        if not draining.done():
            draining.cancel()
            return False
        return draining.result()

    async def _events_command(self, _: dict[str, Any]) -> dict[str, Any]:
        """What `peaker status` shows."""
        if self._queue is None:
            return {"counts": None}
        return {
            "counts": counts_document(await self._queue.counts(), self._clock.epoch_s()),
            "totals": asdict(self._tally),
            "sources": self._listening.describe() if self._listening is not None else [],
            "schedules": self._schedules.describe() if self._schedules is not None else [],
            "runs": self._dispatcher.running if self._dispatcher is not None else 0,
            "jobs": self._jobs.describe() if self._jobs is not None else [],
            "job_totals": dict(self._jobs.totals) if self._jobs is not None else {},
        }

    async def _drain_command(self, line: dict[str, Any]) -> dict[str, Any]:
        self._has_heir = bool(line.get("has_heir"))
        self._drain.set()
        return {}

    def _signalled(self) -> None:
        if self._drain.is_set():
            self._force.set()
        self._drain.set()

    def _orphaned(self) -> None:
        _logger.warning("no supervisor came; draining", extra={"action": "orphan"})
        self._drain.set()


def bounds_of(settings: Settings) -> Bounds:
    """What the settings let the queue hold."""
    events = settings.events
    return Bounds(events_max=events.waiting_max, bytes_max=events.waiting_mb_max * MIB, dead_max=events.dead_max)


async def _first(stop: asyncio.Event, *work: asyncio.Future[Any]) -> None:
    """Until `stop` is set or any `work` has ended; raises what that raised."""
    waiting = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([waiting, *work], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    for each in work:
        if each.done():
            each.result()


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m peaker.events.main", description="Keeps events until a function has finished with them."
    )
    parser.add_argument("--state", type=Path, required=True, help="state directory")
    parser.add_argument("--generation", type=int, required=True, help="which generation-G.json to read")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="peaker events: %(message)s", level=logging.INFO)
    state = StateDirectory(given.state.absolute())
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            code = runner.run(_run(state, given.generation))
    except PeakerError as error:
        _logger.error("%s", error)  # noqa: TRY400 - the sentence is for a person
        raise SystemExit(error.exit_code) from None
    raise SystemExit(code)


async def _run(state: StateDirectory, generation: int) -> int:
    settings = Settings.from_json(state.settings_of(generation).read_text(encoding="utf-8"))
    allow_descriptors(sum(spec.concurrency_max for spec in functions(settings)) + DESCRIPTORS_BESIDE)
    return await Events(state, generation, settings, SystemClock()).run()


if __name__ == "__main__":
    main()
