"""The gate's parts by themselves: routes, exchange, line, room, spend, held bodies."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from peaker.asgi import Message
from peaker.clock import VirtualClock
from peaker.gate.exchange import Exchange
from peaker.gate.figures import End, Figures, end_of
from peaker.gate.held import HELD_BYTES_MAX, Held, HeldBytes
from peaker.gate.room import BEAT_S, Room
from peaker.gate.routes import PATHS_MAX, ROUTES_MAX, SIBLING_SEGMENTS_MAX, Routes
from peaker.gate.slots import create_slot_table
from peaker.gate.spend import Spend
from peaker.gate.waiting_line import Turn, WaitingLine
from peaker.meter.usage import UsageRow, create_usage_table, read_usage
from peaker.policy.placement import Placement
from peaker.settings import (
    AppSection,
    ObjectiveSection,
    RouteSection,
    ServersSection,
    Settings,
)
from peaker.shared_table import SharedTable

SPILLING = Settings(app=AppSection(spill=True))


@pytest.fixture
def slots(tmp_path: Path) -> SharedTable:
    return create_slot_table(tmp_path / "slots.table", 2)


@pytest.fixture
def usage_table(tmp_path: Path) -> SharedTable:
    return create_usage_table(tmp_path / "usage.table", 2)


# Routes


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/", "/"),
        ("/films", "/films"),
        ("/films/17/poster", "/films/*/poster"),
        ("/users/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/users/*"),
        ("/blobs/0123456789abcdef0123456789abcdef", "/blobs/*"),
        ("/files/report-2026-final-version.pdf", "/files/*"),
        ("/about-us", "/about-us"),
        ("/x/" + "y" * 65, "/x/*"),
        ("/1/2/3/4/5/6/7/8/9/10", "/*/*/*/*/*/*/*/*"),
    ],
)
def test_a_route_is_the_path_without_what_varies(path: str, pattern: str) -> None:
    assert Routes(SPILLING).find("GET", path).key == f"GET {pattern}"


def test_methods_are_routes_of_their_own_and_the_same_path_gives_the_same_route() -> None:
    routes = Routes(SPILLING)
    assert routes.find("GET", "/a/1") is routes.find("GET", "/a/2")
    assert routes.find("POST", "/a/1") is not routes.find("GET", "/a/1")
    assert routes.known["GET", "/a/1"] is routes.find("GET", "/a/1")


def test_names_that_never_repeat_become_one_route() -> None:
    routes = Routes(SPILLING)
    for number in range(200):
        routes.find("GET", f"/by/{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10 % 10]}{'uv'[number // 100]}")
    keys = {found.key for found in routes.all()}
    assert "GET /by/*" in keys
    assert len(keys) == SIBLING_SEGMENTS_MAX + 1


def test_hostile_paths_fill_no_table_beyond_its_bound_and_the_rest_never_leaves_the_servers() -> None:
    routes = Routes(SPILLING)
    words = [f"{first}{second}" for first in "abcdefghijklmnopqrstuvwxyz" for second in "abcdefghijklmnopqrstuvwxyz"]
    for first in words[:40]:
        for second in words[:300]:
            found = routes.find("GET", f"/{first}/{second}")
    assert len(routes.all()) <= ROUTES_MAX
    assert len(routes.known) <= PATHS_MAX
    last = routes.find("PUT", "/zz/zz/zz")
    assert not last.learns
    assert "too many routes" in last.why_not_spill(1)
    assert found in routes.all() or not found.learns
    for number in range(PATHS_MAX + 10):
        routes.find("GET", f"/aa/{number}")
    assert len(routes.known) <= PATHS_MAX
    routes.find("GET", "/" + "x" * 5000)
    assert all(len(path) <= 256 for _, path in routes.known)


def test_one_pattern_under_two_rules_is_two_routes() -> None:
    declared = Settings(app=AppSection(spill=True), route=(RouteSection(path="/a/1", placement="servers"),))
    routes = Routes(declared)
    assert routes.find("GET", "/a/1").rule.placement is Placement.SERVERS
    assert routes.find("GET", "/a/2").rule.placement is Placement.HYBRID
    assert routes.find("GET", "/a/1").why_not_spill(1).startswith("declared")


# Exchange


class Clocked:
    """A gate's side of an exchange."""

    rewrites_start = False
    notes_more = True

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.now_s: Callable[[], float] = self.clock.now_s

    def rewrite(self, start: Message, _: Exchange) -> Message:
        return start


def exchange_with(gate: Clocked, client_takes_s: float = 0.0) -> Exchange:
    async def send(_: Message) -> None:
        gate.clock.advance(client_takes_s)

    exchange = Exchange(gate, {"method": "GET", "path": "/"}, send, gate.now_s())
    exchange.late_s = 0.0
    return exchange


def start(status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": []}


def part(body: bytes = b"x", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def test_the_clock_stops_when_the_last_byte_is_handed_over_not_when_the_client_has_taken_it() -> None:
    async def main() -> None:
        gate = Clocked()
        exchange = exchange_with(gate, client_takes_s=5.0)
        exchange.late_s = 0.02
        gate.clock.advance(0.05)
        start_sent = exchange.send(start())
        body_sent = exchange.send(part(b"12345"))
        await start_sent
        await body_sent
        assert exchange.latency_s == pytest.approx(0.07), "from when the head was readable"
        assert exchange.service_s == pytest.approx(0.05)
        assert exchange.is_complete
        assert exchange.bytes_sent == 5
        assert exchange.unusual is None

    asyncio.run(main())


def test_what_a_slow_client_takes_of_a_streamed_body_is_not_the_apps() -> None:
    async def main() -> None:
        gate = Clocked()
        slow = exchange_with(gate, client_takes_s=3.0)
        for _ in range(4):
            gate.clock.advance(0.01)
            await slow.send(part(b"1234", more=True))
        gate.clock.advance(0.01)
        await slow.send(part(b"", more=False))
        assert slow.unusual is not None
        assert slow.unusual.blocked_s == pytest.approx(12.0)
        assert slow.latency_s == pytest.approx(0.05)
        assert slow.streamed_s == pytest.approx(0.04)
        assert slow.bytes_sent == 16

    asyncio.run(main())


def test_what_a_slow_upload_takes_is_not_the_apps() -> None:
    async def main() -> None:
        gate = Clocked()
        exchange = exchange_with(gate)
        messages = [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request", "body": b"b", "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            gate.clock.advance(2.0)
            return messages.pop(0)

        timed = exchange.timed(receive)
        assert [(await timed())["type"] for _ in range(3)] == ["http.request", "http.request", "http.disconnect"]
        assert exchange.unusual is not None
        assert exchange.unusual.blocked_s == pytest.approx(4.0), "once the body is there, waiting is the app's own wish"

    asyncio.run(main())


def test_a_request_that_waited_has_a_service_time_of_its_own() -> None:
    gate = Clocked()
    exchange = exchange_with(gate)
    gate.clock.advance(1.0)
    unusual = exchange.mark_unusual()
    unusual.service_began_s, unusual.blocked_s, unusual.blocked_before_s = 1.0, 0.7, 0.4
    exchange.last_body_s = 2.0
    assert exchange.latency_s == pytest.approx(1.3)
    assert exchange.service_s == pytest.approx(0.7)


def test_a_use_of_a_slot_has_three_ends() -> None:
    def ended(status: int, *, is_complete: bool = True, **marks: bool) -> End:
        exchange = exchange_with(Clocked())
        exchange.status = status
        if is_complete:
            exchange.last_body_s = 1.0
        for name, value in marks.items():
            setattr(exchange.mark_unusual(), name, value)
        return end_of(exchange)

    assert ended(200) is End.SUCCEEDED
    assert ended(404) is End.SUCCEEDED
    assert ended(200, is_complete=False) is End.IGNORED
    assert ended(200, crashed=True) is End.IGNORED
    assert ended(200, is_stream=True) is End.IGNORED
    assert ended(500) is End.IGNORED
    assert ended(0, is_complete=False) is End.IGNORED
    assert ended(503) is End.DROPPED


# Line and room


def test_turns_are_granted_in_order_and_a_place_survives_a_try_elsewhere() -> None:
    async def main() -> None:
        line = WaitingLine(lambda: None)
        first, second, third = line.join(), line.join(), line.join()
        assert [line.ahead_of(place) for place in (first, second, third, None)] == [0, 1, 2, 3]
        line.leave(second)
        assert line.ahead_of(third) == 1
        line.join_first(second)
        waits = [asyncio.ensure_future(place.wait(60)) for place in (second, first, third)]
        await asyncio.sleep(0)
        for expected in range(3):
            line.grant_first()
            done = await waits[expected]
            assert done is Turn.GRANTED
        assert line.is_empty
        assert len(line) == 0

    asyncio.run(main())


def test_a_wait_ends_with_its_time_or_its_client() -> None:
    async def main() -> None:
        line = WaitingLine(lambda: None)
        place = line.join()
        assert await place.wait(0.001) is Turn.OVER
        waiting = asyncio.ensure_future(place.wait(60))
        await asyncio.sleep(0)
        place.tell_gone()
        assert await waiting is Turn.GONE
        line.leave(place)
        assert line.is_empty

    asyncio.run(main())


def test_a_slot_granted_before_the_wait_began_is_not_missed() -> None:
    async def main() -> None:
        line = WaitingLine(lambda: None)
        place = line.join()
        line.grant_first()
        assert await place.wait(60) is Turn.GRANTED

    asyncio.run(main())


def test_the_loop_lags_when_a_beat_is_late_and_already_while_one_is_missing(slots: SharedTable) -> None:
    room = Room(ServersSection(lag_ms_max=25), row=0, slots=slots, clock=VirtualClock())
    assert room.is_calm(1e9), "before the first beat nothing is known"
    room.measure_lag(100.0)
    assert room.is_calm(100.0 + BEAT_S + 0.024)
    assert not room.is_calm(100.0 + BEAT_S + 0.026)
    room.measure_lag(100.2)
    assert room.late_s == pytest.approx(0.19)
    assert not room.is_calm(100.2), "half of 190 ms is still too much"
    now_s = 100.2
    for _ in range(3):
        now_s += BEAT_S
        room.measure_lag(now_s)
    assert room.is_calm(now_s)
    assert room.lag_lately_s > 0.1


def test_a_room_has_no_place_for_newcomers_while_somebody_waits(slots: SharedTable) -> None:
    async def main() -> None:
        room = Room(ServersSection(in_flight_max=3), row=1, slots=slots, clock=VirtualClock())
        assert room.newcomers_max == 3
        place = room.line.join()
        assert room.newcomers_max == 0
        assert room.is_full
        room.grant()
        assert place.holds_slot
        assert (room.newcomers_max, room.in_flight) == (2, 1)
        assert slots.get(1, "in_flight") == 1, "siblings see at once that it is nobody's any more"
        room.take_grant()
        assert (room.newcomers_max, room.in_flight) == (3, 0)

    asyncio.run(main())
    assert Room(ServersSection(in_flight_outer_max=7), row=0, slots=slots, clock=VirtualClock()).limit == 7


def test_a_limit_is_found_in_windows_from_the_slowness_of_each_route(
    slots: SharedTable, usage_table: SharedTable
) -> None:
    room = Room(ServersSection(), row=0, slots=slots, clock=VirtualClock())
    figures = Figures(SPILLING, Routes(SPILLING), UsageRow(usage_table, 0), None, None)
    gate = Clocked()

    def finish(path: str, took_s: float, times: int) -> None:
        for _ in range(times):
            exchange = Exchange(gate, {"method": "GET", "path": path}, done, gate.now_s() - took_s)
            exchange.status, exchange.last_body_s = 200, gate.now_s()
            exchange.forget_request(0.0, 0.0)
            figures.kept.append(exchange)

    def second(shares: tuple[int, int], took_s: tuple[float, float]) -> None:
        for _ in range(10):
            gate.clock.advance(0.1)
            finish("/fast", took_s[0], shares[0])
            finish("/slow", took_s[1], shares[1])
            room.running.update((exchange_with(gate), 0.0) for _ in range(room.limit))
            room.measure_lag(gate.now_s())
            room.running.clear()
            figures.fold(gate.now_s())
            room.find_limit(figures, gate.now_s())

    for _ in range(15):
        second((10, 1), (0.005, 0.5))
    grown = room.limit
    assert grown > 20
    for _ in range(15):
        second((1, 10), (0.005, 0.5))
    assert room.limit >= grown, "more slow requests than before is another mix, not more load"
    for _ in range(15):
        second((1, 10), (0.05, 5.0))
    assert room.limit < grown, "each route slower than it used to be is"
    assert room.newcomers_max == room.limit


async def done(_: Message) -> None:
    return None


# Spend


def limited(usd: float | None) -> Settings:
    return Settings(app=AppSection(spill=True), objective=ObjectiveSection(spend_usd_per_day_max=usd))


def test_a_gate_spends_no_more_than_its_lease_with_what_is_in_flight(
    slots: SharedTable, usage_table: SharedTable
) -> None:
    spend = Spend(limited(1.0), row=0, slots=slots, usage=UsageRow(usage_table, 0))
    assert not spend.allows(0.1), "no lease yet"
    slots.set(0, "lease_microusd", 3)  # 100 ms with 512 MB cost 0.87
    reserved = []
    while spend.allows(0.1):
        reserved.append(spend.reserve(0.1))
    assert len(reserved) == 3
    for sum_microusd in reserved:
        spend.settle(sum_microusd, 0.05)  # Half of what was feared: 0.53 each.
    assert slots.get(0, "spent_microusd") == 1
    assert spend.allows(0.1)
    counters = read_usage(usage_table).counters
    assert counters["spend_microusd"] == 1
    assert counters["spill_billed_ms"] == 150


def test_without_a_limit_no_lease_is_needed_and_all_is_counted(slots: SharedTable, usage_table: SharedTable) -> None:
    spend = Spend(limited(None), row=0, slots=slots, usage=UsageRow(usage_table, 0))
    for _ in range(1000):
        assert spend.allows(0.1)
        spend.settle(spend.reserve(0.1), 0.1)
    assert slots.get(0, "spent_microusd") == math.floor(1000 * (0.2 + 0.05 * 13.3334))


def test_a_run_that_never_started_costs_nothing(slots: SharedTable, usage_table: SharedTable) -> None:
    spend = Spend(limited(1.0), row=0, slots=slots, usage=UsageRow(usage_table, 0))
    slots.set(0, "lease_microusd", 1)
    spend.settle(spend.reserve(0.1), 0.0)
    assert spend.allows(0.1)
    assert read_usage(usage_table).counters["spill_billed_ms"] == 0


# Held bodies


def held_with(messages: list[Message], held_bytes: HeldBytes, bytes_max: int = 10) -> Held:
    forever = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        return messages.pop(0) if messages else await forever

    return Held({"headers": []}, receive, held_bytes, bytes_max)


async def read_all(receive: Callable[[], Awaitable[Message]]) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


def request_part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_held_body_is_given_again_as_it_came_and_forgotten() -> None:
    async def main() -> None:
        held_bytes = HeldBytes()
        held = held_with([request_part(b"abc", more=True), request_part(b"def", more=False)], held_bytes)
        await held.read()
        assert held.body == b"abcdef"
        assert held_bytes.taken == 6
        assert await read_all(held.receive) == b"abcdef"
        assert held_bytes.taken == 0
        held.close()

    asyncio.run(main())


def test_a_longer_body_is_read_no_further_than_needed_and_loses_nothing() -> None:
    async def main() -> None:
        held_bytes = HeldBytes()
        messages = [request_part(b"x" * 8, more=True) for _ in range(4)] + [request_part(b"end", more=False)]
        held = held_with(messages, held_bytes)
        await held.read()
        assert len(messages) == 3
        assert "spill_body_bytes_max = 10" in held.why_not_whole
        assert await read_all(held.receive) == b"x" * 32 + b"end"
        held.close()
        assert held_bytes.taken == 0

    asyncio.run(main())


def test_all_bodies_together_have_a_limit() -> None:
    async def main() -> None:
        held_bytes = HeldBytes()
        held_bytes.taken = HELD_BYTES_MAX
        held = held_with([request_part(b"abc", more=False)], held_bytes)
        await held.read()
        assert "are held already" in held.why_not_whole
        assert await read_all(held.receive) == b"abc"
        held.close()

    asyncio.run(main())


def test_a_client_that_goes_is_noticed_before_and_after_its_body() -> None:
    async def main() -> None:
        early = held_with([{"type": "http.disconnect"}], HeldBytes())
        await early.read()
        assert early.client_gone
        late = held_with([request_part(b"", more=False), {"type": "http.disconnect"}], HeldBytes())
        gone = asyncio.Event()
        late.when_gone(gone.set)
        await late.read()
        async with asyncio.timeout(5):
            await gone.wait()
        assert late.client_gone
        assert (await late.receive())["type"] == "http.request"
        assert (await late.receive())["type"] == "http.disconnect"
        late.close()
        early.close()

    asyncio.run(main())
