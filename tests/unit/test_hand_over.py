"""A request given to a sibling over a unix socket: both ends, real sockets, an app of a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from peaker.asgi import ASGIApp, Message, Receive, Scope, Send
from peaker.clock import VirtualClock
from peaker.gate.frames import FRAME_BYTES_MAX, Kind, Link, decode_request, encode_request, has_body
from peaker.gate.hand_over import SiblingFailed, SiblingLinks
from peaker.gate.neighbours import Neighbourhood
from peaker.gate.slots import WorkerStatus, create_slot_table
from peaker.gate.take_in import HandOverServer
from peaker.shared_table import SharedTable

DEADLINE_S = 10.0
STATE = {"pool": "the sibling's own"}


def scope_of(*headers: tuple[bytes, bytes], **other: Any) -> Scope:
    """As uvicorn 0.54 makes it, unusual values included."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 54321),
        "scheme": "https",
        "root_path": "",
        "headers": [(b"host", b"example.org"), (b"x-bytes", b"\xe9\xff"), (b"x-bytes", b"again"), *headers],
        "state": {"pool": "the origin's own"},
        "method": "POST",
        "path": "/caf\u00e9",
        "raw_path": b"/caf%C3%A9",
        "query_string": b"a=1&a=2&%FF",
        **other,
    }


class Client:
    """The origin's `receive` and `send`, in place of uvicorn's."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts) or [b""]
        self.gone = asyncio.Event()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.received_calls = 0
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        self.received_calls += 1
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.may_send.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


class Pair:
    """An origin's links and the sibling of row 1, with `slots` slots."""

    def __init__(self, links: SiblingLinks, server: HandOverServer, table: SharedTable) -> None:
        self.links, self.server, self.table = links, server, table

    async def give(self, scope: Scope, client: Client, row: int = 1) -> bool:
        async with asyncio.timeout(DEADLINE_S):
            return await self.links.hand_over(row, scope, client.receive, client.send)


@contextlib.asynccontextmanager
async def pair(folder: Path, app: ASGIApp, *, slots: int = 8) -> AsyncIterator[Pair]:
    running = 0

    def admit(scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        return None if running >= slots else run(scope, receive, send)

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        running += 1
        try:
            await app(scope, receive, send)
        finally:
            running -= 1

    table = create_slot_table(folder / "slots.table", 4)
    server = HandOverServer(admit, STATE)
    await server.start(folder / "over-1.sock")
    neighbours = Neighbourhood(table, row=0, generation=1, clock=VirtualClock(), lag_ms_max=25)
    links = SiblingLinks(neighbours, lambda row: folder / f"over-{row}.sock", random.Random(1))
    try:
        yield Pair(links, server, table)
    finally:
        links.close()
        server.cancel()
        server.close()
        table.close()


async def answer(send: Send, body: bytes = b"", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-a", b"1"), (b"x-a", b"\xff")]})
    await send({"type": "http.response.body", "body": body})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - conditions of the other side
            await asyncio.sleep(0.001)


def test_the_sibling_sees_the_same_scope_but_its_own_lifespan_state(tmp_path: Path) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope)
        await answer(send, b"hello", 207)

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            for scope in (scope_of(), scope_of(extensions={"http.response.debug": {}}), scope_of(client=None)):
                client = Client()
                assert await both.give(scope, client)
                assert seen.pop() == {**scope, "state": STATE}
                assert client.sent[0]["status"] == 207
                assert list(client.sent[0]["headers"]) == [(b"x-a", b"1"), (b"x-a", b"\xff")]
                assert client.body == b"hello"

    asyncio.run(run())


def test_what_an_app_puts_into_its_state_stays_with_that_request(tmp_path: Path) -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        assert "mine" not in scope["state"]
        scope["state"]["mine"] = 1
        await answer(send)

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            for _ in range(2):
                client = Client()
                assert await both.give(scope_of(), client)
                assert client.sent[0]["status"] == 200

    asyncio.run(run())


def test_a_full_sibling_leaves_the_request_untouched(tmp_path: Path) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("the app must not begin")

    async def run() -> None:
        async with pair(tmp_path, app, slots=0) as both:
            client = Client(b"a body")
            assert not await both.give(scope_of((b"content-length", b"6")), client)
            assert client.received_calls == 0
            assert client.sent == []

    asyncio.run(run())


def test_a_draining_sibling_refuses_and_finishes_what_it_has(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await go_on.wait()
        await answer(send, b"finished")

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            first = Client()
            running = asyncio.create_task(both.give(scope_of(), first))
            await until(lambda: len(both.server.tasks) == 1)
            both.server.refuses = True
            assert not await both.give(scope_of(), Client())
            go_on.set()
            assert await running
            assert first.body == b"finished"
            await both.server.wait_until_idle()

    asyncio.run(run())


def test_a_sibling_that_is_gone_is_a_full_one(tmp_path: Path) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None: ...

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            assert not await both.give(scope_of(), Client(), row=3)

    asyncio.run(run())


def test_a_large_upload_arrives_whole_and_is_never_held_whole(tmp_path: Path) -> None:
    """50 MB in pieces of 64 KB; the app is slow to start, so most of it has to wait at the origin."""
    piece, pieces = b"p" * 65_536, 800
    received = 0
    most_ahead = 0
    begun = asyncio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal received
        message = await receive()
        await begun.wait()
        while True:
            received += len(message["body"])
            if not message["more_body"]:
                break
            message = await receive()
        await answer(send, str(received).encode())

    class Uploader(Client):
        async def receive(self) -> Message:
            nonlocal most_ahead
            most_ahead = max(most_ahead, self.received_calls * len(piece) - received)
            return await super().receive()

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Uploader(*[piece] * pieces)
            task = asyncio.create_task(both.give(scope_of((b"transfer-encoding", b"chunked")), client))
            before = -1
            while before != client.received_calls:  # Until back-pressure has stopped the upload.
                before = client.received_calls
                await asyncio.sleep(0.05)
            begun.set()
            assert await task
            assert client.body == str(len(piece) * pieces).encode()
            assert most_ahead < 4 * 1024 * 1024

    asyncio.run(run())


def test_a_large_response_waits_for_a_slow_client(tmp_path: Path) -> None:
    """The app cannot run ahead of a client that does not read, and the client gets every byte in the end."""
    piece, pieces = b"r" * 65_536, 400
    sent = 0

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Client()
            client.may_send.clear()
            task = asyncio.create_task(both.give(scope_of(), client))
            await until(lambda: sent > 0)
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.05)
            assert sent * len(piece) < 4 * 1024 * 1024
            client.may_send.set()
            assert await task
            assert client.body == piece * pieces

    asyncio.run(run())


def test_one_huge_body_message_travels_in_pieces(tmp_path: Path) -> None:
    huge = bytes(range(256)) * (3 * FRAME_BYTES_MAX // 256)

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await answer(send, body)

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Client(huge)
            assert await both.give(scope_of((b"content-length", str(len(huge)).encode())), client)
            assert client.body == huge

    asyncio.run(run())


def test_pieces_flow_both_ways_at_once(tmp_path: Path) -> None:
    """Each piece comes back before the next one is sent."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": more})

    class Conversation(Client):
        async def receive(self) -> Message:
            if self.received_calls:
                await until(lambda: len(self.sent) > self.received_calls)
            return await super().receive()

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Conversation(b"one", b"two", b"three")
            assert await both.give(scope_of((b"transfer-encoding", b"chunked")), client)
            assert [message["body"] for message in client.sent[1:]] == [b"ONE", b"TWO", b"THREE"]

    asyncio.run(run())


def test_the_app_hears_of_a_client_that_goes_away_only_if_it_listens(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Client()
            task = asyncio.create_task(both.give(scope_of(), client))
            await until(lambda: client.received_calls == 2)
            client.gone.set()
            await asyncio.wait_for(heard.wait(), DEADLINE_S)
            with pytest.raises(SiblingFailed):  # As here: the app ended without a response.
                await task

    asyncio.run(run())


def test_an_origin_that_is_cancelled_tells_the_sibling(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.set()

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Client()
            task = asyncio.create_task(both.give(scope_of(), client))
            await until(lambda: client.received_calls == 2)
            task.cancel()
            await asyncio.wait_for(heard.wait(), DEADLINE_S)
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


def test_an_app_that_fails_there_fails_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ValueError("on purpose")

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Client()
            with pytest.raises(SiblingFailed):
                await both.give(scope_of(), client)
            assert client.sent == []

    asyncio.run(run())
    assert "on purpose" in caplog.text


def test_a_sibling_that_dies_before_its_response_answers_502_once(tmp_path: Path) -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        await asyncio.Event().wait()

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Client()
            task = asyncio.create_task(both.give(scope_of(), client))
            await until(lambda: len(both.server.tasks) == 1)
            both.server.close()
            assert await task
            assert [message.get("status") for message in client.sent] == [502, None]

    asyncio.run(run())


def test_a_sibling_that_dies_in_its_response_breaks_the_response_off(tmp_path: Path) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.Event().wait()

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            client = Client()
            task = asyncio.create_task(both.give(scope_of(), client))
            await until(lambda: len(client.sent) == 2)
            both.server.close()
            with pytest.raises(SiblingFailed):
                await task
            assert len(client.sent) == 2

    asyncio.run(run())


def test_connections_are_used_again_and_stay_in_step(tmp_path: Path) -> None:
    """Early answers, unread bodies and plain requests in turn: each gets its own answer, on few connections."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/reads-a-part":
            await receive()
        await answer(send, scope["path"].encode())

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            for path in ("/plain", "/never-reads", "/reads-a-part", "/plain") * 5:
                parts = [b"x" * 300_000] * 4 if path != "/plain" else []
                headers = [(b"transfer-encoding", b"chunked")] if parts else []
                client = Client(*parts)
                assert await both.give(scope_of(*headers, path=path), client)
                assert client.body == path.encode()
            plain = [Client() for _ in range(40)]
            assert all(await asyncio.gather(*(both.give(scope_of(path="/many"), client) for client in plain[:8])))

    asyncio.run(run())


def test_messages_out_of_order_fail_as_they_do_in_the_server(tmp_path: Path) -> None:
    errors: list[str] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError) as body_first:
            await send({"type": "http.response.body", "body": b""})
        await answer(send)
        with pytest.raises(RuntimeError) as after_end:
            await send({"type": "http.response.body", "body": b""})
        errors.extend((str(body_first.value), str(after_end.value)))

    async def run() -> None:
        async with pair(tmp_path, app) as both:
            assert await both.give(scope_of(), Client())
            await both.server.wait_until_idle()

    asyncio.run(run())
    assert "Expected ASGI message 'http.response.start'" in errors[0]
    assert "after response already completed" in errors[1]


def test_only_ready_siblings_of_the_same_code_that_have_beaten_of_late_are_asked(tmp_path: Path) -> None:
    clock = VirtualClock(now_s=100.0)
    table = create_slot_table(tmp_path / "slots.table", 8)
    neighbours = Neighbourhood(table, row=0, generation=2, clock=clock, lag_ms_max=25)
    links = SiblingLinks(neighbours, lambda row: tmp_path / str(row), random.Random(1))
    good = {"pid": 1, "status": 2, "generation": 2, "slots": 4, "in_flight": 1, "heartbeat_ms": 99_990, "lag_us": 900}
    rows: list[dict[str, int]] = [
        {**good, "slots": 99},  # Its own row.
        good,
        {**good, "slots": 5, "status": WorkerStatus.DRAINING},
        {**good, "slots": 5, "generation": 1},
        {**good, "slots": 5, "heartbeat_ms": 99_000},
        {**good, "slots": 5, "lag_us": 26_000},
        {**good, "in_flight": 4},
    ]
    for row, cells in enumerate(rows):
        for name, value in cells.items():
            table.set(row, name, value)
    neighbours.refresh()
    assert links.find_free() == 1
    table.set(1, "in_flight", 4)
    assert links.find_free() is None
    table.set(2, "status", WorkerStatus.READY)
    assert links.find_free() == 2
    clock.advance(1.0)
    assert links.find_free() is None
    table.close()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"00")], False),
        ([(b"content-length", b"10")], True),
        ([(b"transfer-encoding", b"chunked")], True),
    ],
)
def test_a_body_is_expected_where_the_head_says_so(headers: list[tuple[bytes, bytes]], expected: bool) -> None:  # noqa: FBT001
    assert has_body({"headers": headers}) is expected


def test_the_largest_head_that_settings_allow_fits_a_frame() -> None:
    scope = scope_of((b"x-large", b"\xff" * 1_048_576))
    payload = encode_request(scope, body=False)
    assert len(payload) < FRAME_BYTES_MAX
    assert decode_request(payload)[0]["headers"] == scope["headers"]


def test_frames_are_cut_wherever_the_reads_fall() -> None:
    frames = [(Kind.BODY, b"abc"), (Kind.END, b""), (Kind.START, json.dumps({"status": 200}).encode())]
    stream = b"".join(bytes([kind]) + len(payload).to_bytes(4, "big") + payload for kind, payload in frames)

    class Collecting(Link):
        def __init__(self) -> None:
            super().__init__()
            self.frames: list[tuple[int, bytes]] = []

        def frame_received(self, kind: int, payload: bytes) -> None:
            self.frames.append((kind, payload))

    for step in range(1, len(stream) + 1):
        link = Collecting()
        for start in range(0, len(stream), step):
            link.data_received(stream[start : start + step])
        assert link.frames == frames
