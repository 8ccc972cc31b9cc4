"""What the gate does with one request after another, on virtual time."""

import asyncio
import dataclasses
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from peaker.asgi import Message, Receive, Scope, Send
from peaker.errors import (
    DeadlineExceeded,
    FunctionCrashed,
    InvocationRefused,
    InvokeError,
    Throttled,
    Unavailable,
)
from peaker.messages import Invocation, Reply, Response
from peaker.meter.usage import Ran
from peaker.settings import (
    AppSection,
    FunctionsSection,
    ObjectiveSection,
    RouteSection,
    ServersSection,
    Settings,
)
from peaker.testing.gate_world import Client, FunctionsInMemory, Store, World, the_loop
from peaker.testing.virtual_loop import run_virtual

HYBRID = (RouteSection(path="/*"),)


def settings(
    *routes: RouteSection, slots: int = 2, queue_max: int = 100, queue_wait_s_max: float = 1.0, **functions: Any
) -> Settings:
    return Settings(
        app=AppSection(spill=True, placement_header=True),
        objective=ObjectiveSection(latency_p95_ms=300),
        servers=ServersSection(in_flight_max=slots, queue_max=queue_max, queue_wait_s_max=queue_wait_s_max),
        functions=FunctionsSection(**functions),
        route=routes,
    )


class Siblings:
    """Other workers: `rows` of them have a slot free; those in `turn_down` say so only when they are asked."""

    def __init__(self, *rows: int, turn_down: tuple[int, ...] = ()) -> None:
        self.rows = list(rows)
        self.turn_down = turn_down
        self.asked: list[int] = []

    def find_free(self) -> int | None:
        return self.rows[0] if self.rows else None

    async def hand_over(self, row: int, scope: Scope, receive: Receive, send: Send) -> bool:
        del scope
        self.asked.append(row)
        self.rows.remove(row)
        await asyncio.sleep(0.001)
        if row in self.turn_down:
            return False
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"sibling"})
        return True


Script = Callable[[World, FunctionsInMemory], Awaitable[None]]


def run(given: Settings, script: Script, *, takes_s: float = 0.05, **world_options: Any) -> None:
    async def main() -> None:
        store = Store(takes_s)
        functions = FunctionsInMemory(store.use)
        world = World(given, **{"work": store.use, "functions": functions} | world_options)
        async with world.running():
            await script(world, functions)
        assert world.gate.in_flight == 0
        assert world.slots.get(0, "in_flight") == 0
        assert world.slots.get(0, "spilling") == 0
        assert world.slots.get(0, "waiting") == 0

    run_virtual(main)


async def warm_up(world: World, path: str = "/a") -> None:
    """Let the gate learn how long the route takes."""
    for _ in range(40):
        world.request(path)
        await world.settle()
    world.clients.clear()


async def burst(world: World, count: int, path: str = "/a") -> list[Client]:
    clients = [world.request(path) for _ in range(count)]
    await world.settle()
    return clients


def test_a_worker_at_rest_answers_itself() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        client = world.request("/a")
        await world.settle()
        assert (client.status, client.body, client.ran, client.ends) == (200, b"server", "server", 1)
        assert not functions.invocations
        usage = world.usage()
        assert (usage["requests"], usage["on_server"]) == (1, 1)

    run(settings(*HYBRID), script)


def test_a_full_worker_hands_over_to_a_free_sibling_before_anything_is_paid_for() -> None:
    siblings = Siblings(5, 6)

    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = await burst(world, 4)
        assert [client.ran for client in clients] == ["server", "server", "sibling", "sibling"]
        assert {client.body for client in clients[2:]} == {b"sibling"}
        assert not functions.invocations
        assert world.usage()["on_sibling"] == 2

    run(settings(*HYBRID), script, siblings=siblings)
    assert siblings.asked == [5, 6]


def test_a_sibling_that_turns_it_down_leaves_the_request_to_be_decided_anew() -> None:
    siblings = Siblings(5, 6, 7, turn_down=(5, 6, 7))

    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = await burst(world, 12)
        assert {client.status for client in clients} == {200}
        assert "sibling" not in {client.ran for client in clients}
        assert functions.invocations

    run(settings(*HYBRID), script, siblings=siblings)


def test_a_full_worker_lets_wait_shortly_and_spills_the_rest() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = await burst(world, 12)
        ran = [client.ran for client in clients]
        assert ran[:4] == ["server"] * 4, "two stay, two more wait for one service time"
        assert ran.count("function") == 8
        assert max(client.latency_s for client in clients) < 0.11
        assert world.usage()["waited"] >= 2
        assert len(functions.invocations) == 8

    run(settings(*HYBRID), script)


def test_a_route_declared_for_servers_never_leaves_them() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = await burst(world, 60)
        assert not functions.invocations
        assert {client.ran for client in clients} == {"server", "refused"}
        refused = next(client for client in clients if client.status == 503)
        assert refused.headers[b"x-peaker-refused"].startswith(b"no slot was free within 1 s")
        assert int(refused.headers[b"retry-after"]) >= 1
        assert b"no slot was free" in refused.body

    run(settings(RouteSection(path="/*", placement="servers")), script)


def test_requests_that_wait_are_served_in_the_order_they_came() -> None:
    order: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        order.append(int(scope["path"].rpartition("/")[2]))
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def script(world: World, _: FunctionsInMemory) -> None:
        for number in range(15):
            world.request(f"/n/{number}")
            await asyncio.sleep(0.001)
        await world.settle()
        assert order == sorted(order)

    run(settings(RouteSection(path="/*", placement="servers")), script, app=app)


def test_a_full_queue_refuses_at_once() -> None:
    async def script(world: World, _: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = await burst(world, 8)
        refused = [client for client in clients if client.status == 503]
        assert len(refused) == 3
        assert all(client.latency_s == 0 for client in refused)
        assert refused[0].headers[b"x-peaker-refused"].startswith(b"the queue is full")

    run(settings(RouteSection(path="/*", placement="servers"), queue_max=3), script)


def test_a_route_declared_for_functions_goes_there_even_from_an_idle_worker() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        client = world.request("/report/7")
        await world.settle()
        assert client.ran == "function"
        assert world.app_calls == 0
        functions.fails_with = Throttled()
        client = world.request("/report/8")
        await world.settle()
        assert client.status == 503
        assert client.latency_s == pytest.approx(1.0, abs=0.01), "it waits for room as long as any request may"
        assert world.app_calls == 0

    run(settings(RouteSection(path="/report/*", placement="functions")), script)


def test_a_throttled_function_route_is_sent_again_when_there_is_room() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        functions.fails_with = Throttled()
        client = world.request("/report/8")
        await asyncio.sleep(0.3)
        functions.fails_with = None
        await world.settle()
        assert client.ran == "function"
        assert client.latency_s < 0.6
        assert world.usage()["throttled"] >= 1

    run(settings(RouteSection(path="/report/*", placement="functions")), script)


@pytest.mark.parametrize("error", [Unavailable(), Throttled(), InvocationRefused()])
def test_a_function_that_was_not_started_costs_nothing_and_the_request_is_decided_anew(error: InvokeError) -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        functions.fails_with = error
        clients = await burst(world, 12)
        assert {client.status for client in clients} == {200}
        assert {client.ran for client in clients} == {"server"}
        assert all(client.ends == 1 for client in clients)
        assert world.usage()["spend_microusd"] == 0
        assert world.usage()["on_function"] == 0
        functions.fails_with = None
        await asyncio.sleep(2)
        assert "function" in {client.ran for client in await burst(world, 12)}, "and functions are tried again"

    run(settings(*HYBRID), script)


@pytest.mark.parametrize(("error", "status"), [(DeadlineExceeded(), 504), (FunctionCrashed(), 502)])
def test_a_request_whose_effect_is_unknown_is_never_sent_again(error: InvokeError, status: int) -> None:
    attempts: list[str] = []

    class Failing(FunctionsInMemory):
        async def invoke(self, invocation: Invocation) -> Reply:
            attempts.append(invocation.request_id)
            await asyncio.sleep(0.01)
            raise error

    async def script(world: World, _: FunctionsInMemory) -> None:
        await warm_up(world)
        calls = world.app_calls
        clients = await burst(world, 12)
        failed = [client for client in clients if client.status == status]
        assert failed
        assert len(attempts) == len(set(attempts)) == len(failed)
        assert world.app_calls - calls == 12 - len(failed)
        usage = world.usage()
        assert usage["function_errors"] == len(failed)
        assert usage["spend_microusd"] > 0, "nobody knows what it did, so it is taken for billed"

    run(settings(*HYBRID), script, functions=Failing(Store(0.0).use))


def test_an_app_that_fails_in_its_function_is_502() -> None:
    class Failing(FunctionsInMemory):
        async def invoke(self, invocation: Invocation) -> Reply:
            del invocation
            return Reply(payload=b'{"errorType":"ValueError"}', function_error="Unhandled")

    async def script(world: World, _: FunctionsInMemory) -> None:
        client = world.request("/f")
        await world.settle()
        assert client.status == 502
        assert client.ends == 1

    run(settings(RouteSection(path="/f", placement="functions")), script, functions=Failing(Store(0.0).use))


def test_a_client_that_goes_while_it_waits_leaves_the_queue() -> None:
    async def script(world: World, _: FunctionsInMemory) -> None:
        await warm_up(world)
        calls = world.app_calls
        staying = [world.request("/a") for _ in range(2)]
        waiting = [world.request("/a") for _ in range(3)]
        await asyncio.sleep(0.005)
        waiting[0].leave()
        await asyncio.sleep(0.001)
        world.gate.beat()
        assert world.slots.get(0, "waiting") == 2
        await world.settle()
        assert world.app_calls - calls == 4
        assert all(client.status == 200 for client in staying + waiting[1:])
        usage = world.usage()
        assert usage["client_gone"] == 1
        assert usage["requests"] - usage["on_server"] == 1

    run(settings(RouteSection(path="/*", placement="servers")), script)


def test_a_spilled_request_whose_client_has_gone_is_counted_and_billed() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        client = world.request("/f")
        await asyncio.sleep(0.03)
        client.leave()
        await world.settle()
        assert len(functions.invocations) == 1
        usage = world.usage()
        assert (usage["on_function"], usage["client_gone"]) == (1, 1)
        assert usage["spill_billed_ms"] >= 50
        assert client.status == 0

    run(settings(RouteSection(path="/f", placement="functions")), script)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's body, after 50 ms."""
    del scope
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_a_body_that_was_held_reaches_the_app_when_the_request_stays_after_all() -> None:
    async def script(world: World, _: FunctionsInMemory) -> None:
        await warm_up(world)
        parts = [[b"%d-" % number, b"rest"] for number in range(6)]
        clients = [world.request("/a", method="POST", body=body) for body in parts]
        await world.settle()
        assert [client.body for client in clients] == [b"".join(body) for body in parts]

    run(settings(RouteSection(path="/*", placement="servers")), script, app=echo)


def test_a_body_travels_with_a_spilled_request() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        world.request("/f", method="POST", body=[b"one ", b"two"], headers={"content-type": "text/plain"})
        await world.settle()
        event = json.loads(functions.invocations[0].payload)
        assert event["body"] == "one two"
        assert event["requestContext"]["http"]["method"] == "POST"

    run(settings(RouteSection(path="/f", placement="functions")), script)


@pytest.mark.parametrize("headers", [{"content-length": "2001"}, {}])
def test_a_body_over_the_limit_stays_and_arrives_whole(headers: dict[str, str]) -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        body = [b"x" * 900, b"y" * 900, b"z" * 201]
        client = world.request("/f", method="POST", body=body, headers=headers)
        await world.settle()
        assert client.body == b"".join(body)
        assert client.ran == "server"
        assert not functions.invocations

    given = settings(RouteSection(path="/f", placement="functions"), spill_body_bytes_max=2000)
    run(given, script, app=echo)


@pytest.mark.parametrize(
    "headers", [{"accept": "text/event-stream"}, {"upgrade": "h2c"}, {"expect": "100-continue"}, {"trailer": "x"}]
)
def test_what_a_function_cannot_be_told_or_cannot_do_stays(headers: dict[str, str]) -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        client = world.request("/f", headers=headers)
        await world.settle()
        assert client.ran == "server"
        assert not functions.invocations

    run(settings(RouteSection(path="/f", placement="functions")), script)


def test_an_undeclared_route_spills_only_after_enough_answers_were_seen() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await burst(world, 12)
        assert not functions.invocations
        await warm_up(world)
        await burst(world, 12)
        assert functions.invocations

    run(settings(spill_after_seen=20), script)


def test_an_undeclared_route_that_works_on_after_its_answer_never_spills() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"queued"})
        await asyncio.sleep(0.2)

    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        await burst(world, 12)
        assert not functions.invocations
        assert "after its answer" in world.gate.routes[0].shown.stays_because

    run(settings(spill_after_seen=1), script, app=app)


def test_a_spilled_request_keeps_its_id_and_its_trace_and_gets_an_id_where_it_has_none() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def script(world: World, functions: FunctionsInMemory) -> None:
        world.request("/f", headers={"x-request-id": "order-17", "traceparent": trace})
        world.request("/f", headers={"x-request-id": "no good!"})
        world.request("/f")
        await world.settle()
        own, malformed, none = functions.invocations
        assert own.request_id == "order-17"
        assert own.headers == ((b"traceparent", trace.encode()),)
        assert json.loads(own.payload)["headers"]["traceparent"] == trace
        assert len(malformed.request_id) == len(none.request_id) == 36
        assert malformed.request_id != none.request_id
        assert json.loads(none.payload)["requestContext"]["requestId"] == none.request_id

    run(settings(RouteSection(path="/f", placement="functions")), script)


def test_a_draining_gate_closes_each_connection_and_returns_when_nothing_is_left() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = [world.request("/a") for _ in range(12)]
        await asyncio.sleep(0.001)
        draining = asyncio.create_task(world.gate.drain())
        await asyncio.sleep(0.001)
        late = world.request("/a")
        assert not draining.done()
        await draining
        assert functions.invocations
        for client in [*clients, late]:
            assert client.status == 200
            assert client.headers[b"connection"] == b"close"

    run(settings(*HYBRID), script)


def test_draining_an_idle_gate_returns_at_once() -> None:
    async def script(world: World, _: FunctionsInMemory) -> None:
        before_s = the_loop().time()
        await world.gate.drain()
        assert the_loop().time() == before_s
        assert world.gate.admit_handed_over({"type": "http"}, asyncio.sleep, asyncio.sleep) is None  # type: ignore[arg-type]

    run(settings(*HYBRID), script)


def test_an_app_that_raises_gives_its_slot_back_and_is_counted() -> None:
    async def app(*_: Any) -> None:
        raise ValueError("no such film")

    async def script(world: World, _: FunctionsInMemory) -> None:
        clients = await burst(world, 5)
        assert all(isinstance(client.error, ValueError) for client in clients)
        assert world.usage()["failed"] == 5

    run(settings(RouteSection(path="/*", placement="servers")), script, app=app)


def test_a_stream_gives_its_slot_back_and_is_still_waited_for_at_the_end() -> None:
    more = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/export":
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"two"})

    async def script(world: World, _: FunctionsInMemory) -> None:
        events, export = world.request("/events"), world.request("/export")
        await asyncio.sleep(0.5)
        assert world.gate.in_flight == 2
        await asyncio.sleep(1)
        assert world.gate.in_flight == 0
        draining = asyncio.create_task(world.gate.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        more.set()
        await draining
        assert (events.body, export.body) == (b"two", b"onetwo")
        world.gate.beat()
        assert all(route.times.samples == 0 for route in world.gate.routes), "no stream is taken for a latency"

    run(settings(*HYBRID), script, app=app)


def test_a_request_taken_from_a_sibling_holds_a_slot_and_is_counted_by_the_sibling() -> None:
    async def script(world: World, _: FunctionsInMemory) -> None:
        client = Client(sent_s=0.0)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        def admit() -> Awaitable[None] | None:
            scope = {"type": "http", "method": "GET", "path": "/a", "headers": []}
            return world.gate.admit_handed_over(scope, receive, client.send)

        first, second = admit(), admit()
        assert first is not None
        assert second is not None
        assert world.gate.in_flight == 2
        assert admit() is None
        await asyncio.gather(first, second)
        assert client.ends == 2
        assert b"x-peaker-ran" not in client.headers
        world.gate.beat()
        assert world.usage()["requests"] == 0

    run(settings(*HYBRID), script)


def test_websockets_are_counted_without_a_slot_and_lifespan_passes_through() -> None:
    seen: list[str] = []
    close = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope["type"])
        if scope["type"] == "websocket":
            await close.wait()

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nobody asks")

    async def script(world: World, _: FunctionsInMemory) -> None:
        sockets = [
            asyncio.ensure_future(world.gate({"type": "websocket", "path": "/w"}, nothing, nothing)) for _ in "ab"
        ]
        await world.gate({"type": "lifespan"}, nothing, nothing)
        await asyncio.sleep(0.001)
        world.gate.beat()
        assert world.slots.get(0, "websockets") == 2
        assert world.gate.in_flight == 0
        close.set()
        await asyncio.gather(*sockets)
        assert seen == ["lifespan", "websocket", "websocket"]
        assert world.usage()["websockets"] == 2

    run(settings(*HYBRID), script, app=app)


def test_without_spill_nothing_leaves_though_functions_are_there() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = await burst(world, 12)
        assert {client.ran for client in clients} == {"server"}
        assert not functions.invocations

    given = settings()
    run(dataclasses.replace(given, app=AppSection(spill=False, placement_header=True)), script)


def test_at_the_limit_of_functions_requests_wait_instead_of_being_thrown_at_them() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await warm_up(world)
        clients = await burst(world, 30)
        assert functions.busy.most() == 3
        assert {client.status for client in clients} == {200}
        assert world.usage()["throttled"] > 0

    run(settings(*HYBRID, concurrency_max=3), script)


def test_a_response_with_repeated_headers_and_binary_body_comes_back_from_a_function_as_it_was() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        functions.response = Response(status=404, headers=((b"content-type", b"image/png"),), body=b"\x89PNG\xff")
        client = world.request("/f")
        await world.settle()
        assert (client.status, client.body) == (404, b"\x89PNG\xff")
        assert client.headers[b"content-type"] == b"image/png"

    run(settings(RouteSection(path="/f", placement="functions")), script)


def test_a_busy_worker_watches_a_sample_and_counts_all() -> None:
    """Ten thousand a second of 2 ms: a tenth is watched, and stands in the histogram for the rest."""

    async def script(world: World, _: FunctionsInMemory) -> None:
        await world.open_loop(10_000, 1.0, random.Random(1))
        await world.settle()
        usage = world.usage()
        assert usage["requests"] == usage["on_server"] == len(world.clients)
        assert {client.body for client in world.clients} == {b"server"}
        learned = world.gate.routes[0].times.samples
        assert 0.05 * len(world.clients) < learned < 0.25 * len(world.clients)
        counted = world.usage_of_all().histograms[Ran.SERVER]
        assert sum(counted) == len(world.clients)
        assert world.usage_of_all().percentile_s(0.95) == pytest.approx(0.002, rel=0.1)

    given = settings(RouteSection(path="/*"), slots=200)
    run(dataclasses.replace(given, app=AppSection(spill=True)), script, takes_s=0.002)


def test_a_busy_worker_that_runs_full_watches_again_and_keeps_its_limit() -> None:
    async def script(world: World, functions: FunctionsInMemory) -> None:
        await world.open_loop(10_000, 0.5, random.Random(1))
        peak = 0
        for _ in range(50):
            await world.open_loop(30_000, 0.01, random.Random(2))
            peak = max(peak, world.gate.in_flight)
        await world.settle()
        assert peak <= 40
        assert functions.invocations
        assert world.gate.in_flight == 0

    given = settings(RouteSection(path="/*"), slots=40)
    run(dataclasses.replace(given, app=AppSection(spill=True)), script, takes_s=0.002)
