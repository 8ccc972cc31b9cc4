"""Inside an instance: a web app's response on its way to the host, piece by piece as the app sends it.

Frames to the host: `begin` (content_type), `chunk` for each piece, then the ordinary `result`, whose body is empty or
the error. Frame from the host meanwhile: `gone`, nobody reads any more. The channel itself holds the app back: while it
is full the app waits in `send`, as it does in a server whose client is slow.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from peaker import frames
from peaker.functions.web import Exchange, WebApp
from peaker.messages import RunNotes
from peaker.units import KIB
from peaker.wire.response_stream import CHUNK_BYTES_MAX, HTTP_INTEGRATION, http_prelude

_READ_BYTES = 4 * KIB
_AT_ONCE_BYTES_MAX = 256 * KIB
"""A host that reads as fast as the app writes never makes it wait: after so much, the loop gets its turn."""

_CHUNK_HEAD = {"kind": "chunk"}


class FrameWriter:
    """Writes frames to the channel one after the other.

    A caller that is cancelled leaves no half frame behind: the rest of it is written all the same. Apps do cancel their
    sends: Starlette when the client goes, others by a time limit.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._rest: asyncio.Task[None] | None = None
        self._sent_at_once = 0
        self.is_broken = False

    async def write(self, frame: bytes) -> None:
        """Returns when the host's side has room again; does nothing where the host has gone."""
        while self._rest is not None:
            await asyncio.shield(self._rest)
        sent = self._send(frame)
        self._sent_at_once += sent
        if sent == len(frame) and self._sent_at_once >= _AT_ONCE_BYTES_MAX:
            self._sent_at_once = 0
            await asyncio.sleep(0)
        elif sent < len(frame) and not self.is_broken:
            self._sent_at_once = 0
            self._rest = asyncio.get_running_loop().create_task(self._send_rest(memoryview(frame)[sent:]))
            await asyncio.shield(self._rest)

    def _send(self, frame: bytes) -> int:
        try:
            return self._channel.send(frame)
        except BlockingIOError:
            return 0
        except OSError:
            self.is_broken = True
            return 0

    async def _send_rest(self, rest: memoryview) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._channel, rest)
        except OSError:
            self.is_broken = True
        finally:
            self._rest = None


class StreamedExchange(Exchange):
    """One request whose response leaves as the app sends it."""

    def __init__(self, body: bytes, writer: FrameWriter, notes: RunNotes) -> None:
        super().__init__(body)
        self._writer = writer
        self._notes = notes
        self._is_over = False

    async def take_head(self) -> None:
        """Tell the host that a response begins."""
        await self._write(frames.pack({"kind": "begin", "content_type": HTTP_INTEGRATION}))
        await self._write_pieces(http_prelude(self.status, self.headers, self._notes))

    async def take_body(self, chunk: bytes) -> None:
        """Pass it on in pieces."""
        await self._write_pieces(chunk)

    def end(self) -> None:
        """What the app's leftovers still send is of no account."""
        super().end()
        self._is_over = True

    async def _write_pieces(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), CHUNK_BYTES_MAX):
            await self._write(frames.pack(_CHUNK_HEAD, bytes(view[start : start + CHUNK_BYTES_MAX])))

    async def _write(self, frame: bytes) -> None:
        if not (self.is_gone or self._is_over):
            await self._writer.write(frame)


class Streaming:
    """Runs one streamed answer and listens to the channel meanwhile."""

    def __init__(self, channel: socket.socket, reader: frames.FrameReader) -> None:
        self._channel = channel
        self._reader = reader
        self._writer = FrameWriter(channel)
        self._reading: asyncio.Future[bytes] | None = None
        """A read that is still under way, or has brought the channel's end.

        `read` takes it up: it cannot be cancelled without the risk of losing what it has just read.
        """

    async def read(self, count: int) -> bytes:
        """What the channel brings next; b"" at its end."""
        reading, self._reading = self._reading, None
        return await (reading or asyncio.get_running_loop().sock_recv(self._channel, count))

    async def answer(self, web: WebApp, event: bytes, notes: RunNotes) -> None:
        """Let the app answer; raises what `WebApp.answer` raises, after which some of the response may have left."""
        request = web.read_event(event)
        exchange = StreamedExchange(request.body, self._writer, notes)
        answering = asyncio.ensure_future(web.answer_through(request, exchange))
        try:
            while not answering.done():
                await self._listen(answering, exchange)
        except BaseException:
            answering.cancel()
            raise
        await answering

    async def write(self, frame: bytes) -> None:
        """Behind all that was written before."""
        await self._writer.write(frame)

    async def _listen(self, answering: asyncio.Future[Any], exchange: StreamedExchange) -> None:
        if self._reading is not None and self._reading.done():  # The end of the channel, heard before.
            await asyncio.wait({answering})
            return
        if self._reading is None:
            receive = asyncio.get_running_loop().sock_recv(self._channel, _READ_BYTES)
            self._reading = asyncio.ensure_future(receive)
        await asyncio.wait([answering, self._reading], return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return
        data = self._reading.result()
        if not data:
            exchange.client_gone()
            return
        self._reading = None
        if any(head["kind"] == "gone" for head, _ in self._reader.feed(data)):
            exchange.client_gone()
