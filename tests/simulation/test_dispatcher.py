"""Events on a virtual clock: the dispatcher over a queue in memory, with functions that do what a test says."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from peaker.errors import QueueBroken
from peaker.events.dispatcher import Dispatcher
from peaker.events.invoking import Call, Ran
from peaker.events.lanes import FunctionLanes, lanes_of
from peaker.events.memory_queue import MemoryQueue
from peaker.events.queue import Bounds, Line, Outcome, Record, State
from peaker.events.runs import Runs
from peaker.events.tally import Tally
from peaker.messages import Event
from peaker.policy.retry import Ending
from peaker.settings import FunctionSection, FunctionsSection, Settings
from peaker.testing.virtual_loop import VirtualLoop, run_virtual
from peaker.triggers import TriggerSection

MINUTE_S = 60.0
HOUR_S = 3600.0

Does = Callable[[Call], Awaitable[Ran]]


class Functions:
    """Runs whatever `does` says, and notes when."""

    def __init__(self, clock: VirtualLoop, does: Does | None) -> None:
        self._clock = clock
        self._does = does
        self.calls: list[tuple[Call, float]] = []
        self.running = 0
        self.most = 0
        self.is_up = True

    async def run(self, call: Call) -> Ran:
        if not self.is_up:
            return Ran(ending=Ending.NOT_STARTED, error="nobody listens", host_is_away=True)
        self.calls.append((call, self._clock.now_s()))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._does(call) if self._does is not None else FINE
        finally:
            self.running -= 1

    def is_there(self) -> bool:
        return self.is_up


FINE = Ran(ending=Ending.SUCCEEDED, answer=b"null")
FAILED = Ran(
    ending=Ending.FAILED,
    error="ValueError: no such object",
    answer=b'{"errorMessage":"no"}',
    function_error="Unhandled",
)
THROTTLED = Ran(ending=Ending.NOT_STARTED, error="TooManyRequestsException: rate exceeded", was_throttled=True)


class Breaking(MemoryQueue):
    """A queue that breaks when it is told to."""

    is_broken = False

    async def lines(self, *, due_max: int = 1) -> Sequence[Line]:
        if self.is_broken:
            raise QueueBroken
        return await super().lines(due_max=due_max)


async def fails(_: Call) -> Ran:
    return FAILED


async def takes_a_second(_: Call) -> Ran:
    await asyncio.sleep(1)
    return FINE


class World:
    """A queue and its dispatcher; functions a and b, of which a is told about."""

    def __init__(
        self,
        does: Does | None = None,
        *,
        queue: MemoryQueue | None = None,
        lease_s: float = 15.0,
        lanes: dict[str, FunctionLanes] | None = None,
        **function: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.clock = loop
        self.functions = Functions(loop, does)
        self.queue = queue or MemoryQueue(clock=loop, bounds=Bounds())
        self.tally = Tally()
        settings = Settings(
            functions=FunctionsSection(concurrency_max=function.pop("concurrency_max", 10)),
            function=(
                FunctionSection(name="a", handler="m:a", **function),
                FunctionSection(name="b", handler="m:b"),
            ),
        )
        runs = Runs(
            self.queue,
            self.functions,
            clock=loop,
            chance=random.Random(1),
            arn_of=lambda name, qualifier: f"arn:{name}:{qualifier or '$LATEST'}",
            tally=self.tally,
        )
        self.dispatcher = Dispatcher(
            self.queue, runs, self.functions, lanes=lanes or lanes_of(settings), lease_s=lease_s, clock=loop
        )
        self.failed = self.dispatcher.start()

    async def put(self, *ids: str, **fields: Any) -> None:
        await self.queue.put([Event(**{"id": known, "function": "a", "payload": b"{}", **fields}) for known in ids])

    async def record(self, known: str) -> Record:
        found = await self.queue.get(known)
        assert found is not None
        return found

    async def end(self) -> None:
        await self.dispatcher.drain(0.0)
        await self.failed

    @property
    def ids(self) -> list[str]:
        return [call.request_id for call, _ in self.functions.calls]

    @property
    def moments(self) -> list[float]:
        return [at_s for _, at_s in self.functions.calls]

    def waits_s(self) -> list[float]:
        return [round(later - earlier, 2) for earlier, later in itertools.pairwise(self.moments)]


def in_world(test: Callable[..., Awaitable[None]], *arguments: Any, **fields: Any) -> None:
    async def main() -> None:
        world = World(*arguments, **fields)
        await test(world)
        await world.end()

    run_virtual(main)


def test_an_event_is_run_under_its_own_id_and_is_finished() -> None:
    async def test(world: World) -> None:
        await world.put("e1", payload=b'{"key":"a.jpg"}', headers=(("x-amzn-trace-id", "Root=1"),))
        await asyncio.sleep(1)
        ((call, _),) = world.functions.calls
        assert (call.request_id, call.payload, tuple(call.headers)) == (
            "e1", b'{"key":"a.jpg"}', (("x-amzn-trace-id", "Root=1"),),
        )  # fmt: skip
        assert (await world.record("e1")).entry.state is State.FINISHED
        assert (world.tally.started, world.tally.finished, world.dispatcher.running) == (1, 1, 0)

    in_world(test)


def test_a_failed_event_is_run_again_after_one_and_after_two_minutes_and_is_then_a_dead_letter() -> None:
    async def test(world: World) -> None:
        await world.put("e1")
        await asyncio.sleep(HOUR_S)
        assert world.ids == ["e1"] * 3
        assert world.waits_s() == [60.0, 120.0]
        record = await world.record("e1")
        assert (record.entry.state, record.entry.reason) == (State.DEAD, "RetriesExhausted")
        assert [(one.outcome, one.error) for one in record.attempts] == [
            (Outcome.FAILED, "ValueError: no such object")
        ] * 3

    in_world(test, fails)


def test_retries_max_of_a_function_is_kept() -> None:
    async def test(world: World) -> None:
        await world.put("e1")
        await world.put("e2", function="b")
        await asyncio.sleep(HOUR_S)
        assert sorted(world.ids) == ["e1", "e2", "e2", "e2"]

    in_world(test, fails, retries_max=0)


def test_a_throttled_event_is_tried_with_growing_waits_up_to_its_age_and_never_counts_as_failed() -> None:
    async def throttled(_: Call) -> Ran:
        return THROTTLED

    async def test(world: World) -> None:
        await world.put("e1")
        await asyncio.sleep(HOUR_S)
        waits_s = world.waits_s()
        for tries, wait_s in enumerate(waits_s):
            longest_s = min(300.0, 2.0**tries)
            assert longest_s / 2 <= wait_s <= longest_s + 0.1
        assert len(set(waits_s)) > 5  # Spread: many that are throttled together do not come back together.
        record = await world.record("e1")
        assert (record.entry.state, record.entry.reason) == (State.DEAD, "EventAgeExceeded")
        assert record.entry.attempts == len(world.ids)
        assert sum(waits_s) <= 600

    in_world(test, throttled, event_age_s_max=600.0)


def test_no_more_run_at_once_than_the_function_may_and_in_the_order_they_came() -> None:
    async def test(world: World) -> None:
        names = [f"e{number}" for number in range(30)]
        await world.put(*names)
        await asyncio.sleep(MINUTE_S)
        assert world.functions.most == 3
        assert world.ids == names
        assert world.moments[-1] - world.moments[0] == 9

    in_world(test, takes_a_second, concurrency_max=3)


def test_a_slow_run_and_a_full_function_hold_up_nobody_else() -> None:
    async def slow_for_one(call: Call) -> Ran:
        await asyncio.sleep(1000 if call.request_id == "slow" else 1 if call.function == "a" else 0)
        return FINE

    async def test(world: World) -> None:
        await world.put("slow", *(f"e{number}" for number in range(20)))
        await world.put("other", function="b")
        await asyncio.sleep(30)
        assert len(world.ids) == 22
        other_s = world.moments[world.ids.index("other")]
        assert other_s - world.moments[0] <= 0.1

    in_world(test, slow_for_one, concurrency_max=2)


def test_an_event_too_old_when_its_turn_comes_is_a_dead_letter_that_was_never_run() -> None:
    async def slow(_: Call) -> Ran:
        await asyncio.sleep(40)
        return FINE

    async def test(world: World) -> None:
        await world.put("e0", "e1", "e2")
        await asyncio.sleep(HOUR_S)
        assert world.ids == ["e0", "e1"]
        assert (await world.record("e2")).entry.reason == "EventAgeExceeded"

    in_world(test, slow, concurrency_max=1, event_age_s_max=60.0)


def test_an_event_that_too_many_runs_have_led_to_is_a_dead_letter() -> None:
    async def test(world: World) -> None:
        await world.put("fine", hops=15)
        await world.put("too-many", hops=16)
        await asyncio.sleep(1)
        assert world.ids == ["fine"]
        record = await world.record("too-many")
        assert (record.entry.state, record.entry.reason) == (State.DEAD, "RecursiveInvocation")
        assert "events.hops_max" in record.entry.error

    in_world(test)


def test_an_event_of_a_function_that_is_gone_is_a_dead_letter_and_says_so() -> None:
    async def test(world: World) -> None:
        await world.put("e1", function="gone")
        await asyncio.sleep(1)
        record = await world.record("e1")
        assert (record.entry.reason, record.entry.error) == (
            "InvocationRefused",
            "there is no function 'gone' in the settings.",
        )

    in_world(test)


def test_while_there_is_no_function_host_nothing_is_tried_or_counted() -> None:
    async def test(world: World) -> None:
        world.functions.is_up = False
        await world.put("e1", "e2")
        await asyncio.sleep(MINUTE_S)
        assert world.ids == []
        world.functions.is_up = True
        await asyncio.sleep(1)
        assert sorted(world.ids) == ["e1", "e2"]
        assert (await world.record("e1")).entry.attempts == 1

    in_world(test)


def test_a_run_whose_answer_was_lost_is_made_again_after_a_second() -> None:
    answers = iter([Ran(ending=Ending.NOT_STARTED, error="nobody knows whether it ran"), FINE])

    async def lost_once(_: Call) -> Ran:
        return next(answers)

    async def test(world: World) -> None:
        await world.put("e1")
        await asyncio.sleep(5)
        assert world.ids == ["e1", "e1"]
        assert 0.5 <= world.waits_s()[0] <= 1.1

    in_world(test, lost_once)


def test_throttling_lets_fewer_run_at_once_until_runs_succeed_again() -> None:
    async def test(world: World) -> None:
        names = [f"e{number}" for number in range(200)]
        await world.put(*names)
        await asyncio.sleep(3)
        assert world.tally.not_started < 40
        await asyncio.sleep(10 * MINUTE_S)
        assert world.tally.finished == 200

    async def room_for_four(_: Call) -> Ran:
        if running[0] >= 4:
            return THROTTLED
        running[0] += 1
        await asyncio.sleep(1)
        running[0] -= 1
        return FINE

    running = [0]
    in_world(test, room_for_four, concurrency_max=20)


def test_a_long_run_keeps_its_lease_by_its_heartbeat() -> None:
    async def slow(_: Call) -> Ran:
        await asyncio.sleep(500)
        return FINE

    async def test(world: World) -> None:
        await world.put("e1")
        await asyncio.sleep(1000)
        assert world.ids == ["e1"]
        assert world.tally.late == 0

    in_world(test, slow, lease_s=3.0)


def test_a_machine_that_slept_longer_than_a_lease_does_not_run_the_event_a_second_time_beside_the_first() -> None:
    async def slow(_: Call) -> Ran:
        await asyncio.sleep(10)
        return FINE

    async def test(world: World) -> None:
        await world.put("e1")
        await asyncio.sleep(1)
        world.clock.set_calendar(3600)  # The lid was closed for an hour.
        await world.put("e2")  # Something wakes the dispatcher before the next heartbeat.
        await asyncio.sleep(60)
        assert world.ids == ["e1", "e2"]
        assert (world.tally.finished, world.tally.late) == (2, 0)

    in_world(test, slow, lease_s=30.0)


def test_a_drain_lets_runs_end_and_starts_no_other() -> None:
    async def main() -> None:
        world = World(takes_a_second, concurrency_max=1)
        await world.put("e1", "e2")
        await asyncio.sleep(0.5)
        assert await world.dispatcher.drain(10.0)
        assert world.ids == ["e1"]
        assert (await world.record("e1")).entry.state is State.FINISHED
        assert (await world.record("e2")).entry.state is State.WAITING

    run_virtual(main)


def test_a_run_cut_off_by_a_drain_is_not_run_again_before_its_time_is_over() -> None:
    async def slow(_: Call) -> Ran:
        await asyncio.sleep(1000)
        return FINE

    async def main() -> None:
        before = World(slow, timeout_s=100.0)
        await before.put("e1")
        await asyncio.sleep(1)
        assert not await before.dispatcher.drain(2.0)
        after = World(queue=before.queue)
        await asyncio.sleep(90)
        assert after.ids == []
        await asyncio.sleep(HOUR_S)
        assert after.ids == ["e1"]
        await after.end()

    run_virtual(main)


def test_what_a_killed_dispatcher_had_leased_is_run_by_the_next_when_the_lease_is_over() -> None:
    async def main() -> None:
        queue = MemoryQueue(clock=asyncio.get_running_loop())  # type: ignore[arg-type]
        await queue.put([Event(id="e1", function="a", payload=b"{}")])
        assert len(await queue.lease("a", at_most=1, lease_s=15.0)) == 1
        begun_s = asyncio.get_running_loop().time()
        world = World(queue=queue)
        await asyncio.sleep(MINUTE_S)
        assert world.ids == ["e1"]
        assert 15.0 <= world.moments[0] - begun_s <= 15.2
        assert [one.outcome for one in (await world.record("e1")).attempts] == [Outcome.LOST, Outcome.SUCCEEDED]
        await world.end()

    run_virtual(main)


# Destinations.


def test_destinations_get_lambdas_record_as_an_event_of_theirs() -> None:
    async def a_fails_odd(call: Call) -> Ran:
        return FAILED if call.request_id == "bad" else Ran(ending=Ending.SUCCEEDED, answer=b'{"size":3}')

    async def test(world: World) -> None:
        await world.put("good", "bad", payload=b'{"n":1}', hops=2)
        await asyncio.sleep(HOUR_S)
        records = {
            (record := json.loads(call.payload))["requestContext"]["requestId"]: record
            for call, _ in world.functions.calls
            if call.function == "b"
        }
        assert records["good"] == {
            "version": "1.0",
            "timestamp": records["good"]["timestamp"],
            "requestContext": {
                "requestId": "good", "functionArn": "arn:a:$LATEST", "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": {"n": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": {"size": 3},
        }  # fmt: skip
        assert records["bad"]["requestContext"]["condition"] == "RetriesExhausted"
        assert records["bad"]["requestContext"]["approximateInvokeCount"] == 3
        assert records["bad"]["responseContext"]["functionError"] == "Unhandled"
        assert records["bad"]["responsePayload"] == {"errorMessage": "no"}
        page = await world.queue.listing(function="b")
        assert {(entry.source, entry.hops) for entry in page.entries} == {("destination/a", 3)}

    in_world(test, a_fails_odd, on_success="function:b", on_failure="function:b")


def test_a_record_of_an_event_that_was_never_run_has_no_response() -> None:
    async def test(world: World) -> None:
        await world.put("looped", hops=16)
        await asyncio.sleep(1)
        ((call, _),) = world.functions.calls
        told = json.loads(call.payload)
        assert call.function == "b"
        # What b puts has more hops again: the chain does not go on from there.
        assert (await world.record(call.request_id)).event.hops == 15
        assert told["requestContext"]["condition"] == "RecursiveInvocation"
        assert told["requestContext"]["approximateInvokeCount"] == 0
        assert "responseContext" not in told

    in_world(test, on_failure="function:b")


def test_a_record_for_a_queue_waits_for_it_and_is_tried_again_until_it_is_sent() -> None:
    async def queue_is_away_twice(call: Call) -> Ran:
        if call.function == "queue:told" and sum(one.function == "queue:told" for one, _ in world_calls) < 3:
            return Ran(ending=Ending.NOT_STARTED, error="nobody answers")
        return FINE

    world_calls: list[tuple[Call, float]] = []

    async def test(world: World) -> None:
        world.functions.calls = world_calls
        await world.put("e1")
        await asyncio.sleep(MINUTE_S)
        assert [call.function for call, _ in world.functions.calls] == ["a", "queue:told", "queue:told", "queue:told"]
        assert json.loads(world.functions.calls[-1][0].payload)["requestContext"]["requestId"] == "e1"
        page = await world.queue.listing(function="queue:told")
        assert [entry.state for entry in page.entries] == [State.FINISHED]

    in_world(test, queue_is_away_twice, on_success="queue:told")


def test_a_record_too_large_for_an_event_is_counted_and_the_event_ends_all_the_same() -> None:
    async def much(_: Call) -> Ran:
        return Ran(ending=Ending.SUCCEEDED, answer=b'"' + b"x" * 1_100_000 + b'"')

    async def test(world: World) -> None:
        await world.put("e1")
        await asyncio.sleep(1)
        assert (world.tally.finished, world.tally.delivered, world.tally.undelivered) == (1, 0, 1)

    in_world(test, much, on_success="function:b")


# Batches.


def batches(**settings: Any) -> dict[str, Any]:
    return {"on": (TriggerSection(queue="orders", **settings),)}


async def put_messages(world: World, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        message = {"messageId": f"m{number}", "body": str(number), "attributes": {"ApproximateReceiveCount": "1"}}
        await world.put(f"e{number}", source="queue/orders", payload=json.dumps(message).encode())


def bodies(call: Call) -> list[str]:
    return [record["body"] for record in json.loads(call.payload)["Records"]]


def test_fifteen_batches_of_one_queue_run_in_parallel_up_to_the_maximum_and_a_slow_one_blocks_none() -> None:
    async def one_is_slow(call: Call) -> Ran:
        await asyncio.sleep(HOUR_S / 2 if "3" in bodies(call) else 1)
        return FINE

    async def test(world: World) -> None:
        await put_messages(world, 15)
        await asyncio.sleep(0.5)
        assert world.functions.running == 5
        await asyncio.sleep(10)
        assert len(world.ids) == 15
        assert world.functions.most == 5
        assert world.functions.running == 1

    in_world(test, one_is_slow, **batches(batch_size=1, maximum_concurrency=5))


def test_a_batch_is_run_when_it_is_full_or_when_its_window_is_over() -> None:
    async def test(world: World) -> None:
        await put_messages(world, 3)
        await asyncio.sleep(5)
        assert world.ids == []
        await put_messages(world, 9, first=3)
        await asyncio.sleep(1)
        assert [len(bodies(call)) for call, _ in world.functions.calls] == [10]
        await asyncio.sleep(30)
        assert [len(bodies(call)) for call, _ in world.functions.calls] == [10, 2]
        assert 19 <= world.moments[1] - world.moments[0] <= 21

    in_world(test, **batches(batch_size=10, window_s=20.0))


def test_only_the_records_that_an_answer_names_are_run_again() -> None:
    async def third_fails(call: Call) -> Ran:
        failed = [{"itemIdentifier": f"m{body}"} for body in bodies(call) if body == "2"]
        return Ran(ending=Ending.SUCCEEDED, answer=json.dumps({"batchItemFailures": failed}).encode())

    async def test(world: World) -> None:
        await put_messages(world, 4)
        await asyncio.sleep(HOUR_S)
        assert [bodies(call) for call, _ in world.functions.calls] == [["0", "1", "2", "3"], ["2"], ["2"]]
        received = json.loads(world.functions.calls[2][0].payload)["Records"][0]["attributes"]
        assert received == {"ApproximateReceiveCount": "3"}
        assert {known: (await world.record(known)).entry.state for known in ("e0", "e2")} == {
            "e0": State.FINISHED,
            "e2": State.DEAD,
        }

    in_world(test, third_fails, **batches(batch_size=4))


def test_an_answer_that_names_no_record_of_the_batch_fails_all_of_it() -> None:
    async def wrong(_: Call) -> Ran:
        return Ran(ending=Ending.SUCCEEDED, answer=b'{"batchItemFailures":[{"itemIdentifier":"unknown"}]}')

    async def test(world: World) -> None:
        await put_messages(world, 2)
        await asyncio.sleep(HOUR_S)
        assert [len(bodies(call)) for call, _ in world.functions.calls] == [2, 2, 2]
        assert world.tally.dead == 2

    in_world(test, wrong, **batches(batch_size=2))


def test_a_queue_that_is_broken_ends_the_dispatcher_so_that_its_process_begins_anew() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        queue = Breaking(clock=loop, bounds=Bounds())
        world = World(queue=queue)
        await asyncio.sleep(1)
        assert not world.failed.done()
        queue.is_broken = True
        queue.woken.set()
        with pytest.raises(QueueBroken):
            await asyncio.wait_for(world.failed, 60)

    run_virtual(main)
