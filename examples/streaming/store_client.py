"""The app's connections to its store: opened when first needed, never more than this process may have."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import Any

ADDRESS = "STORE_ADDRESS"
POOL_SIZE = "PEAKER_RESOURCE_STORE_POOL"
"""Peaker sets it for each process, from [[resource]] in peaker.toml: per_worker in a worker, per_instance in an
instance. Without Peaker the app has four connections."""


class StoreError(Exception):
    """The store did not answer, or refused."""


class StoreClient:
    """Belongs to one event loop; queries beyond the number of connections wait for one."""

    def __init__(self, address: str, pool_size: int, timeout_s: float = 20.0) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._timeout_s = timeout_s
        self._room = asyncio.Semaphore(pool_size)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @classmethod
    def from_environment(cls) -> StoreClient:
        return cls(os.environ.get(ADDRESS, "127.0.0.1:7400"), int(os.environ.get(POOL_SIZE, "4")))

    async def title(self, number: int) -> dict[str, Any] | None:
        """One title, None if there is none of this number."""
        return await self._ask(f"GET {number}")

    async def page(self, number: int) -> list[dict[str, Any]]:
        """The titles of one page of the catalogue."""
        return await self._ask(f"LIST {number}") or []

    async def close(self) -> None:
        """Close what is idle; called when no query is running."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _ask(self, line: str) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s), self._room:
                answer = await self._exchange(line)
        except (OSError, TimeoutError) as error:
            raise StoreError(f"the store did not answer: {error or 'timed out'}") from error
        if answer == "NONE":
            return None
        if not answer.startswith("OK "):
            raise StoreError(f"the store refused: {answer or 'it closed the connection'}")
        return json.loads(answer[3:])

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()  # The store has closed it while it was idle.
        return await asyncio.open_connection(self._host, self._port)

    async def _exchange(self, line: str) -> str:
        reader, writer = await self._connection()
        keep = False
        try:
            writer.write(line.encode() + b"\n")
            answer = (await reader.readline()).decode()
            keep = answer.endswith("\n") and not answer.startswith("ERR")
            return answer.strip()
        finally:
            if keep:
                self._idle.append((reader, writer))
            else:
                writer.close()
