"""The streaming example's store and its client, as processes and sockets."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "streaming"
sys.path.insert(0, str(EXAMPLE))  # As Peaker imports it: the app's modules stand beside each other.

from store_client import StoreClient, StoreError  # noqa: E402


@contextlib.contextmanager
def store(*options: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "store.py"), "--port", "0", *options], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


async def admin(address: str, command: str) -> Any:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"ADMIN {command}\n".encode())
    answer = (await reader.readline()).decode().strip()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith("OK"), answer
    return json.loads(answer[3:] or "null")


def test_queries_beyond_the_pool_wait_so_the_store_sees_no_more_connections_than_the_pool_has() -> None:
    async def run(address: str) -> dict[str, int]:
        client = StoreClient(address, pool_size=3)
        titles = await asyncio.gather(*(client.title(number) for number in range(12)))
        assert [title["id"] for title in titles if title] == list(range(12))
        assert await client.title(99_999) is None
        assert len(await client.page(2)) == 20
        stats = await admin(address, "STATS")
        await client.close()
        return dict(stats)

    with store("--base-ms", "10") as address:
        stats = asyncio.run(run(address))
    assert (stats["connections"], stats["connections_max"], stats["concurrency_max"]) == (3, 3, 3)
    assert stats["answered"] == 14


def test_the_store_refuses_connections_above_its_limit() -> None:
    async def run(address: str) -> None:
        clients = [StoreClient(address, pool_size=1) for _ in range(3)]
        results = await asyncio.gather(*(client.title(1) for client in clients), return_exceptions=True)
        refused = [result for result in results if isinstance(result, StoreError)]
        assert len(refused) == 1
        assert "too many connections" in str(refused[0])
        for client in clients:
            await client.close()

    with store("--base-ms", "100", "--connections-max", "2") as address:
        asyncio.run(run(address))


def test_the_store_becomes_slower_above_its_knee_and_when_told_to() -> None:
    async def run(address: str) -> None:
        client = StoreClient(address, pool_size=20)

        async def seconds(at_once: int) -> float:
            began = time.monotonic()
            await asyncio.gather(*(client.title(1) for _ in range(at_once)))
            return time.monotonic() - began

        await seconds(20)  # Opens the connections.
        alone, crowded = await seconds(1), await seconds(20)
        assert crowded > 2.5 * alone  # Four times the knee: the last of them takes four times as long.
        await admin(address, "SLOW 8 30")
        assert await seconds(1) > 4 * alone
        await client.close()

    with store("--base-ms", "20", "--knee", "5") as address:
        asyncio.run(run(address))


@pytest.mark.parametrize("line", ["DROP 1", "GET x", "GET -1", "LIST", "ADMIN SLOW a b", "ADMIN WHAT"])
def test_the_store_refuses_what_it_does_not_know(line: str) -> None:
    async def run(address: str) -> str:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(line.encode() + b"\n")
        answer = (await reader.readline()).decode()
        writer.close()
        await writer.wait_closed()
        return answer

    with store() as address:
        assert asyncio.run(run(address)).startswith("ERR ")


def test_a_store_that_is_gone_is_an_error_in_words() -> None:
    with store() as address:
        pass

    async def run() -> None:
        with pytest.raises(StoreError, match="did not answer"):
            await StoreClient(address, pool_size=1).title(1)

    asyncio.run(run())


def test_the_pool_size_comes_from_the_environment_peaker_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    with store("--base-ms", "20") as address:
        monkeypatch.setenv("STORE_ADDRESS", address)
        monkeypatch.setitem(os.environ, "PEAKER_RESOURCE_STORE_POOL", "2")

        async def run() -> dict[str, int]:
            client = StoreClient.from_environment()
            await asyncio.gather(*(client.title(1) for _ in range(8)))
            stats = await admin(address, "STATS")
            await client.close()
            return dict(stats)

        assert asyncio.run(run())["connections_max"] == 2
