"""One request on its way through the gate: what it was answered with, where, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from peaker.app import Message, Receive, Scope, Send
from peaker.meter.usage import Ran

if TYPE_CHECKING:
    from peaker.gate.routes import Route

STREAM_S = 1.0
"""A response that still goes on this long after its first body message is a stream and gives its slot back."""


class Host(Protocol):
    """What an exchange asks of the gate it runs in."""

    now_s: Callable[[], float]
    rewrites_start: bool
    """Responses get headers of the gate's: while it drains, or where a header says where they ran."""

    def rewrite(self, start: Message, exchange: Exchange) -> Message:
        """The `http.response.start` as the client gets it."""
        ...

    def give_back_slot(self, exchange: Exchange) -> None:
        """The exchange has become a stream; it goes on without a slot."""
        ...


class Exchange:
    """Watches the messages of one response.

    `send` is a plain function that returns the server's own awaitable, so that watching a plain response costs no
    coroutine. The class-level values are those of a request nothing special happened to: an instance sets only what is
    its own, because every field that is set costs the request path some 15 ns.

    Times are in seconds of the gate's clock: `origin_s` when the request head was readable, `began_s` when the app was
    called, `first_body_s` and `last_body_s` when a body message was handed over, `returned_s` when the app returned,
    `blocked_s` how long the client kept the app waiting.

    Nothing keeps an exchange once its request has ended. A list of them, to be looked through every few milliseconds,
    was measured at 4 us a request more: what it kept alive went through the collector's generations.
    """

    start: Message | None = None
    status = 0
    """0 where no response was begun."""
    bytes_sent = 0
    first_body_s: float | None = None
    last_body_s = 0.0
    returned_s = 0.0
    blocked_s = 0.0
    waited_s = 0.0
    is_complete = False
    is_guest = False
    """It was handed over by a sibling, whose gate counts it."""
    holds_slot = True
    crashed = False
    cold = False
    ran: Ran | None = Ran.SERVER
    """None where it was answered by nobody, because its client had gone before."""
    request_id = ""
    refused_because = ""

    def __init__(  # noqa: PLR0917 - on the request path, where keywords cost more than the call
        self, host: Host, scope: Scope, send: Send, route: Route, origin_s: float, began_s: float
    ) -> None:
        self._host = host
        self.scope = scope
        self._send = send
        self.route = route
        self.origin_s = origin_s
        self.began_s = began_s

    def send(self, message: Message) -> Awaitable[None]:
        """Pass one message on; the last one of the body stops the clock."""
        if message["type"] == "http.response.body":
            if message.get("more_body"):
                return self._send_part(message)
            self.bytes_sent += len(message.get("body", b""))
            # Before it is handed over: what `send` waits for from here on is the client.
            self.last_body_s = self._host.now_s()
            self.is_complete = True
        elif message["type"] == "http.response.start":
            self.start = message
            self.status = message["status"]
            if self._host.rewrites_start:
                message = self._host.rewrite(message, self)
        return self._send(message)

    async def _send_part(self, message: Message) -> None:
        """One of several body messages: find out whether this is a stream, and leave out what the client takes."""
        now_s = self._host.now_s()
        self.bytes_sent += len(message.get("body", b""))
        if self.first_body_s is None:
            self.first_body_s = now_s
        if self.holds_slot and (now_s - self.first_body_s > STREAM_S or self._is_event_stream()):
            self._host.give_back_slot(self)
        await self._send(message)
        self.last_body_s = self._host.now_s()
        self.blocked_s += self.last_body_s - now_s

    def timed(self, receive: Receive) -> Receive:
        """The same `receive`; the time in which the app waits for the client's body is the client's."""
        more = True

        async def timed_receive() -> Message:
            nonlocal more
            if not more:
                return await receive()
            before_s = self._host.now_s()
            message = await receive()
            self.blocked_s += self._host.now_s() - before_s
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        return timed_receive

    @property
    def latency_s(self) -> float:
        """From the head being readable to the last byte handed over, without what the client took."""
        return self.last_body_s - self.origin_s - self.blocked_s

    @property
    def service_s(self) -> float:
        """The same from the app being called."""
        return self.last_body_s - self.began_s - self.blocked_s

    @property
    def streamed_s(self) -> float:
        """From the first to the last body message, without what the client took; 0 for a body of one message."""
        if self.first_body_s is None:
            return 0.0
        return max(0.0, self.last_body_s - self.first_body_s - self.blocked_s)

    def _is_event_stream(self) -> bool:
        headers = self.start.get("headers", ()) if self.start else ()
        return any(name.lower() == b"content-type" and b"text/event-stream" in value for name, value in headers)
