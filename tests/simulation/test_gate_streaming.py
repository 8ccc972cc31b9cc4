"""What the gate does with routes that are declared to stream, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from peaker.asgi import Receive, Scope, Send
from peaker.errors import DeadlineExceeded, FunctionCrashed, InvokeError, Throttled, Unavailable
from peaker.messages import Invocation, RunNotes
from peaker.meter.usage import Ran
from peaker.settings import AppSection, FunctionsSection, ObjectiveSection, RouteSection, ServersSection, Settings
from peaker.testing.gate_world import Client, FunctionsInMemory, Store, World
from peaker.testing.virtual_loop import run_virtual
from peaker.wire.response_stream import http_prelude

STREAMS = RouteSection(path="/export", stream=True)
FIRST_S = 0.05
REST_S = 5.0
"""A stream on a server: its first byte, then nothing for long, then its last."""


def settings(*routes: RouteSection, spend: float | None = None, slots: int = 1) -> Settings:
    return Settings(
        app=AppSection(spill=True, placement_header=True),
        objective=ObjectiveSection(latency_p95_ms=300, spend_usd_per_day_max=spend),
        servers=ServersSection(in_flight_max=slots, queue_wait_s_max=0.5),
        functions=FunctionsSection(memory_mb=1024),
        route=routes or (STREAMS,),
    )


class Stream:
    """One streamed reply: parts after their waits, then its end, which may be an error."""

    billed_ms = 0.0

    def __init__(self, parts: list[tuple[float, bytes]], error: InvokeError | None) -> None:
        self._parts = parts
        self._error = error
        self._closed = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    async def read(self) -> bytes:
        if self._parts and not self.is_closed:
            wait_s, part = self._parts.pop(0)
            closed = asyncio.ensure_future(self._closed.wait())
            await asyncio.wait({closed}, timeout=wait_s)
            closed.cancel()
            return b"" if self.is_closed else part
        if self._error is not None and not self.is_closed:
            raise self._error
        return b""

    def close(self) -> None:
        self._closed.set()


class Streams:
    """Functions that stream: the head at once, the first byte after `first_s`, the last `rest_s` later."""

    def __init__(self, *, first_s: float = 0.02, rest_s: float = 3.0) -> None:
        self.first_s = first_s
        self.rest_s = rest_s
        self.fails_with: InvokeError | None = None
        self.breaks_with: InvokeError | None = None
        self.invocations: list[Invocation] = []
        self.streams: list[Stream] = []

    async def invoke_streaming(self, invocation: Invocation) -> Stream:
        self.invocations.append(invocation)
        if self.fails_with is not None:
            raise self.fails_with
        head = http_prelude(200, ((b"x-from", b"function"),), RunNotes())
        parts = [(0.001, head), (self.first_s, b"first "), (self.rest_s, b"last")]
        self.streams.append(Stream(parts[:2] if self.breaks_with else parts, self.breaks_with))
        return self.streams[-1]


async def streaming_app(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await asyncio.sleep(FIRST_S)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})
    await asyncio.sleep(REST_S)
    await send({"type": "http.response.body", "body": b"last"})


Script = Callable[[World, Streams], Awaitable[None]]


def run(given: Settings, script: Script, streams: Callable[[], Streams] = Streams) -> None:
    async def main() -> None:
        functions, streaming = FunctionsInMemory(Store(0.01).use), streams()
        world = World(given, work=Store(0.01).use, functions=functions, streaming=streaming, app=streaming_app)
        async with world.running():
            await script(world, streaming)
        assert not functions.invocations, "a route that streams is never asked for whole"
        assert all(stream.is_closed for stream in streaming.streams)
        assert world.slots.get(0, "spilling") == 0
        assert world.slots.get(0, "waiting") == 0

    run_virtual(main)


async def filled(world: World) -> Client:
    """The only slot is held by a request whose response has not begun."""
    holding = world.request("/export")
    await asyncio.sleep(FIRST_S / 2)
    return holding


def test_a_stream_goes_to_a_function_when_the_server_is_full() -> None:
    async def script(world: World, _: Streams) -> None:
        holding, spilled = await filled(world), world.request("/export")
        await world.settle()
        assert (holding.ran, spilled.ran) == ("server", "function")
        assert holding.body == spilled.body == b"first last"
        assert spilled.ends == 1

    run(settings(), script)


def test_latency_and_what_is_learned_end_with_the_first_byte() -> None:
    async def script(world: World, _: Streams) -> None:
        for _ in range(5):
            await filled(world)
            world.request("/export")
            await world.settle()
        (route,) = world.gate.routes
        usage = world.usage_of_all()
        assert route.times.samples == 5
        assert route.times.recent_s == pytest.approx(FIRST_S, abs=0.02)
        assert route.function_times.recent_s == pytest.approx(0.021, abs=0.01)
        for ran in (Ran.SERVER, Ran.FUNCTION):
            latency_s = usage.percentile_s(1.0, [ran])
            assert latency_s is not None
            assert latency_s < 0.2, "what it waited for a slot, and for its first byte"
        assert usage.counters["spill_billed_ms"] == pytest.approx(5 * 3021, rel=0.05), "all of each is paid for"
        assert 1.0 < route.stream_s < REST_S

    run(settings(), script)


def test_a_function_that_begins_too_late_is_left_alone_for_a_while() -> None:
    async def script(world: World, streams: Streams) -> None:
        await filled(world)
        late = world.request("/export")
        await world.settle()
        assert late.ran == "function", "nothing was known of it"
        await filled(world)
        next_one = world.request("/export")
        await world.settle()
        assert next_one.ran in ("server", "refused")
        assert len(streams.invocations) == 1
        streams.first_s = 0.02
        await asyncio.sleep(30)
        await filled(world)
        again = world.request("/export")
        await world.settle()
        assert again.ran == "function", "what made it late may have passed"

    run(settings(RouteSection(path="/export", stream=True, latency_p95_ms=200)), script, lambda: Streams(first_s=0.25))


@pytest.mark.parametrize("error", [Throttled(), Unavailable()])
def test_a_stream_that_was_not_started_is_decided_anew(error: InvokeError) -> None:
    async def script(world: World, streams: Streams) -> None:
        streams.fails_with = error
        await filled(world)
        second = world.request("/export")
        await world.settle()
        assert second.ran in ("server", "refused")
        assert second.ends == 1
        assert world.usage()["spend_microusd"] == 0

    run(settings(), script)


@pytest.mark.parametrize(("error", "status"), [(DeadlineExceeded(), 504), (FunctionCrashed(), 502)])
def test_a_failure_before_the_head_is_told_and_never_sent_again(error: InvokeError, status: int) -> None:
    async def script(world: World, streams: Streams) -> None:
        streams.fails_with = error
        await filled(world)
        second = world.request("/export")
        await world.settle()
        assert (second.status, second.ends, len(streams.invocations)) == (status, 1, 1)
        assert world.usage()["function_errors"] == 1

    run(settings(), script)


def test_a_stream_that_breaks_off_after_its_head_is_broken_for_the_client_too() -> None:
    """The server ends the connection on an exception in the middle of a response; nothing else is tried."""

    async def script(world: World, streams: Streams) -> None:
        streams.breaks_with = FunctionCrashed("killed")
        await filled(world)
        second = world.request("/export")
        await world.settle()
        assert (second.status, second.body, second.ends) == (200, b"first ", 0)
        assert "broke off" in str(second.error)
        assert len(streams.invocations) == 1
        assert world.usage()["function_errors"] == 1
        assert world.usage()["spill_billed_ms"] > 0, "nobody knows what it did, so it is taken for billed"

    run(settings(), script)


def test_a_client_that_leaves_ends_the_stream_and_is_paid_for_until_then() -> None:
    async def script(world: World, streams: Streams) -> None:
        await filled(world)
        second = world.request("/export")
        while not second.body:  # noqa: ASYNC110 - on virtual time
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        second.leave()
        await asyncio.sleep(0.01)
        assert streams.streams[0].is_closed
        assert world.slots.get(0, "spilling") == 0
        await world.settle()
        assert world.usage()["function_errors"] == 0
        assert world.usage()["client_gone"] == 1
        assert 120 <= world.usage()["spill_billed_ms"] <= 150

    run(settings(), script)


def test_a_stream_the_spend_limit_does_not_cover_stays() -> None:
    async def script(world: World, streams: Streams) -> None:
        await filled(world)
        second = world.request("/export")
        await world.settle()
        assert second.ran in ("server", "refused")
        assert not streams.invocations

    run(settings(spend=0.0), script)


def test_who_asks_for_server_sent_events_is_never_spilled() -> None:
    async def script(world: World, streams: Streams) -> None:
        await filled(world)
        second = world.request("/export", headers={"accept": "text/event-stream"})
        await world.settle()
        assert second.ran in ("server", "refused")
        assert not streams.invocations

    run(settings(), script)


def test_routes_that_do_not_stream_are_asked_for_whole() -> None:
    async def main() -> None:
        functions, streaming = FunctionsInMemory(Store(0.01).use), Streams()
        given = settings(RouteSection(path="/export", placement="functions"), RouteSection(path="/other*", stream=True))
        world = World(given, work=Store(0.01).use, functions=functions, streaming=streaming)
        async with world.running():
            client = world.request("/export")
            await world.settle()
        assert (client.ran, len(functions.invocations), streaming.invocations) == ("function", 1, [])

    run_virtual(main)
