"""Answers in pieces: the small server gives them, the pooled client reads them, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from peaker.http1 import Address, AnswerTimeout, EffectUnknown, Pool, request_head
from peaker.http1_server import HttpAnswer, HttpRequest, HttpServer, StreamedAnswer

DEADLINE_S = 10.0
PIECE = bytes(100_000)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def run_on_loop(main: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(DEADLINE_S):
                await main

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return run_on_loop


class Pieces:
    """What a handler answers with: by the path, and what became of it."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.given_bytes = 0
        self.ended = asyncio.Event()
        self.requests: list[HttpRequest] = []

    async def answer(self, request: HttpRequest) -> HttpAnswer | StreamedAnswer:
        self.requests.append(request)
        if request.target == "/whole":
            return HttpAnswer(status=200, body=b"whole")
        pieces = {"/waits": self.waits, "/endless": self.endless, "/fails": self.fails}[request.target]
        return StreamedAnswer(status=200, headers=[("x-kind", "streamed")], pieces=pieces())

    async def waits(self) -> AsyncGenerator[bytes, None]:
        yield b"first "
        await self.may_go_on.wait()
        yield b""
        yield b"last"

    async def endless(self) -> AsyncGenerator[bytes, None]:
        try:
            while self.given_bytes < 1_000_000_000:
                self.given_bytes += len(PIECE)
                yield PIECE
        finally:
            self.ended.set()

    async def fails(self) -> AsyncGenerator[bytes, None]:
        yield b"first "
        raise RuntimeError("in the middle")


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Pieces, Pool, int]]:
    pieces = Pieces()
    server = HttpServer(pieces.answer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.listen(listener)
        port = listener.getsockname()[1]
        pool = Pool(Address(host="127.0.0.1", port=port))
        try:
            yield pieces, pool, port
        finally:
            pool.close()
            await server.drain(1.0)


def get(path: str) -> bytes:
    return request_head("GET", path, [("host", "test")], 0)


async def rest(read: Callable[[], Awaitable[bytes]]) -> bytes:
    found = b""
    while part := await read():
        found += part
    return found


def test_a_piece_is_read_before_the_next_is_made_and_the_connection_serves_on(run: Any) -> None:
    async def scenario() -> None:
        async with serving() as (pieces, pool, _):
            for _ in range(2):
                pieces.may_go_on.clear()
                answer = await pool.open(get("/waits"), timeout_s=5)
                assert (answer.status, answer.headers["x-kind"]) == (200, "streamed")
                assert await answer.read() == b"first "
                pieces.may_go_on.set()
                assert await rest(answer.read) == b"last"
                answer.close()
                assert await answer.read() == b""
            assert (await pool.exchange(get("/whole"), timeout_s=5)).body == b"whole"
            assert pool.open_connections == 1

    run(scenario())


def test_a_whole_answer_can_be_opened_too(run: Any) -> None:
    async def scenario() -> None:
        async with serving() as (_, pool, _):
            answer = await pool.open(get("/whole"), timeout_s=5)
            assert await rest(answer.read) == b"whole"
            answer.close()

    run(scenario())


def test_a_reader_that_leaves_ends_the_pieces_and_costs_the_connection(run: Any) -> None:
    async def scenario() -> None:
        async with serving() as (pieces, pool, _):
            answer = await pool.open(get("/endless"), timeout_s=5)
            assert await answer.read()
            answer.close()
            await pieces.ended.wait()
            assert pool.open_connections == 0

    run(scenario())


def test_who_waits_for_more_goes_on_when_the_answer_is_closed(run: Any) -> None:
    async def scenario() -> None:
        async with serving() as (_, pool, _):
            answer = await pool.open(get("/waits"), timeout_s=5)
            assert await answer.read() == b"first "
            reading = asyncio.ensure_future(answer.read())
            await asyncio.sleep(0)
            answer.close()
            assert await reading == b""

    run(scenario())


def test_a_reader_that_does_not_read_holds_the_pieces_back(run: Any) -> None:
    """What is given stands still at what two sockets and two bounded buffers hold."""

    async def scenario() -> None:
        async with serving() as (pieces, pool, _):
            answer = await pool.open(get("/endless"), timeout_s=5)
            given_bytes = -1
            while given_bytes != pieces.given_bytes:
                given_bytes = pieces.given_bytes
                await asyncio.sleep(0.1)
            assert 0 < given_bytes < 20_000_000
            while pieces.given_bytes == given_bytes:
                assert await answer.read()
            answer.close()

    run(scenario())


def test_an_answer_that_breaks_off_is_never_taken_for_the_whole(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving() as (_, pool, _):
            answer = await pool.open(get("/fails"), timeout_s=5)
            with pytest.raises(EffectUnknown):
                await rest(answer.read)
            answer.close()
            assert pool.open_connections == 0

    run(scenario())
    assert "broke off" in caplog.text


def test_an_answer_that_takes_too_long_is_given_up(run: Any) -> None:
    async def scenario() -> None:
        async with serving() as (_, pool, _):
            answer = await pool.open(get("/waits"), timeout_s=0.1)
            with pytest.raises(AnswerTimeout):
                await rest(answer.read)
            answer.close()

    run(scenario())


def test_an_old_client_gets_the_pieces_until_the_connection_ends(run: Any) -> None:
    """HTTP/1.0 has no chunks."""

    async def scenario() -> None:
        async with serving() as (pieces, _, port):
            pieces.may_go_on.set()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /waits HTTP/1.0\r\n\r\n")
            head, body = (await reader.read()).split(b"\r\n\r\n")
            assert b"transfer-encoding" not in head
            assert b"connection: close" in head
            assert body == b"first last"
            writer.close()

    run(scenario())


def test_the_next_request_of_a_connection_is_answered_behind_a_stream(run: Any) -> None:
    async def scenario() -> None:
        async with serving() as (pieces, _, port):
            pieces.may_go_on.set()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/waits") + get("/whole"))
            found = await reader.readuntil(b"whole")
            assert found.index(b"last") < found.index(b"whole")
            assert b"\r\n0\r\n\r\nHTTP/1.1 200" in found
            writer.close()

    run(scenario())
