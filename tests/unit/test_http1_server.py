"""The small server for whole exchanges, spoken to byte by byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from peaker.http1_server import HttpAnswer, HttpHandler, HttpLimits, HttpRequest, HttpServer

DEADLINE_S = 10.0
SMALL = HttpLimits(
    head_bytes_max=2000, body_bytes_max=1000, head_timeout_s=0.1, body_timeout_s=0.1, idle_s_max=0.1, connections_max=3
)


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


async def echo(request: HttpRequest) -> HttpAnswer:
    return HttpAnswer(status=200, headers=[("x-target", request.target)], body=request.body)


@asynccontextmanager
async def serving(
    handler: HttpHandler = echo, limits: HttpLimits | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(handler, limits=limits)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.listen(listener)
        try:
            yield server, listener.getsockname()[1]
        finally:
            await server.drain(1.0)


async def say(port: int, *parts: bytes) -> bytes:
    """Send, then read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def test_an_exchange_is_answered_whole_and_the_connection_kept(run: Any) -> None:
    async def main() -> None:
        async with serving() as (_, port):
            answer = await say(
                port,
                b"POST /a?b=%2F HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhe",
                b"llo",
                b"GET /second HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            )
            assert answer == (
                b"HTTP/1.1 200 OK\r\nx-target: /a?b=%2F\r\ncontent-length: 5\r\n\r\nhello"
                b"HTTP/1.1 200 OK\r\nx-target: /second\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )

    run(main())


def test_pipelined_requests_are_answered_in_order(run: Any) -> None:
    async def main() -> None:
        async def slower_at_first(request: HttpRequest) -> HttpAnswer:
            await asyncio.sleep(0.02 if request.target == "/1" else 0)
            return await echo(request)

        async with serving(slower_at_first) as (_, port):
            requests = b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % number for number in range(1, 6))
            answer = await say(port, requests + b"GET /end HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            found = [line for line in answer.split(b"\r\n") if line.startswith(b"x-target")]
            assert found == [b"x-target: /%d" % number for number in range(1, 6)] + [b"x-target: /end"]

    run(main())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: -4\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 2001 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 2001, 431),
        (b"GET /" + b"y" * 2001 + b" HTTP/1.1\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\ncontent-length: 1001\r\n\r\n" + b"z" * 1001, 413),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3E9\r\n" + b"z" * 1001 + b"\r\n0\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nhost", 408),
        (b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc", 408),
    ],
)
def test_a_bad_request_is_answered_with_its_reason(run: Any, sent: bytes, status: int) -> None:
    async def main() -> None:
        async with serving(limits=SMALL) as (_, port):
            answer = await say(port, sent)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert answer.count(b"\r\n\r\n") == 1
            assert b"connection: close" in answer

    run(main())


def test_a_connection_that_says_nothing_is_closed(run: Any) -> None:
    async def main() -> None:
        async with serving(limits=SMALL) as (_, port):
            assert await say(port) == b""
            assert (await say(port, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")).startswith(b"HTTP/1.1 200")

    run(main())


def test_an_upgrade_is_not_made_and_the_request_answered(run: Any) -> None:
    async def main() -> None:
        async with serving() as (_, port):
            answer = await say(
                port, b"GET /u HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nmore"
            )
            assert answer.startswith(b"HTTP/1.1 200 OK\r\nx-target: /u")
            assert answer.count(b"HTTP/1.1") == 1

    run(main())


def test_connections_over_the_limit_are_closed_and_the_others_served(run: Any) -> None:
    async def main() -> None:
        limits = HttpLimits(connections_max=2)
        async with serving(limits=limits) as (server, port):
            kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for reader, writer in kept:
                writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
            assert len(server.connections) == 2
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            for _, each in [*kept, (reader, writer)]:
                each.close()

    run(main())


def test_a_handler_hears_of_a_client_that_goes_away(run: Any) -> None:
    async def main() -> None:
        gone, begun = asyncio.Event(), asyncio.Event()

        async def wait(request: HttpRequest) -> HttpAnswer:
            request.on_gone = gone.set
            begun.set()
            await gone.wait()
            return HttpAnswer(status=200)

        async with serving(wait) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            await begun.wait()
            writer.transport.abort()
            await gone.wait()

    run(main())


def test_a_drain_finishes_what_was_begun_and_closes_what_is_idle(run: Any) -> None:
    async def main() -> None:
        release, begun = asyncio.Event(), asyncio.Event()

        async def wait(_: HttpRequest) -> HttpAnswer:
            begun.set()
            await release.wait()
            return HttpAnswer(status=200, body=b"whole")

        async with serving(wait) as (server, port):
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
            asked = asyncio.ensure_future(say(port, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"))
            await begun.wait()
            drained = asyncio.ensure_future(server.drain(5.0))
            assert await idle_reader.read() == b""
            assert not drained.done()
            release.set()
            assert (await asked).endswith(b"connection: close\r\n\r\nwhole")
            assert await drained
            idle_writer.close()

    run(main())


def test_a_draining_server_answers_the_request_that_was_on_its_way_and_closes_then(run: Any) -> None:
    async def main() -> None:
        async def answer(_: HttpRequest) -> HttpAnswer:
            return HttpAnswer(status=200, body=b"whole")

        async with serving(answer) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            request = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
            writer.write(request)
            assert b"connection: close" not in await reader.readuntil(b"whole")
            drained = asyncio.ensure_future(server.drain(10.0, idle_s=10.0))
            await asyncio.sleep(0)
            writer.write(request)
            assert b"connection: close" in await reader.read()
            assert await drained  # At once: nothing is open any more.
            writer.close()

    run(main())


def test_a_drain_cuts_off_at_its_limit(run: Any) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def never(_: HttpRequest) -> HttpAnswer:
            begun.set()
            await asyncio.Event().wait()
            return HttpAnswer(status=200)

        async with serving(never) as (server, port):
            asked = asyncio.ensure_future(say(port, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"))
            await begun.wait()
            assert not await server.drain(0.05)
            (answer,) = await asyncio.gather(asked, return_exceptions=True)
            assert answer == b"" or isinstance(answer, ConnectionError)

    run(main())


def test_a_handler_that_fails_answers_500_and_logs_it(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def fail(_: HttpRequest) -> HttpAnswer:
            raise ValueError("no such thing")

        async with serving(fail) as (_, port):
            answer = await say(port, b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert "no such thing" in caplog.text

    run(main())
