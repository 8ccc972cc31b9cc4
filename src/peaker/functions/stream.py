"""A streamed response inside the function host: bounded, between the instance that writes it and the caller who reads.

What runs an invocation (`RunningInstance.run`) takes a `ResponseStream` and tells it what the function writes:
`connect` when it begins, `begin`, `feed` for each piece, and `finish` at its end, from where on the source may run
another. A function that does not stream returns one result and feeds nothing. While the caller is slow the source is
paused, which blocks the function in its own send; when the caller goes, the source is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from peaker.wire.response_stream import STREAM_BYTES_MAX

HELD_BYTES_HIGH = 256 * 1024
"""Above this the source is paused, below half of it goes on."""


class Source(Protocol):
    """Where a streamed response comes from: an instance."""

    def pause(self) -> None:
        """Read nothing more of it; what was read already may still be fed."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def tell_gone(self) -> None:
        """Nobody reads the response any more: the function may end early. It is read on, into nothing."""
        ...


class ResponseStream:
    """One response; of its `bytes_max` bytes at most HELD_BYTES_HIGH and what the source reads at a time are held."""

    def __init__(self, *, bytes_max: int = STREAM_BYTES_MAX) -> None:
        self.content_type = ""
        """What the function says it writes; "" where it does not stream."""
        self.bytes_fed = 0
        self.held_bytes = 0
        self.held_bytes_peak = 0
        self.is_begun = False
        self.is_abandoned = False
        self.is_too_large = False
        self._bytes_max = bytes_max
        self._chunks: deque[bytes] = deque()
        self._source: Source | None = None
        self._is_paused = False
        self._is_finished = False
        self._news = asyncio.Event()

    # The source's side.

    def connect(self, source: Source) -> None:
        """The invocation runs there."""
        self._source = source
        if self.is_abandoned:
            source.tell_gone()

    def begin(self, content_type: str) -> None:
        """The function begins to write."""
        self.is_begun = True
        self.content_type = content_type
        self._news.set()

    def feed(self, chunk: bytes) -> None:
        """The function wrote this; never waits."""
        self.is_begun = True
        if self.is_abandoned or self.is_too_large or not chunk:
            return
        self.bytes_fed += len(chunk)
        if self.bytes_fed > self._bytes_max:
            self._overflow()
            return
        self._chunks.append(chunk)
        self.held_bytes += len(chunk)
        self.held_bytes_peak = max(self.held_bytes_peak, self.held_bytes)
        if self.held_bytes > HELD_BYTES_HIGH and not self._is_paused and self._source is not None:
            self._is_paused = True
            self._source.pause()
        self._news.set()

    def finish(self) -> None:
        """The invocation has ended, in whatever way; its outcome is told elsewhere."""
        self._is_finished = True
        self._go_on()
        self._source = None
        self._news.set()

    # The caller's side.

    async def wait_begun(self) -> None:
        """Return when the function has begun to write, or ended without."""
        while not (self.is_begun or self._is_finished or self.is_abandoned):
            await self._wait()

    async def read(self) -> bytes:
        """The next piece; b"" when there is none to come, because it has ended, is too large or was abandoned."""
        while not self._chunks:
            if self._is_finished or self.is_abandoned or self.is_too_large:
                return b""
            await self._wait()
        chunk = self._chunks.popleft()
        self.held_bytes -= len(chunk)
        if self._is_paused and self.held_bytes <= HELD_BYTES_HIGH // 2:
            self._go_on()
        return chunk

    def abandon(self) -> None:
        """The caller has gone."""
        if not self.is_abandoned:
            self.is_abandoned = True
            self._discard()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _overflow(self) -> None:
        self.is_too_large = True
        self._discard()

    def _discard(self) -> None:
        if self.is_abandoned:
            self._chunks.clear()
            self.held_bytes = 0
        if self._source is not None:
            self._source.tell_gone()
        self._go_on()
        self._news.set()

    def _go_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            if self._source is not None:
                self._source.resume()
