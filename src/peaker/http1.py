"""A pooled HTTP/1.1 client for short exchanges: spilled requests, replayed traffic, health checks.

It exists because the path of a spilled request may not cost more than the work it carries: a general client library
takes 64 to 82 us a call where this takes about 10 (benchmarks/spill_client). Parsing is httptools', as in the server.

One exchange at a time per connection, no redirects, no cookies, no retries: the caller decides what may be sent again,
so the two errors say what is known about the other side. Bodies are whole, unless an answer is asked for by `open`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools

from peaker.body_in_pieces import BodyInPieces
from peaker.errors import PeakerError


class NotSent(PeakerError):  # noqa: N818 - named for what is known
    """The connection could not be made; no byte of the request was sent."""


class NoConnectionFree(NotSent):
    """All connections were in use for the whole time; no byte of the request was sent."""


class EffectUnknown(PeakerError):  # noqa: N818
    """The connection broke after bytes of the request were sent."""


class AnswerTimeout(EffectUnknown):
    """No whole answer came in time after bytes of the request were sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP response; header names in lower case, the last of repeated ones kept in `headers`."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A unix socket path, or a host and port, with TLS where `tls` is given."""

    unix: Path | None = None
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None


def request_head(method: str, target: str, headers: list[tuple[str, str]], body_length: int) -> bytes:
    """The head of a request, with its content-length where there is a body or the method expects one."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body_length or method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {body_length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Pool:
    """Connections to one address; each exchange takes an idle one or opens another.

    It takes the idle one used last, which keeps few open; with `oldest_first` the one not used for longest, as the
    requests of many clients would come over all their connections.

    At most `connections_max` are open, further exchanges wait for one in order of arrival. An idle connection older
    than `idle_s_max` is not used again: the other side may be about to close it.
    """

    def __init__(
        self, address: Address, *, connections_max: int = 1000, idle_s_max: float = 30.0, oldest_first: bool = False
    ) -> None:
        self._address = address
        self._connections_max = connections_max
        self._idle_s_max = idle_s_max
        self._idle: deque[_Connection] = deque()
        self._take_idle = self._idle.popleft if oldest_first else self._idle.pop
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open = 0
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections open or being opened."""
        return self._open

    async def exchange(self, head: bytes, body: bytes = b"", *, timeout_s: float, is_head: bool = False) -> Answer:
        """Send one request, return the whole answer.

        Raises:
            NotSent: no connection could be made within `timeout_s`.
            NoConnectionFree: the kind of NotSent where all `connections_max` were in use until then.
            AnswerTimeout: the answer was not whole within `timeout_s`.
            EffectUnknown: the connection broke before the answer was whole.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        connection = await self._take(deadline_s)
        try:
            return await connection.exchange(head, body, deadline_s, is_head)
        finally:
            self._give_back(connection)

    async def open(self, head: bytes, body: bytes = b"", *, timeout_s: float) -> OpenAnswer:
        """Send one request, return when the head of its answer is there; the body is read from what this returns.

        `timeout_s` is for the whole answer. Raises as `exchange`.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        connection = await self._take(deadline_s)
        try:
            answer = await connection.open(head, body, deadline_s)
        except BaseException:
            self._give_back(connection)
            raise
        return OpenAnswer(answer, connection, self._give_back)

    async def warm(self, count: int, *, timeout_s: float = 5.0) -> None:
        """Open connections ahead of need until `count` are open; raises NotSent where that fails.

        Those that would not be used again, because they are closed or have been idle for too long, do not count.
        """
        for connection in [each for each in self._idle if not self._is_fresh(each)]:
            self._idle.remove(connection)
            self._drop(connection)
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        missing = max(0, min(count, self._connections_max) - self._open)
        self._open += missing
        for connection in await asyncio.gather(*(self._connect(deadline_s) for _ in range(missing))):
            self._give_back(connection)

    def close(self) -> None:
        """Close idle connections; those in use close when their exchange ends."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._open -= len(self._idle)
        self._idle.clear()

    async def _take(self, deadline_s: float) -> _Connection:
        loop = asyncio.get_running_loop()
        while True:
            while self._idle:
                connection = self._take_idle()
                if self._is_fresh(connection):
                    return connection
                self._drop(connection)
            if self._open < self._connections_max:
                self._open += 1
                return await self._connect(deadline_s)
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout_at(deadline_s):
                    await turn
            except TimeoutError:
                raise NoConnectionFree("no connection became free in time.", where=self._name()) from None
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)

    def _is_fresh(self, connection: _Connection) -> bool:
        idle_s = asyncio.get_running_loop().time() - connection.idle_since_s
        return connection.usable and idle_s <= self._idle_s_max

    async def _connect(self, deadline_s: float) -> _Connection:
        """Open one connection; the caller has already counted it in `_open`."""
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            async with asyncio.timeout_at(deadline_s):
                if address.unix is not None:
                    _, connection = await loop.create_unix_connection(_Connection, str(address.unix))
                else:
                    _, connection = await loop.create_connection(
                        _Connection, address.host, address.port, ssl=address.tls
                    )
        except BaseException as error:
            self._open -= 1
            self._wake_one()
            if isinstance(error, (OSError, TimeoutError)):
                reason = "timed out" if isinstance(error, TimeoutError) else str(error)
                raise NotSent(f"the connection could not be made: {reason}.", where=self._name()) from error
            raise
        return connection

    def _give_back(self, connection: _Connection) -> None:
        if connection.usable and not self._closed:
            connection.idle_since_s = asyncio.get_running_loop().time()
            self._idle.append(connection)
            self._wake_one()
        else:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        connection.close()
        self._open -= 1
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _name(self) -> str:
        return str(self._address.unix or f"{self._address.host}:{self._address.port}")


class OpenAnswer:
    """An answer whose head is there and whose body is read piece by piece. To be closed, however it ends."""

    def __init__(self, answer: Answer, connection: _Connection, give_back: Callable[[_Connection], None]) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._connection: _Connection | None = connection
        self._give_back = give_back

    async def read(self) -> bytes:
        """The next of the body; b"" at its end, and once this is closed.

        Raises:
            AnswerTimeout: the body was not whole in time.
            EffectUnknown: the connection broke before it was.
        """
        return b"" if self._connection is None else await self._connection.read()

    def close(self) -> None:
        """Nothing more is wanted; a body not read to its end costs the connection, and who waits in `read` goes on."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end_body()
            self._give_back(connection)


class _Connection(asyncio.Protocol):
    """One connection; httptools calls the `on_` methods while it parses."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_only = False
        self._head_whole = False
        self._pieces: BodyInPieces | None = None
        """Takes the body where it is read piece by piece; `_answer` is then the head alone."""
        self._timer: asyncio.TimerHandle | None = None
        self.usable = False
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport, so this cannot be asserted.
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    async def exchange(self, head: bytes, body: bytes, deadline_s: float, is_head: bool) -> Answer:  # noqa: FBT001
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._body, self._head_only, self._head_whole = {}, [], is_head, False
        self._transport.write(head + body)
        timer = loop.call_at(deadline_s, self._time_out)
        try:
            return await self._answer
        except BaseException:
            # Also on cancellation: what is still to come on this connection belongs to nobody.
            self.close()
            raise
        finally:
            timer.cancel()
            self._answer = None

    async def open(self, head: bytes, body: bytes, deadline_s: float) -> Answer:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._head_only, self._head_whole = {}, False, False
        self._pieces = BodyInPieces(pause=self._pause, resume=self._resume)
        self._transport.write(head + body)
        self._timer = loop.call_at(deadline_s, self._time_out)
        try:
            return await self._answer
        except BaseException:
            self.end_body()
            raise

    async def read(self) -> bytes:
        return b"" if self._pieces is None else await self._pieces.read()

    def end_body(self) -> None:
        pieces, self._pieces, self._answer = self._pieces, None, None
        if self._timer is not None:
            self._timer.cancel()
        if pieces is None or not pieces.is_read:
            self.close()
        if pieces is not None:
            pieces.end()

    def _pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            # Not close(): what has not left of a request that nobody waits for any more should not leave.
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._parser is None or (self._pieces is not None and self._pieces.is_ended):
            self.close()  # Bytes nobody asked for: this connection is out of step.
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(EffectUnknown(f"the answer is not HTTP: {error}."))

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if error is None and self._ends_with_connection():
            self._complete()
        self._fail(EffectUnknown(f"the connection broke: {error or 'closed by the other side'}."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._head_whole = True
        assert self._parser is not None
        status = self._parser.get_status_code()
        if self._head_only:
            self._complete()
        elif self._pieces is not None and self._answer is not None and not self._answer.done() and status >= 200:
            self._answer.set_result(Answer(status, self._headers, b""))

    def on_body(self, body: bytes) -> None:
        if self._pieces is None:
            self._body.append(body)
        else:
            self._pieces.feed(body)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if 100 <= self._parser.get_status_code() < 200:  # An interim answer: the real one follows.
            self._headers, self._head_whole = {}, False
        else:
            self._complete()

    def _ends_with_connection(self) -> bool:
        """A body without length or chunks ends where the connection does (RFC 9112, section 6.3)."""
        return self._head_whole and not {"content-length", "transfer-encoding"} & self._headers.keys()

    def _complete(self) -> None:
        assert self._parser is not None
        if self._pieces is None and (self._answer is None or self._answer.done()):
            return
        if not self._parser.should_keep_alive() or self._headers.get("connection", "").lower() == "close":
            self.usable = False
        if self._pieces is not None:
            self._pieces.end()
        elif self._answer is not None:
            self._answer.set_result(Answer(self._parser.get_status_code(), self._headers, b"".join(self._body)))

    def _time_out(self) -> None:
        self._fail(AnswerTimeout("no whole answer came in time."))

    def _fail(self, error: EffectUnknown) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        elif self._pieces is not None:
            self._pieces.fail(error)
            if not self._pieces.is_ended:
                self.usable = False
