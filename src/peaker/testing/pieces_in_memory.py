"""A streamed answer without a connection: what a client reads of it, on any loop and clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from peaker import http1


class PiecesInMemory:
    """`gate.streamed_reply.OpenedBody` over the pieces of a `StreamedAnswer`; one is held, as a socket holds some.

    Args:
        pieces: closed when the client goes.
        deadline_s: time of the loop at which the answer must be whole.
        on_gone: called when the client goes.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], deadline_s: float, *, on_gone: Callable[[], object] = lambda: None
    ) -> None:
        self._deadline_s = deadline_s
        self._on_gone = on_gone
        self._held: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._is_closed = False
        self._pump = asyncio.ensure_future(self._hand_on(pieces))

    async def _hand_on(self, pieces: AsyncGenerator[bytes, None]) -> None:
        try:
            async for piece in pieces:
                await self._held.put(piece)
        finally:
            await pieces.aclose()
        await self._held.put(b"")

    async def read(self) -> bytes:
        """The next piece, b"" at the end; raises `http1.AnswerTimeout` at the deadline."""
        if self._is_closed or (self._pump.done() and self._held.empty()):
            return b""
        try:
            async with asyncio.timeout_at(self._deadline_s):
                return await self._held.get()
        except TimeoutError:
            self.close()
            raise http1.AnswerTimeout("no whole answer came in time.") from None

    def close(self) -> None:
        """The client goes; who waits in `read` goes on."""
        if not self._is_closed:
            self._is_closed = True
            self._on_gone()
        self._pump.cancel()
        if self._held.empty():
            self._held.put_nowait(b"")
