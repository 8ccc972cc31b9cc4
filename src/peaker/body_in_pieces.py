"""A body that arrives while it is read: bounded, with one writer that never waits and one reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HELD_BYTES_HIGH = 256 * 1024
"""With more than this unread, nothing more is taken from the connection."""


class BodyInPieces:
    """At most HELD_BYTES_HIGH and what was read from the connection at once is held."""

    def __init__(self, *, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._broken: Exception | None = None
        self._news = asyncio.Event()
        self.is_ended = False
        """All has come, or nothing more is wanted."""

    @property
    def is_read(self) -> bool:
        """All has come and was read."""
        return self.is_ended and not self._parts

    def feed(self, part: bytes) -> None:
        """This has come."""
        before, self._held_bytes = self._held_bytes, self._held_bytes + len(part)
        self._parts.append(part)
        if before <= HELD_BYTES_HIGH < self._held_bytes:
            self._pause()
        self._news.set()

    def end(self) -> None:
        """Nothing more comes."""
        self.is_ended = True
        self._news.set()

    def fail(self, error: Exception) -> None:
        """What should still come will not; the reader is told once it has read what came."""
        if not self.is_ended and self._broken is None:
            self._broken = error
            self._news.set()

    async def read(self) -> bytes:
        """All that has come since the last time, at least one byte; b"" at the end. Raises what `fail` was given."""
        while not self._parts:
            if self.is_ended:
                return b""
            if self._broken is not None:
                raise self._broken
            self._news.clear()
            await self._news.wait()
        body, self._parts = b"".join(self._parts), []
        held_bytes, self._held_bytes = self._held_bytes, 0
        if held_bytes > HELD_BYTES_HIGH:
            self._resume()
        return body
