"""Asynchronous invocations on a virtual clock: the host's own service, pools and events, with simulated instances."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from peaker.app import FunctionSpec
from peaker.functions.memory_events import MemoryEvents
from peaker.functions.pool import Pool
from peaker.functions.prepared import Preparation
from peaker.functions.published import Published
from peaker.functions.service import InvokeService
from peaker.functions.starts import Starts
from peaker.http1_server import HttpAnswer
from peaker.meter.function_usage import Caller
from peaker.testing.simulated_functions import ReportsOnly
from peaker.testing.simulated_instances import Exits, SimulatedLauncher
from peaker.testing.virtual_loop import VirtualLoop, run_virtual
from peaker.wire.invoke_api import InvocationType, InvokeCall

MINUTE_S = 60.0
HOUR_S = 3600.0


class Lines(ReportsOnly):
    """A function log that keeps its lines, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def write(self, _: str, request_id: str, line: str) -> None:
        self.lines.append((request_id, line))

    def about(self, request_id: str) -> list[str]:
        return [line for found, line in self.lines if found == request_id and line.startswith("event")]


class World:
    """One host with one function, whose handler notes when each event ran."""

    def __init__(
        self, handler: Callable[[Any, str], Awaitable[Any]] | None = None, *, concurrency_max: int = 2, **events: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.clock = loop
        self.runs: list[tuple[str, float]] = []
        self.then = handler
        spec = FunctionSpec(
            name="thumbnail",
            target="media:thumbnail",
            web=False,
            memory_mb=512,
            timeout_s=3.0,
            concurrency_max=concurrency_max,
            keep_alive_s=600.0,
            buffer=0,
        )
        self.log = Lines()
        starts = Starts(in_flight_max=4)
        self.pool = Pool(spec, SimulatedLauncher(self._handle, clock=loop), starts=starts, clock=loop)
        self.service = InvokeService({spec.name: self.pool}, log=self.log, clock=loop)
        self.events = MemoryEvents(self.service.invocations.run, log=self.log, clock=loop, **events)
        self.service.events = self.events

    async def _handle(self, event: Any, request_id: str) -> Any:
        self.runs.append((request_id, self.clock.now_s()))
        return await self.then(event, request_id) if self.then is not None else None

    async def send(
        self, request_id: str, event: Any = None, *, kind: InvocationType = InvocationType.EVENT
    ) -> HttpAnswer:
        call = InvokeCall(function="thumbnail", kind=kind, request_id=request_id)
        return await self.service.answer(call, json.dumps(event).encode())

    def waits_between_runs(self) -> list[int]:
        times = [at_s for _, at_s in self.runs]
        return [round(later - earlier) for earlier, later in itertools.pairwise(times)]


async def fails(_: Any, __: str) -> None:
    raise ValueError("no such object")


def test_an_event_is_acknowledged_at_once_and_run_afterwards() -> None:
    async def main() -> None:
        world = World()
        answer = await world.send("e1", {"key": "a.jpg"})
        assert (answer.status, answer.body, dict(answer.headers)) == (202, b"", {"x-amzn-requestid": "e1"})
        assert world.runs == []
        await asyncio.sleep(1)
        assert [request_id for request_id, _ in world.runs] == ["e1"]
        assert world.events.counts == {
            "waiting": 0, "running": 0, "retrying": 0, "succeeded": 1, "given_up": 0, "lost": 0,
        }  # fmt: skip

    run_virtual(main)


def test_a_failed_event_is_run_again_after_one_and_after_two_minutes_with_the_same_request_id() -> None:
    async def main() -> None:
        world = World(fails)
        await world.send("e1")
        await asyncio.sleep(HOUR_S)
        assert [request_id for request_id, _ in world.runs] == ["e1"] * 3
        assert world.waits_between_runs() == [60, 120]
        assert world.log.about("e1")[0].startswith("event discarded: RetriesExhausted after 3 attempts; ")
        assert "no such object" in world.log.about("e1")[0]
        assert world.events.counts["given_up"] == 1

    run_virtual(main)


@pytest.mark.parametrize("how", ["crash", "timeout"])
def test_a_crash_and_a_timeout_are_failures_as_well(how: str) -> None:
    async def misbehaves(_: Any, __: str) -> None:
        if how == "crash":
            raise Exits
        await asyncio.sleep(60)

    async def main() -> None:
        world = World(misbehaves)
        await world.send("e1")
        await asyncio.sleep(HOUR_S)
        assert len(world.runs) == 3

    run_virtual(main)


def test_an_event_that_succeeds_at_its_second_run_is_not_run_a_third_time() -> None:
    async def main() -> None:
        async def fails_once(_: Any, __: str) -> Any:
            if len(world.runs) == 1:
                raise ValueError("not yet")

        world = World(fails_once)
        await world.send("e1")
        await asyncio.sleep(HOUR_S)
        assert len(world.runs) == 2
        assert world.events.counts["succeeded"] == 1

    run_virtual(main)


def test_a_throttled_event_is_tried_after_one_two_four_seconds_and_is_not_failed_by_that() -> None:
    async def main() -> None:
        async def slow(event: Any, _: str) -> None:
            await asyncio.sleep(2.5 if event == "slow" else 0)

        world = World(slow, concurrency_max=1)
        busy = asyncio.ensure_future(world.send("sync", "slow", kind=InvocationType.REQUEST_RESPONSE))
        await asyncio.sleep(0.1)
        await world.send("e1")
        await asyncio.sleep(0.1)
        assert world.events.counts["retrying"] == 1
        await asyncio.sleep(10)
        assert (await busy).status == 200
        # Throttled at 0.1 and 1.1; the next try, two seconds later, finds the instance free.
        assert [(request_id, round(at_s, 1)) for request_id, at_s in world.runs][1:] == [("e1", 3.1)]

    run_virtual(main)


def test_events_run_in_order_and_no_more_at_once_than_the_function_may() -> None:
    async def main() -> None:
        running: list[str] = []
        most = 0

        async def counts(_: Any, request_id: str) -> None:
            nonlocal most
            running.append(request_id)
            most = max(most, len(running))
            await asyncio.sleep(1)
            running.remove(request_id)

        world = World(counts, concurrency_max=3)
        for number in range(30):
            assert (await world.send(f"e{number}")).status == 202
        await asyncio.sleep(MINUTE_S)
        assert most == 3
        assert [request_id for request_id, _ in world.runs] == [f"e{number}" for number in range(30)]

    run_virtual(main)


def test_an_event_older_than_the_limit_is_given_up_and_said_to_be() -> None:
    async def main() -> None:
        async def slow(_: Any, __: str) -> None:
            await asyncio.sleep(2)

        world = World(slow, concurrency_max=1, age_s_max=5.0)
        for number in range(4):
            await world.send(f"e{number}")
        await asyncio.sleep(MINUTE_S)
        assert [request_id for request_id, _ in world.runs] == ["e0", "e1", "e2"]
        assert world.log.about("e3") == ["event discarded: EventAgeExceeded after 0 attempts; it never ran"]

    run_virtual(main)


def test_a_full_queue_refuses_with_lambdas_throttle_and_takes_again_when_there_is_room() -> None:
    async def main() -> None:
        async def slow(_: Any, __: str) -> None:
            await asyncio.sleep(1)

        world = World(slow, events_max=2)
        assert [(await world.send(f"e{number}")).status for number in range(3)] == [202, 202, 429]
        refused = await world.send("e4")
        assert json.loads(refused.body)["Reason"] == "FunctionInvocationRateLimitExceeded"
        assert dict(refused.headers)["retry-after"] == "5"
        await asyncio.sleep(2)
        assert (await world.send("e5")).status == 202

    run_virtual(main)


def test_the_bytes_that_wait_are_bounded_too() -> None:
    async def main() -> None:
        world = World(fails, bytes_max=1000)
        assert (await world.send("e1", "x" * 900)).status == 202
        assert (await world.send("e2", "x" * 900)).status == 429
        await asyncio.sleep(HOUR_S)  # e1 has been given up, and its bytes with it.
        assert (await world.send("e3", "x" * 900)).status == 202

    run_virtual(main)


def test_a_payload_over_one_megabyte_is_refused_in_lambdas_words() -> None:
    async def main() -> None:
        answer = await World().send("e1", "x" * (1024 * 1024 - 1))
        assert (answer.status, dict(answer.headers)["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")
        assert json.loads(answer.body)["message"] == (
            "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
        )

    run_virtual(main)


def test_a_stopping_host_runs_what_waits_and_says_what_is_lost() -> None:
    async def main() -> None:
        async def mixed(event: Any, _: str) -> None:
            await asyncio.sleep(1)
            if event == "bad":
                raise ValueError("no")

        world = World(mixed, concurrency_max=1)
        await world.send("retried", "bad")
        await asyncio.sleep(2)
        await world.send("late-failure", "bad")
        for name in ("in-time", "too-late-1", "too-late-2"):
            await world.send(name, "good")
        lost = await world.events.drain(2.5)
        assert lost == 4
        assert [request_id for request_id, _ in world.runs] == ["retried", "late-failure", "in-time", "too-late-1"]
        assert world.log.about("retried") == [
            "event lost: the function host stopped while it was retrying, after 1 attempt"
        ]
        assert world.log.about("late-failure")[0].endswith("while it was running, after 1 attempt")
        assert world.log.about("in-time") == []
        assert world.log.about("too-late-1")[0].endswith("while it was running, after 1 attempt")
        assert world.log.about("too-late-2")[0].endswith("while it was waiting, after 0 attempts")
        assert (await world.send("after")).status == 429
        await asyncio.sleep(HOUR_S)
        assert len(world.runs) == 4

    run_virtual(main)


def test_what_the_host_itself_does_wrong_is_tried_again_like_a_system_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        attempts = 0

        async def breaks(event: Any) -> Any:
            nonlocal attempts
            attempts += 1
            if attempts < 3:
                raise RuntimeError("a mistake")
            return await world.service.invocations.run(event)

        world.service.events = MemoryEvents(breaks, log=world.log, clock=world.clock)
        await world.send("e1")
        await asyncio.sleep(MINUTE_S)
        assert [(request_id, round(at_s)) for request_id, at_s in world.runs] == [("e1", 3)]

    run_virtual(main)
    assert "could not be run" in caplog.text


def test_a_client_context_and_a_log_tail_are_for_synchronous_calls_only() -> None:
    async def main() -> None:
        world = World()
        preparation = Preparation({"thumbnail": world.pool}, Published(), clock=world.clock, chance=random.Random(1))
        for kind, has_them in ((InvocationType.REQUEST_RESPONSE, True), (InvocationType.EVENT, False)):
            call = InvokeCall(function="thumbnail", kind=kind, client_context="eyJhIjogMX0=", log_tail=True)
            prepared = preparation.prepare(call, b"{}", "r1", Caller.DIRECT)
            assert ("x-amz-client-context" in prepared.headers, prepared.log_tail) == (has_them, has_them)

    run_virtual(main)
