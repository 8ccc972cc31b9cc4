import asyncio

import pytest

from peaker.http1 import Address, NoConnectionFree, Pool, request_head


@pytest.mark.parametrize(("oldest_first", "expected"), [(False, ["1", "1", "1"]), (True, ["0", "1", "0"])])
def test_idle_connections_are_taken_last_used_first_or_in_turn(oldest_first: bool, expected: list[str]) -> None:  # noqa: FBT001
    """Two connections are open and idle; three requests follow, one after the other."""

    async def run() -> list[str]:
        names = iter(("0", "1", "2"))
        connections: list[asyncio.StreamWriter] = []
        both_asked = asyncio.Barrier(2)
        first_answered = asyncio.Event()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            name = next(names)
            first = True
            while await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                if first:
                    await both_asked.wait()  # So that the second request needs a connection of its own.
                    first = False
                    if name == "1":
                        await first_answered.wait()  # Connection 1 is the one used last.
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-name: {name}\r\n\r\n".encode())

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        pool = Pool(
            Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]),
            connections_max=2,
            oldest_first=oldest_first,
        )
        head = request_head("GET", "/", [("host", "x")], 0)
        both = [asyncio.create_task(pool.exchange(head, timeout_s=5)) for _ in range(2)]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        first_answered.set()
        await asyncio.gather(*both)
        seen = [(await pool.exchange(head, timeout_s=5)).headers["x-name"] for _ in range(3)]
        pool.close()
        server.close()
        for writer in connections:
            writer.close()
            await writer.wait_closed()
        return seen

    assert asyncio.run(run()) == expected


def test_a_request_that_finds_every_connection_in_use_says_so() -> None:
    async def run() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        writers: list[asyncio.StreamWriter] = []

        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            begun.set()
            await ended.wait()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        pool = Pool(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), connections_max=1)
        head = request_head("GET", "/", [("host", "x")], 0)
        first = asyncio.create_task(pool.exchange(head, timeout_s=5))
        await begun.wait()
        with pytest.raises(NoConnectionFree):
            await pool.exchange(head, timeout_s=0.1)
        first.cancel()
        await asyncio.wait([first])
        ended.set()
        pool.close()
        server.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())
