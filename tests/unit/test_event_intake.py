"""Sending events to the process that keeps them: over a real socket, to a queue in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from peaker.clock import SystemClock
from peaker.errors import MalformedEvent, QueueFull, QueueUnavailable
from peaker.event_socket import EventClient, event_head, event_of
from peaker.events.intake import Intake
from peaker.events.memory_queue import MemoryQueue
from peaker.events.putting import Putting
from peaker.events.questions import Questions
from peaker.events.queue import Bounds
from peaker.events.tally import Tally
from peaker.frames import FrameReader, pack
from peaker.functions.durable_events import DurableEvents
from peaker.functions.prepared import PreparedEvent
from peaker.messages import Event
from peaker.unix_socket import UnixListener
from peaker.wire.lambda_errors import InvokeApiError

EVENT = Event(
    id="e1", function="f", payload=b'{"n":1}', source="invoke", qualifier="3",
    headers=(("x-amzn-trace-id", "Root=1-2-3"),), dedup_key="k", group="g", hops=4,
)  # fmt: skip


class Place:
    """Where the process listens, and what it keeps."""

    def __init__(self, directory: Path, bounds: Bounds) -> None:
        self.path = directory / "intake.sock"
        self.tally = Tally()
        self.queue = MemoryQueue(clock=SystemClock(), bounds=bounds)
        self.puts: list[int] = []
        put = self.queue.put

        async def noted(events: list[Event]) -> object:
            self.puts.append(len(events))
            return await put(events)

        self.queue.put = noted  # type: ignore[method-assign, assignment]  # only counts

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Intake]:
        listener = UnixListener(self.path)
        putting = Putting(self.queue, self.tally)
        intake = Intake(listener, putting, Questions(self.queue, SystemClock()).by_name())
        await intake.start()
        try:
            yield intake
        finally:
            await intake.close()
            listener.close()


def at_place(
    test: Callable[[Place, EventClient], Awaitable[None]], *, wait_s: float = 5.0, bounds: Bounds | None = None
) -> None:
    async def main(directory: Path) -> None:
        place = Place(directory, bounds or Bounds())
        client = EventClient(place.path, wait_s=wait_s)
        try:
            await test(place, client)
        finally:
            client.close()

    with tempfile.TemporaryDirectory(prefix="intake-") as directory:
        asyncio.run(main(Path(directory)))


def test_an_event_arrives_whole() -> None:
    async def test(place: Place, client: EventClient) -> None:
        async with place.open():
            assert await client.put(EVENT) == "e1"
            record = await place.queue.get("e1")
            assert record is not None
            assert replace(record.event, accepted_at_s=0.0) == EVENT
            assert record.event.accepted_at_s > 0

    at_place(test)


def test_many_are_in_flight_at_once_and_go_to_the_queue_together() -> None:
    async def test(place: Place, client: EventClient) -> None:
        async with place.open():
            names = [f"e{number}" for number in range(500)]
            events = [replace(EVENT, id=name, dedup_key="", group="") for name in names]
            assert await asyncio.gather(*map(client.put, events)) == names
            assert place.tally.accepted == 500
            assert max(place.puts) > 10
            assert sum(place.puts) == 500

    at_place(test)


def test_of_those_that_come_together_as_many_are_kept_as_have_room() -> None:
    async def test(place: Place, client: EventClient) -> None:
        async with place.open():
            events = [replace(EVENT, id=f"e{number}", dedup_key="", group="") for number in range(5)]
            ended = await asyncio.gather(*map(client.put, events), return_exceptions=True)
            assert [isinstance(one, QueueFull) for one in ended] == [False, False, False, True, True]
            assert (place.tally.accepted, place.tally.refused) == (3, 2)

    at_place(test, bounds=Bounds(events_max=3))


def test_a_duplicate_is_told_what_it_is_one_of() -> None:
    async def test(place: Place, client: EventClient) -> None:
        async with place.open():
            assert await client.put(EVENT) == "e1"
            assert await client.put(replace(EVENT, id="e2")) == "e1"
            assert (place.tally.accepted, place.tally.duplicates) == (1, 1)

    at_place(test)


def test_while_nobody_listens_a_put_waits_and_is_kept_by_whoever_comes() -> None:
    async def test(place: Place, client: EventClient) -> None:
        putting = asyncio.create_task(client.put(EVENT))
        done, _ = await asyncio.wait([putting], timeout=0.1)
        assert not done
        async with place.open():
            assert await putting == "e1"

    at_place(test)


def test_when_nobody_comes_in_time_the_sender_is_told_to_send_again() -> None:
    async def test(_: Place, client: EventClient) -> None:
        with pytest.raises(QueueUnavailable, match="then send the event again"):
            await client.put(EVENT)

    at_place(test, wait_s=0.2)


def test_a_put_whose_answer_is_lost_is_sent_once_more_and_kept_once() -> None:
    async def test(place: Place, client: EventClient) -> None:
        has_kept = asyncio.Event()

        async def keeps_and_dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ((head, body),) = FrameReader().feed(await reader.read(65_536))
            await place.queue.put([event_of(head["event"], body)])
            writer.close()
            has_kept.set()

        dying = await asyncio.start_unix_server(keeps_and_dies, str(place.path))
        putting = asyncio.create_task(client.put(EVENT))
        await has_kept.wait()
        dying.close()
        async with place.open():
            assert await putting == "e1"
            assert place.tally.accepted == 0
            assert place.tally.duplicates == 1

    at_place(test)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({"do": "put"}, "not an event"),
        ({"do": "put", "event": {"id": "e1"}}, "not an event"),
        ({"do": "put", "event": {**event_head(EVENT), "hops": "many"}}, "not an event"),
        ({"do": "put", "event": {**event_head(EVENT), "id": ""}}, "not an event"),
        ({"do": "put", "event": {**event_head(EVENT), "colour": "red"}}, "not an event"),
        ({"do": "put", "event": {**event_head(EVENT), "not_before_s": -1}}, "not_before_s"),
        ({"do": "fly"}, "unknown request 'fly'; known: put, counts, list, show, redrive, discard."),
        ({"do": "list", "state": "lost"}, "allowed: waiting, running, finished, dead."),
        ({"do": "redrive"}, "neither ids, nor a function, nor all are named."),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_connection_goes_on(head: dict[str, object], told: str) -> None:
    async def test(place: Place, _: EventClient) -> None:
        async with place.open():
            reader, writer = await asyncio.open_unix_connection(str(place.path))
            writer.write(
                pack({"kind": "request", "id": 1, **head}) + pack({"kind": "request", "id": 2, "do": "counts"})
            )
            replies = {}
            frames = FrameReader()
            while len(replies) < 2:
                replies |= {reply["id"]: (reply, body) for reply, body in frames.feed(await reader.read(65_536))}
            assert replies[1][0]["error"] == "wrong"
            assert told in replies[1][0]["message"]
            assert json.loads(replies[2][1])["waiting"] == 0
            writer.close()

    at_place(test)


def test_garbage_ends_its_own_connection_alone() -> None:
    async def test(place: Place, client: EventClient) -> None:
        async with place.open():
            with socket.socket(socket.AF_UNIX) as other:
                other.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(other, str(place.path))
                await loop.sock_sendall(other, b"GET / HTTP/1.1\r\n\r\n")
                assert await loop.sock_recv(other, 10) == b""
            assert await client.put(EVENT) == "e1"

    at_place(test)


PREPARED = PreparedEvent(request_id="e1", function="f", payload=b"{}", qualifier="3", headers={"x": "y"}, hops=2)


def test_the_function_host_is_told_of_a_full_queue_as_lambda_throttles() -> None:
    async def test(place: Place, _: EventClient) -> None:
        events = DurableEvents(place.path)
        async with place.open():
            await events.take(PREPARED)
            record = await place.queue.get("e1")
            assert record is not None
            assert (record.event.source, record.event.headers, record.event.hops) == ("invoke", (("x", "y"),), 2)
            with pytest.raises(InvokeApiError) as caught:
                await events.take(replace(PREPARED, request_id="e2"))
        events.close()
        refused = caught.value
        assert (refused.status, refused.kind, refused.retry_after_s) == (429, "TooManyRequestsException", 5.0)
        assert refused.fields["Reason"] == "FunctionInvocationRateLimitExceeded"

    at_place(test, bounds=Bounds(events_max=1))


def test_the_function_host_is_told_of_an_absent_process_as_an_error_of_the_service() -> None:
    async def test(place: Place, _: EventClient) -> None:
        events = DurableEvents(place.path, wait_s=0.1)
        with pytest.raises(InvokeApiError) as caught:
            await events.take(PREPARED)
        events.close()
        assert (caught.value.status, caught.value.kind) == (500, "ServiceException")

    at_place(test)


def test_an_event_that_no_frame_can_hold_is_refused_before_it_is_sent() -> None:
    async def test(place: Place, client: EventClient) -> None:
        async with place.open():
            with pytest.raises(MalformedEvent, match="cannot be sent"):
                await client.put(replace(EVENT, headers=(("x", "y" * 70_000),)))

    at_place(test)
