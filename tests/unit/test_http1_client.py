"""The pooled client against real sockets and servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from peaker.http1 import Address, AnswerTimeout, EffectUnknown, NotSent, Pool, request_head

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Kind: Plain\r\n\r\nok"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer_each_head_with(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    while await reader.read(65536):
        writer.write(answer)
    writer.close()


def plain(answer: bytes) -> Handler:
    return lambda reader, writer: answer_each_head_with(reader, writer, answer)


async def served(handler: Handler, running: set[asyncio.Task[None]]) -> tuple[asyncio.Server, Address]:
    async def one_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        await handler(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(one_connection, "127.0.0.1", 0)
    return server, Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])


def get(path: str = "/") -> bytes:
    return request_head("GET", path, [("host", "test")], 0)


def with_pool(handler: Handler, use: Callable[[Pool], Awaitable[None]], **options: float) -> None:
    async def scenario() -> None:
        running: set[asyncio.Task[None]] = set()
        server, address = await served(handler, running)
        pool = Pool(address, **options)  # type: ignore[arg-type]
        try:
            await use(pool)
        finally:
            pool.close()
            server.close()
            await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(scenario())


def test_an_exchange_returns_status_headers_and_body() -> None:
    async def use(pool: Pool) -> None:
        answer = await pool.exchange(get(), timeout_s=5)
        assert (answer.status, answer.body, answer.headers["x-kind"]) == (200, b"ok", "Plain")

    with_pool(plain(OK), use)


def test_one_connection_serves_exchanges_that_follow_each_other() -> None:
    async def use(pool: Pool) -> None:
        for _ in range(5):
            await pool.exchange(get(), timeout_s=5)
        assert pool.open_connections == 1

    with_pool(plain(OK), use)


def test_exchanges_at_once_wait_for_a_connection_when_all_are_taken() -> None:
    async def use(pool: Pool) -> None:
        answers = await asyncio.gather(*(pool.exchange(get(), timeout_s=5) for _ in range(20)))
        assert [answer.status for answer in answers] == [200] * 20
        assert pool.open_connections <= 3

    with_pool(plain(OK), use, connections_max=3)


def test_no_connection_in_time_means_not_sent() -> None:
    arrived = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()

    async def use(pool: Pool) -> None:
        first = asyncio.ensure_future(pool.exchange(get(), timeout_s=5))
        await arrived.wait()
        with pytest.raises(NotSent, match="became free"):
            await pool.exchange(get(), timeout_s=0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    with_pool(silent, use, connections_max=1)


def test_a_missing_socket_means_not_sent_and_names_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = Pool(Address(unix=tmp_path / "absent.sock"))
        with pytest.raises(NotSent, match=r"absent\.sock"):
            await pool.exchange(get(), timeout_s=1)
        assert pool.open_connections == 0

    asyncio.run(scenario())


def test_a_connection_that_breaks_after_sending_leaves_the_effect_unknown() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def use(pool: Pool) -> None:
        with pytest.raises(EffectUnknown, match="broke"):
            await pool.exchange(get(), timeout_s=5)
        assert pool.open_connections == 0

    with_pool(hang_up, use)


def test_a_late_answer_is_a_timeout_and_its_connection_is_not_used_again() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def use(pool: Pool) -> None:
        with pytest.raises(AnswerTimeout):
            await pool.exchange(get(), timeout_s=0.05)
        assert pool.open_connections == 0

    with_pool(silent, use)


def test_a_cancelled_exchange_gives_its_connection_up() -> None:
    arrived = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        writer.close()

    async def use(pool: Pool) -> None:
        task = asyncio.ensure_future(pool.exchange(get(), timeout_s=5))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.open_connections == 0

    with_pool(silent, use)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx", b"x"),
    ],
    ids=["no content", "chunked", "closing"],
)
def test_every_way_a_body_ends_is_understood(answer: bytes, body: bytes) -> None:
    async def use(pool: Pool) -> None:
        assert (await pool.exchange(get(), timeout_s=5)).body == body
        assert (await pool.exchange(get(), timeout_s=5)).body == body

    with_pool(plain(answer), use)


def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    async def until_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        writer.close()

    async def use(pool: Pool) -> None:
        assert (await pool.exchange(get(), timeout_s=5)).body == b"all of it"

    with_pool(until_close, use)


def test_a_truncated_body_is_never_taken_for_a_whole_one() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        writer.close()

    async def use(pool: Pool) -> None:
        with pytest.raises(EffectUnknown):
            await pool.exchange(get(), timeout_s=5)

    with_pool(cut, use)


def test_an_interim_answer_is_not_the_answer() -> None:
    async def use(pool: Pool) -> None:
        answer = await pool.exchange(get(), timeout_s=5)
        assert (answer.status, answer.body) == (200, b"ok")

    with_pool(plain(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), use)


def test_the_answer_to_head_has_no_body_though_it_names_a_length() -> None:
    async def use(pool: Pool) -> None:
        head = request_head("HEAD", "/", [("host", "test")], 0)
        for _ in range(2):
            answer = await pool.exchange(head, timeout_s=5, is_head=True)
            assert (answer.status, answer.headers["content-length"], answer.body) == (200, "5000", b"")
        assert pool.open_connections == 1

    with_pool(plain(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"), use)


def test_what_is_not_http_is_said_so() -> None:
    async def use(pool: Pool) -> None:
        with pytest.raises(EffectUnknown, match="not HTTP"):
            await pool.exchange(get(), timeout_s=5)

    with_pool(plain(b"SSH-2.0-OpenSSH_9.2\r\n"), use)


def test_warm_opens_connections_ahead() -> None:
    async def use(pool: Pool) -> None:
        await pool.warm(4)
        assert pool.open_connections == 4
        await pool.exchange(get(), timeout_s=5)
        assert pool.open_connections == 4

    with_pool(plain(OK), use)


def test_a_connection_idle_for_too_long_is_replaced() -> None:
    connections: list[object] = []

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await answer_each_head_with(reader, writer, OK)

    async def use(pool: Pool) -> None:
        for _ in range(3):
            assert (await pool.exchange(get(), timeout_s=5)).status == 200
        assert (len(connections), pool.open_connections) == (3, 1)

    with_pool(counted, use, idle_s_max=0.0)
