"""One request on its way through the gate: what it was answered with, where, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from peaker.asgi import Message, Receive, Scope, Send
from peaker.meter.usage import Ran

NOT_YET_S = -1.0
"""A moment that has not come; clocks count up from 0."""

STREAM_S = 1.0
"""A response begun but not complete after this long is a stream and gives its slot back."""

BLOCKED_S_MIN = 0.0001
"""A body that is there at once was not waited for."""


class Host(Protocol):
    """What an exchange asks of the gate it runs in."""

    now_s: Callable[[], float]
    rewrites_start: bool
    """Responses get headers of the gate's: while it drains, or where a header says where they ran."""

    notes_more: bool
    """Sizes are noted too: a route is being learned about, or the access log is on."""

    def rewrite(self, start: Message, exchange: Exchange) -> Message:
        """The `http.response.start` as the client gets it."""
        ...


@dataclass(slots=True)
class Unusual:
    """What most requests have nothing of. Times in seconds of the gate's clock.

    `service_began_s` is when the app was called, where that was not at once; `blocked_s` how long the client kept it
    waiting, `blocked_before_s` the part of that before the app was called; `first_body_s` when the first of several
    body messages was handed over. `scope` is kept where the access log wants it. `ran` is None while nobody has
    answered, and stays so where the client has gone before. `streams`: its route is declared to stream, so that what is
    called its latency and service end with the first byte of the body; `first_blocked_s` is `blocked_s` until then.
    """

    ran: Ran | None = Ran.SERVER
    scope: Scope | None = None
    service_began_s: float = NOT_YET_S
    first_body_s: float = NOT_YET_S
    first_blocked_s: float = 0.0
    streams: bool = False
    blocked_s: float = 0.0
    blocked_before_s: float = 0.0
    waited_s: float = 0.0
    is_guest: bool = False
    is_stream: bool = False
    crashed: bool = False
    cold: bool = False
    request_id: str = ""
    refused_because: str = ""


_OVER: Scope = {}


async def _nobody(_: Message) -> None:
    """What an app that has returned sends to: uvicorn too takes it in silence where its connection is gone."""


class Exchange:
    """Watches the messages of one response.

    `send` is a plain function that returns the server's own awaitable, so that watching a plain response costs no
    coroutine. Of a finished exchange that is kept until the next beat only figures are left: the request itself is let
    go at once, or what it keeps alive would go through the collector's generations (measured at 4 us a request).

    `began_s` is when the gate got it, `last_body_s` when its last byte was handed over. Set only where it is kept
    (`forget_request`): `method`, `path`, `late_s`, how much earlier than `began_s` its head was readable, and
    `returned_after_s`, when the last beat before its app's return was due.
    """

    __slots__ = (
        "_host",
        "began_s",
        "bytes_sent",
        "last_body_s",
        "late_s",
        "method",
        "path",
        "returned_after_s",
        "scope",
        "status",
        "to_client",
        "unusual",
    )

    method: str
    path: str
    late_s: float
    returned_after_s: float

    def __init__(self, host: Host, scope: Scope, to_client: Send, began_s: float) -> None:
        self._host = host
        self.scope = scope
        self.to_client = to_client
        self.began_s = began_s
        self.status = 0
        self.bytes_sent = 0
        self.last_body_s = NOT_YET_S
        self.unusual: Unusual | None = None

    def send(self, message: Message) -> Awaitable[None]:
        """Pass one message on; the last one of the body stops the clock."""
        if message["type"] == "http.response.body":
            if message.get("more_body"):
                return self._send_part(message)
            host = self._host
            if host.notes_more:
                self.bytes_sent += len(message.get("body", b""))
            # Before it is handed over: what `send` waits for from here on is the client.
            self.last_body_s = host.now_s()
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            if self._host.rewrites_start:
                message = self._host.rewrite(message, self)
        return self.to_client(message)

    async def _send_part(self, message: Message) -> None:
        """One of several body messages: what the client takes for it is left out of the app's time."""
        now_s = self._host.now_s()
        unusual = self.mark_unusual()
        self.bytes_sent += len(message.get("body", b""))
        if unusual.first_body_s == NOT_YET_S:
            unusual.first_body_s, unusual.first_blocked_s = now_s, unusual.blocked_s
        await self.to_client(message)
        unusual.blocked_s += self._host.now_s() - now_s

    def timed(self, receive: Receive) -> Receive:
        """The same `receive`; the time in which the app waits for the client's body is the client's."""
        more = True

        async def timed_receive() -> Message:
            nonlocal more
            if not more:
                return await receive()
            before_s = self._host.now_s()
            message = await receive()
            blocked_s = self._host.now_s() - before_s
            if blocked_s >= BLOCKED_S_MIN:
                self.mark_unusual().blocked_s += blocked_s
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        return timed_receive

    def forget_request(self, late_s: float, returned_after_s: float) -> None:
        """Its request is over: keep what the figures need, let go of the rest."""
        self.method, self.path = self.scope["method"], self.scope["path"]
        self.late_s, self.returned_after_s = late_s, returned_after_s
        self.scope = _OVER
        self.to_client = _nobody

    def mark_unusual(self) -> Unusual:
        """The place for what most requests have nothing of."""
        if self.unusual is None:
            self.unusual = Unusual()
        return self.unusual

    @property
    def ran(self) -> Ran | None:
        """Where it was answered; None where nobody has, because its client had gone before."""
        return self.unusual.ran if self.unusual is not None else Ran.SERVER

    @property
    def is_complete(self) -> bool:
        """The last byte of the response was handed over."""
        return self.last_body_s != NOT_YET_S

    @property
    def latency_s(self) -> float:
        """From the head being readable to the last byte handed over, without what the client took."""
        end_s, blocked_s = self._end
        return end_s - self.began_s + self.late_s - blocked_s

    @property
    def service_began_s(self) -> float:
        """When the app was called."""
        unusual = self.unusual
        return self.began_s if unusual is None or unusual.service_began_s == NOT_YET_S else unusual.service_began_s

    @property
    def service_s(self) -> float:
        """From the app being called to the last byte handed over, without what the client took of that."""
        unusual = self.unusual
        if unusual is None:
            return self.last_body_s - self.began_s
        end_s, blocked_s = self._end
        return end_s - self.service_began_s - (blocked_s - unusual.blocked_before_s)

    @property
    def has_service_time(self) -> bool:
        """The moment with which service ends has come, and it says something about the route's work."""
        unusual = self.unusual
        if unusual is None:
            return self.is_complete
        if unusual.streams and unusual.first_body_s != NOT_YET_S:
            return True
        return self.is_complete and not (unusual.is_stream or unusual.crashed)

    @property
    def _end(self) -> tuple[float, float]:
        """When latency and service end, and what the client took until then."""
        unusual = self.unusual
        if unusual is None:
            return self.last_body_s, 0.0
        if unusual.streams and unusual.first_body_s != NOT_YET_S:
            return unusual.first_body_s, unusual.first_blocked_s
        return self.last_body_s, unusual.blocked_s

    @property
    def streamed_s(self) -> float:
        """From the first to the last body message, without what the client took; 0 for a body of one message."""
        unusual = self.unusual
        if unusual is None or unusual.first_body_s == NOT_YET_S:
            return 0.0
        return max(0.0, self.last_body_s - unusual.first_body_s - unusual.blocked_s)
