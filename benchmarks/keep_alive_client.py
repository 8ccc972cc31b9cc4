"""Keep-alive connections for load generators: one request at a time each, answers timed, nothing retried."""

from __future__ import annotations

import asyncio
import time

import httptools


class Connection(asyncio.Protocol):
    """One connection; httptools calls the `on_` methods."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[int] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.body = b""

    @classmethod
    async def open(cls, port: int) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, request: bytes) -> int:
        """Status of the answer; raises ConnectionError where there is none."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self.body = b""
        self._transport.write(request)
        return await self._answered

    async def timed(self, request: bytes) -> float:
        """Seconds from the first byte sent to the last received; raises ConnectionError for any status but 200."""
        began_s = time.perf_counter()
        status = await self.ask(request)
        if status != 200:
            raise ConnectionError(f"status {status}: {self.body[:200]!r}")
        return time.perf_counter() - began_s

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionError(f"closed: {error}"))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(self._parser.get_status_code())


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode()


def percentile(values: list[float], fraction: float) -> float:
    """The smallest value that this fraction of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]
