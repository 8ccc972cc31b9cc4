"""One client connection: uvicorn's HTTP protocol with time-outs, limits, and an orderly end.

On the request path this only stores coarse times; `servers/sweep.py` compares them once a second. What stands here
instead of in uvicorn is listed in docs/decisions/0002-uvicorn-embedding.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from peaker.gate.frames import has_body
from peaker.servers.connection_state import ConnectionState

PIPELINED_MAX = 32
"""Requests that may wait behind the running one of a connection; what comes after them is dropped and the connection
closed, as RFC 9112 (section 9.3.2) allows and every client that pipelines must expect."""

LINGER_S = 2.0
"""How long a refused client's bytes are read and thrown away after the answer. Closing at once would make the kernel
reset the connection, and the answer could be lost on its way."""

_LINGER_BYTES_MAX = 4 * 1024 * 1024

_IPV4_IN_IPV6 = "::ffff:"


class Phase(Enum):
    """What a connection is waiting for."""

    SILENT = "its first byte"
    IN_HEAD = "the rest of a head"
    IN_BODY = "the rest of a body"
    ANSWERING = "the app"
    IDLE = "the next request"
    LINGERING = "the client to close, after a refusal"


class HttpProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    server_state: ConnectionState

    def __init__(
        self,
        config: Config,
        server_state: ConnectionState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.active_s = server_state.now_s
        """When bytes last came or the last response ended."""
        self._head_since_s = 0.0
        """When the head that is arriving began; 0 outside one."""
        self._chunk_bytes = 0
        self._silent_bytes = 0
        """Bytes in whole reads since a head began or a piece of body came: heads, chunk extensions and trailers."""
        self._header_bytes_max = server_state.limits.header_bytes_max
        self._refusal: tuple[int, str] | None = None
        self._lingering_since_s = 0.0
        self._lingered_bytes = 0
        self._running: RequestResponseCycle | None = None
        """The request being answered, where others wait behind it."""

    @property
    def is_idle(self) -> bool:
        """No request is being read, answered or refused."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self._head_since_s
            and not self._lingering_since_s
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note who is there; an IPv4 client of a socket for both families is shown by its IPv4 address."""
        super().connection_made(transport)
        if self.client is not None and self.client[0].startswith(_IPV4_IN_IPV6) and "." in self.client[0]:
            self.client = (self.client[0].removeprefix(_IPV4_IN_IPV6), self.client[1])

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: whatever runs or waits for it is told."""
        super().connection_lost(exc)
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self.active_s = self.server_state.now_s
        if self._lingering_since_s or self._refusal is not None:
            self._throw_away(data)
            return
        self._chunk_bytes = size = len(data)
        self._silent_bytes += size
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError:
            # Raised by the parser, or by a callback below that has left its reason.
            self._refuse(*(self._refusal or (400, "The request is not valid HTTP.")))
        else:
            if self._silent_bytes > self._header_bytes_max:
                self._refuse(431, f"The request head is larger than {self._header_bytes_max} bytes.")

    def on_message_begin(self) -> None:
        """A head begins to arrive."""
        super().on_message_begin()
        self._head_since_s = self.server_state.now_s
        self._silent_bytes = 0

    def on_headers_complete(self) -> None:
        """A whole head is here: begin its request, or queue it behind the running one."""
        self._head_since_s = 0.0
        could_be_too_large = self._silent_bytes + self._chunk_bytes > self._header_bytes_max
        self._silent_bytes = 0
        if could_be_too_large and self._exact_head_bytes() > self._header_bytes_max:
            self._raise_refusal(431, f"The request head is larger than {self._header_bytes_max} bytes.")
        if len(self.pipeline) >= PIPELINED_MAX:
            self._raise_refusal(400, f"More than {PIPELINED_MAX} requests were pipelined.")
        if [name for name, _ in self.headers].count(b"host") > 1:
            self._raise_refusal(400, "The request has more than one Host header.")  # RFC 9112, section 3.2
        if self.parser.should_upgrade():
            self._check_upgrade()
        before = self.cycle
        super().on_headers_complete()
        if len(self.pipeline) == 1 and self._running is None:
            self._running = before
        if self.server_state.closing and self.cycle is not before:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._silent_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Go on with the next pipelined request, or be idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._running = cycle
            self._start_asgi_task(cycle, app)
        else:
            self._running = None
            self.active_s = self.server_state.now_s
            if self.expect_100_continue and self.cycle.more_body:
                self.transport.close()  # The client may or may not send the body now: what follows cannot be read.

    def begin_closing(self) -> None:
        """The worker drains: the response that is not yet begun says `Connection: close`, and its end closes."""
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close, now if idle, else with the end of the response."""
        if self.is_idle:
            self.transport.close()
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def end_if_overdue(self, now_s: float) -> None:
        """Compare the stored times with the limits; called about once a second."""
        limits = self.server_state.limits
        phase = self._phase()
        still_s = now_s - self.active_s
        if phase is Phase.ANSWERING:
            self.active_s = now_s  # It is not the client who keeps us waiting.
        elif phase is Phase.IN_HEAD and now_s - self._head_since_s > limits.header_timeout_s:
            self._refuse(408, f"The request head was not whole within {limits.header_timeout_s:g} s.")
        elif phase is Phase.IN_BODY and still_s > limits.body_timeout_s:
            self._refuse(408, f"The request body paused for more than {limits.body_timeout_s:g} s.")
        elif (
            # A client that never sent a byte expects no answer.
            (phase is Phase.SILENT and still_s > limits.header_timeout_s)
            or (phase is Phase.IDLE and still_s > limits.keep_alive_s)
            or (phase is Phase.LINGERING and now_s - self._lingering_since_s > LINGER_S)
        ):
            self.transport.close()

    def _phase(self) -> Phase:
        cycle: RequestResponseCycle | None = self.cycle
        if self._lingering_since_s:
            return Phase.LINGERING
        if cycle is not None and not cycle.response_complete:
            waits_for_client = cycle.more_body and not self.flow.read_paused and not cycle.waiting_for_100_continue
            return Phase.IN_BODY if waits_for_client else Phase.ANSWERING
        if self._head_since_s:
            return Phase.IN_HEAD
        return Phase.SILENT if cycle is None else Phase.IDLE

    def _exact_head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _raise_refusal(self, status: int, reason: str) -> None:
        """Leave the parser from within a callback."""
        self._refusal = (status, reason)
        raise httptools.HttpParserError(reason)

    def _check_upgrade(self) -> None:
        """The parser takes whatever follows an upgrade for another protocol, and a body would be lost with it."""
        if self.parser.get_method() == b"CONNECT":
            self._raise_refusal(405, "CONNECT is not served here.")
        if self._should_upgrade():
            if self.cycle is not None and not self.cycle.response_complete:
                self._raise_refusal(400, "An upgrade was pipelined behind another request.")
        elif has_body({"headers": self.headers}):
            self._raise_refusal(501, "An upgrade to that protocol is not served here, and this request has a body.")

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self.handle_websocket_upgrade()
        else:
            # The request has been taken as a plain one; what may have come behind it has been lost to the parser.
            self._refusal = (400, "")
            self.cycle.keep_alive = False

    def _refuse(self, status: int, reason: str) -> None:
        """Answer what cannot be understood or did not come in time, and read no more requests.

        Requests that came whole before it on this connection are answered first, and then the connection closes
        without a word about what came after them.
        """
        self._refusal = (status, reason)
        cycle = self.cycle
        self._head_since_s = 0.0
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False
                return
            # The fault is in the body of the newest request.
            if self.pipeline:
                self.pipeline.popleft()
                before = self.pipeline[0][0] if self.pipeline else self._running
                assert before is not None
                before.keep_alive = False
                self.cycle = before
                return
            started = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
            if started:
                self.transport.close()
                return
        self._answer_refusal(status, reason)

    def _answer_refusal(self, status: int, reason: str) -> None:
        content = reason.encode()
        lines = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            lines += [name, b": ", value, b"\r\n"]
        lines.append(b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n")
        lines.append(b"content-length: %d\r\n\r\n" % len(content))
        self.transport.write(b"".join(lines) + content)
        self._lingering_since_s = self.server_state.now_s
        self.flow.resume_reading()
        # The other side may have closed in this very moment.
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()

    def _throw_away(self, data: bytes) -> None:
        self._lingered_bytes += len(data)
        if self._lingered_bytes > _LINGER_BYTES_MAX:
            self.transport.close()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket; its task is counted apart, since it does not keep a worker from draining."""

    def __init__(
        self,
        config: Config,
        server_state: ConnectionState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.tasks = server_state.websocket_tasks
