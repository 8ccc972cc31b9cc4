"""A small, bounded HTTP/1.1 server: the Invoke API and the ops port.

A handler gets one whole request and returns one whole answer, or one in pieces. Everything has a limit: head, body,
time for each, idle time, connections. It is no server for the user's app (that is uvicorn's protocol, in servers/): a
whole exchange costs one task and two writes.
"""

from __future__ import annotations

import asyncio
import http
import logging
import socket
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import cast

import httptools

from peaker.http1_exchange import (
    BodySink,
    HttpAnswer,
    HttpHandler,
    HttpLimits,
    HttpRequest,
    OpenBody,
    Refuse,
    StreamedAnswer,
    refuse_plainly,
)

__all__ = [
    "BodySink",
    "HttpAnswer",
    "HttpHandler",
    "HttpLimits",
    "HttpRequest",
    "HttpServer",
    "OpenBody",
    "Refuse",
    "StreamedAnswer",
    "refuse_plainly",
]

_logger = logging.getLogger("peaker.http1_server")

_LINGER_BYTES_MAX = 64 * 1024 * 1024
_PIPELINED_MAX = 16
_TIMER_S = 0.001
"""The event loop's time goes in such steps."""


class HttpServer:
    """Serves one handler on any number of listening sockets; `drain` ends it."""

    def __init__(
        self,
        handler: HttpHandler,
        *,
        limits: HttpLimits | None = None,
        refuse: Refuse = refuse_plainly,
        open_body: OpenBody | None = None,
    ) -> None:
        self.handler = handler
        self.open_body = open_body
        self.limits = limits or HttpLimits()
        self.refuse = refuse
        self.is_draining = False
        self.is_lingering = False
        self.connections: set[_ServerConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._idle = asyncio.Event()

    async def listen(self, listener: socket.socket) -> None:
        """Accept on a bound, listening stream socket; the caller goes on owning it."""
        loop = asyncio.get_running_loop()
        own = listener.dup()  # The event loop closes what it is given.
        own.setblocking(False)  # uvloop does not see to that itself.
        if listener.family == socket.AF_UNIX:
            server = await loop.create_unix_server(lambda: _ServerConnection(self), sock=own)
        else:
            server = await loop.create_server(lambda: _ServerConnection(self), sock=own)
        self._servers.append(server)

    async def take(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted elsewhere; the server owns it from now on."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: _ServerConnection(self), connection)

    def cut_off(self) -> None:
        """Accept nothing more and end every connection at once."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.abort()

    async def drain(self, timeout_s: float, *, idle_s: float = 0.0) -> bool:
        """Accept nothing more, answer what was begun, close; False if `timeout_s` cut something off.

        An idle connection stays open for `idle_s`, for a request that may be on its way; its answer says that the
        connection closes.
        """
        self.is_draining = True
        self.is_lingering = idle_s > 0
        for server in self._servers:
            server.close()
        if self.is_lingering:
            await self._wait_until_closed(min(idle_s, timeout_s))
            self.is_lingering = False
        for connection in tuple(self.connections):
            connection.close_if_idle()
        whole = await self._wait_until_closed(timeout_s)
        for connection in tuple(self.connections):
            connection.abort()
        return whole

    async def _wait_until_closed(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while self.connections:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def lost(self, connection: _ServerConnection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self._idle.set()


class _ServerConnection(asyncio.Protocol):
    """One connection; httptools calls the `on_` methods while it parses. Requests are answered one after another."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        """Runs on while requests come and looks when it is over: a new one for each would cost more than parsing."""
        self._idle_since_s = 0.0
        self._waiting: deque[tuple[HttpRequest, bool]] = deque()
        self._current: HttpRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._target = b""
        self._header_list: list[tuple[str, str]] = []
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._unfinished_bytes = 0
        self._head_complete = self._is_head_timed = False
        self._in_message = False
        self._is_last = False
        self._refused = False
        self._lingered_bytes = 0
        self._opened: tuple[HttpRequest, BodySink] | None = None
        self._writable: asyncio.Event | None = None
        """Whether a streamed answer may go on; there is one only while such an answer is given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not subclasses of it.
        is_over = self._server.is_draining and not self._server.is_lingering
        if len(self._server.connections) >= self._limits.connections_max or is_over:
            self._transport.close()
            return
        self._server.connections.add(self)
        self._arm(self._limits.head_timeout_s, self._head_too_slow)

    def connection_lost(self, _: Exception | None) -> None:
        self._disarm()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._waiting.clear()
        if self._current is not None and self._current.on_gone is not None:
            self._current.on_gone()
        if self._opened is not None:
            self._opened[1].broken()
        self.resume_writing()
        self._server.lost(self)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        if self._writable is not None:
            self._writable.clear()

    def resume_writing(self) -> None:
        """It does again, or has gone."""
        if self._writable is not None:
            self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._refused or self._is_last:
            self._linger(len(data))
            return
        self._in_message = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_last = True  # The request itself is answered as if it had not asked.
        except httptools.HttpParserError as error:
            self._refuse(400, f"the request is not HTTP/1.1: {error}.")
        if self._in_message and not self._refused:
            self._await_the_rest(len(data))

    def _await_the_rest(self, count: int) -> None:
        """`count` bytes have come of a request that is not whole; most come in one piece and need no timer at all."""
        if self._head_complete:
            self._arm(self._limits.body_timeout_s, self._body_too_slow)
            return
        if not self._is_head_timed:
            self._is_head_timed = True
            self._arm(self._limits.head_timeout_s, self._head_too_slow)
        # What the parser holds back of an unfinished line has no callback, so whole chunks are counted as well.
        self._unfinished_bytes += count
        if self._unfinished_bytes > self._limits.head_bytes_max:
            self._refuse_head()

    def on_message_begin(self) -> None:
        # New lists, not cleared ones: the request before this one may still be with its handler.
        self._target = b""
        self._header_list, self._headers, self._body = [], {}, []
        self._body_bytes = self._head_bytes = self._unfinished_bytes = 0
        self._head_complete = self._is_head_timed = False
        self._in_message = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_list.append((name.decode("latin-1").lower(), value.decode("latin-1").strip()))
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self._limits.head_bytes_max:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        self._head_complete = True
        self._headers = dict(self._header_list)
        if self._server.open_body is not None and self._transport is not None and not self._refused:
            request = self._request()
            sink = self._server.open_body(request, self._transport)
            self._opened = (request, sink) if sink is not None else None
        length = "0" if self._opened else self._headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limits.body_bytes_max:
            self._refuse_body()
        elif self._headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        if self._opened is not None:
            self._opened[1].feed(body)
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes_max:
            self._refuse_body()

    def on_message_complete(self) -> None:
        if self._refused:
            return
        self._disarm()
        self._in_message = False
        request = self._opened[0] if self._opened else self._request()
        self._opened = None
        self._waiting.append((request, self._parser.should_keep_alive()))
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        elif self._transport is not None:
            self._transport.pause_reading()
            if len(self._waiting) > _PIPELINED_MAX:
                self._transport.abort()

    def _request(self) -> HttpRequest:
        """As far as it has come; trailers still go into `header_list`."""
        return HttpRequest(
            method=self._parser.get_method().decode("ascii"),
            target=self._target.decode("latin-1"),
            header_list=self._header_list,
            headers=self._headers,
            body=b"".join(self._body),
            is_chunking_known=self._parser.get_http_version() == "1.1",
        )

    def close_if_idle(self) -> None:
        """Called while draining; a connection with work closes after its answer instead."""
        if self._task is None and not self._in_message and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut off."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _serve(self) -> None:
        assert self._transport is not None
        try:
            while self._waiting and not self._transport.is_closing():
                request, keep_alive = self._waiting.popleft()
                self._current = request
                answer = await self._answer(request)
                if isinstance(answer, StreamedAnswer):
                    # How long it takes nobody knows, so that whether the connection stays is decided before.
                    keep_alive = keep_alive and request.is_chunking_known and not self._is_last
                    keep_alive = await self._stream(answer, request, keep_alive=keep_alive)
                    self._current = None
                else:
                    self._current = None
                    if self._transport.is_closing():
                        return
                    keep_alive = keep_alive and not (self._server.is_draining or self._is_last)
                    self._write(answer, keep_alive=keep_alive, is_head=request.method == "HEAD")
                if not keep_alive:
                    self._transport.close()
                    return
        finally:
            self._task = None
            self._current = None
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._idle_since_s = self._loop.time()
            if self._idle_timer is None:
                self._idle_timer = self._loop.call_later(self._limits.idle_s_max, self._look_if_idle)

    async def _stream(self, answer: StreamedAnswer, request: HttpRequest, *, keep_alive: bool) -> bool:
        """Give an answer piece by piece; whether the connection may be used again."""
        assert self._transport is not None
        self._writable = asyncio.Event()
        self._writable.set()
        lines = [_STATUS_LINES[answer.status], *(f"{name}: {value}" for name, value in answer.headers)]
        lines += ["transfer-encoding: chunked"] if request.is_chunking_known else []
        lines += [] if keep_alive else ["connection: close"]
        try:
            if not self._transport.is_closing():
                self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
                await self._write_pieces(answer.pieces, is_chunked=request.is_chunking_known)
        except Exception:
            _logger.exception("the answer to %s broke off", request.target[:200], extra={"action": "answer"})
            self._transport.abort()
        finally:
            self._writable = None
            await answer.pieces.aclose()
        return keep_alive and not self._server.is_draining and not self._transport.is_closing()

    async def _write_pieces(self, pieces: AsyncGenerator[bytes, None], *, is_chunked: bool) -> None:
        assert self._transport is not None
        assert self._writable is not None
        async for piece in pieces:
            if piece:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                await self._writable.wait()
            if self._transport.is_closing():
                return
        if is_chunked and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")

    async def _answer(self, request: HttpRequest) -> HttpAnswer | StreamedAnswer:
        try:
            return await self._server.handler(request)
        except Exception:
            _logger.exception("a request to %s failed", request.target[:200], extra={"action": "answer"})
            return self._server.refuse(500, "internal error.")

    def _write(self, answer: HttpAnswer, *, keep_alive: bool, is_head: bool = False) -> None:
        assert self._transport is not None
        lines = [_STATUS_LINES[answer.status]]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if answer.status not in (204, 304):
            lines.append(f"content-length: {len(answer.body)}")
        if not keep_alive:
            lines.append("connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._transport.write(head if is_head or answer.status in (204, 304) else head + answer.body)

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self._limits.head_bytes_max:
            self._refuse_head()

    def _refuse_head(self) -> None:
        self._refuse(431, f"the request head is over {self._limits.head_bytes_max} bytes.")

    def _refuse_body(self) -> None:
        self._refuse(413, f"the request body is over {self._limits.body_bytes_max} bytes.")

    def _refuse(self, status: int, reason: str) -> None:
        """Answer at once and read on a while: a close with unread data would take the answer from the client."""
        if self._refused or self._transport is None or self._transport.is_closing():
            return
        if self._task is not None:
            self._is_last = True  # Out of turn: the answers before this one go first, then the connection ends.
            return
        self._refused = True
        self._body.clear()
        self._lingered_bytes = 0
        self._write(self._server.refuse(status, reason), keep_alive=False)
        self._transport.write_eof()
        self._arm(self._limits.body_timeout_s, self._idle_too_long)

    def _linger(self, count: int) -> None:
        self._lingered_bytes += count
        if self._lingered_bytes > _LINGER_BYTES_MAX and self._transport is not None:
            self._transport.abort()

    def _head_too_slow(self) -> None:
        if self._in_message:
            self._refuse(408, f"the request head took over {self._limits.head_timeout_s:g} s.")
        self._idle_too_long()

    def _body_too_slow(self) -> None:
        self._refuse(408, f"the request body paused for over {self._limits.body_timeout_s:g} s.")
        self._idle_too_long()

    def _look_if_idle(self) -> None:
        self._idle_timer = None
        if self._task is not None or self._in_message:
            return  # it is set again after the answer
        left_s = self._idle_since_s + self._limits.idle_s_max - self._loop.time()
        if left_s > _TIMER_S:
            self._idle_timer = self._loop.call_later(left_s, self._look_if_idle)
        else:
            self._idle_too_long()

    def _idle_too_long(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _arm(self, after_s: float, action: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self._loop.call_later(after_s, action)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in http.HTTPStatus}
