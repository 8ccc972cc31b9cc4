"""A request that has to wait or may be spilled: its body, and whether its client is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peaker.asgi import Message, Receive, Scope

HELD_BYTES_MAX = 64 * 1024 * 1024
"""Bodies that one gate holds in memory, all together; with more, further requests with a body stay on the servers."""


class HeldBytes:
    """How much of HELD_BYTES_MAX is taken."""

    def __init__(self) -> None:
        self.taken = 0


class Held:
    """Reads the body once and gives it again: to a function, or to the app when the request stays after all.

    A body is read up to `bytes_max`; one that is longer stays where it is, partly read, and reaches the app through
    `receive` without loss. Once the body is whole, the only news the server can have is that the client has gone.
    """

    def __init__(self, scope: Scope, receive: Receive, held_bytes: HeldBytes, bytes_max: int) -> None:
        self._scope = scope
        self._receive = receive
        self._held_bytes = held_bytes
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self._is_whole = False
        self._is_given = True
        self._watch: asyncio.Task[Message] | None = None
        self._on_gone: Callable[[], None] | None = None
        self.is_read = False
        self.client_gone = False
        self.why_not_whole = ""

    @property
    def body(self) -> bytes:
        """The whole body; only meaningful while `why_not_whole` is empty."""
        return b"".join(self._parts)

    async def read(self) -> None:
        """Read the body, as far as it may be held; sets `client_gone` or `why_not_whole` where that fails."""
        self.is_read = True
        self.why_not_whole = self._why_not_begin()
        while not (self.why_not_whole or self._is_whole or self.client_gone):
            message = await self._receive()
            if message["type"] != "http.request":
                self.client_gone = True
                return
            self._take(message)
        if self._is_whole:
            self._watch = asyncio.ensure_future(self._receive())
            self._watch.add_done_callback(self._gone)

    async def receive(self) -> Message:
        """What the app gets for `receive`: first what was read, then what comes."""
        if not self._is_given:
            self._is_given = True
            body, more = self.body, not self._is_whole
            self._forget_body()
            return {"type": "http.request", "body": body, "more_body": more}
        if self._watch is not None:
            # Shielded: an app that gives up waiting for a disconnect may ask again.
            return await asyncio.shield(self._watch)
        return await self._receive()

    def when_gone(self, call: Callable[[], None] | None) -> None:
        """Call this once when the client goes."""
        self._on_gone = call

    def close(self) -> None:
        """Nothing more is wanted of this request."""
        self._on_gone = None
        self._forget_body()
        if self._watch is not None and not self._watch.done():
            self._watch.cancel()

    def _why_not_begin(self) -> str:
        for name, value in self._scope["headers"]:
            if name == b"content-length" and not (value.isdigit() and int(value) <= self._bytes_max):
                return f"its body is longer than spill_body_bytes_max = {self._bytes_max}"
            if name == b"expect":
                return "it expects an interim answer"
        return ""

    def _take(self, message: Message) -> None:
        body = message.get("body", b"")
        self._parts.append(body)
        self._size += len(body)
        self._held_bytes.taken += len(body)
        self._is_given = False
        self._is_whole = not message.get("more_body", False)
        if self._size > self._bytes_max:
            self.why_not_whole = f"its body is longer than spill_body_bytes_max = {self._bytes_max}"
        elif self._held_bytes.taken > HELD_BYTES_MAX:
            self.why_not_whole = f"bodies of {HELD_BYTES_MAX} bytes are held already"

    def _forget_body(self) -> None:
        self._held_bytes.taken -= self._size
        self._size = 0
        self._parts = []

    def _gone(self, watch: asyncio.Task[Message]) -> None:
        if watch.cancelled():
            return
        self.client_gone = True
        if self._on_gone is not None:
            self._on_gone()
