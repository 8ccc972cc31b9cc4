"""What a frame there and back between two event loops costs on this machine: the least that a hand-over can add."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

FRAME = b"x" * 600
"""About the size of a request's head as it travels."""


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


class Asker(Echo):
    def data_received(self, _: bytes) -> None:
        self.answered.set_result(None)

    async def ask(self) -> float:
        self.answered = asyncio.get_running_loop().create_future()
        began_s = time.perf_counter()
        self._transport.write(FRAME)  # type: ignore[attr-defined]
        await self.answered
        return time.perf_counter() - began_s


def serve(path: str) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Echo, path)
        await server.serve_forever()

    uvloop.run(run())


async def round_trip_ms(rounds: int = 3000) -> float:
    """Median of `rounds` round trips over a unix socket, one at a time, the first half not counted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "echo.sock"
        other = multiprocessing.get_context("spawn").Process(target=serve, args=(str(path),), daemon=True)
        other.start()
        try:
            while not path.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
            _, asker = await asyncio.get_running_loop().create_unix_connection(Asker, str(path))
            return statistics.median([await asker.ask() for _ in range(rounds)][rounds // 2 :]) * 1e3
        finally:
            other.terminate()
            other.join()
