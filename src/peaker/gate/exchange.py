"""One request on its way through the gate: what it was answered with, where, and when."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from peaker.app import Message, Receive, Scope, Send
from peaker.clock import Clock
from peaker.meter.usage import Ran

if TYPE_CHECKING:
    from peaker.gate.routes import Route

STREAM_GAP_S = 1.0
"""A response still going on this long after its first body message is a stream; it gives its slot back."""


class Exchange:
    """Watches the messages of one response.

    `send` is a plain function that returns the server's own awaitable, so that watching a plain response costs no
    coroutine. The class-level values are those of a request nothing special happened to: an instance sets only what
    it needs, which is a third of what filling every field would cost.
    """

    start: Message | None = None
    bytes_sent = 0
    first_body_s = 0.0
    ended_s = 0.0
    blocked_s = 0.0
    waited_s = 0.0
    streamed = False
    crashed = False
    cold = False
    ran = Ran.SERVER

    def __init__(self, scope: Scope, send: Send, route: Route, origin_s: float, began_s: float, clock: Clock) -> None:
        self.scope = scope
        self.route = route
        self.origin_s = origin_s
        self.began_s = began_s
        self._send = send
        self._now_s = clock.now_s

    def send(self, message: Message) -> Awaitable[None]:
        """Pass one message on; the last one of the body stops the clock."""
        if message["type"] == "http.response.body":
            self.bytes_sent += len(message.get("body", b""))
            self.ended_s = self._now_s()
        else:
            self.start = message
        return self._send(message)

    def timed(self, receive: Receive) -> Receive:
        """The same `receive`, with the time the client lets the app wait for its body counted as its own."""
        return receive
