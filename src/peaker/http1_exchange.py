"""What a small HTTP/1.1 server is given and gives: limits, a whole request, a whole answer or one in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one server takes; times in seconds."""

    head_bytes_max: int = 32_768
    body_bytes_max: int = 6 * 1024 * 1024
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_s_max: float = 75.0
    connections_max: int = 2000


@dataclass(slots=True, kw_only=True)
class HttpRequest:
    """One whole request: header names in lower case, values stripped, in the order received.

    A handler that wants to hear of a client that goes away sets `on_gone`; it is called at most once.
    """

    method: str
    target: str
    header_list: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    on_gone: Callable[[], object] | None = None
    is_chunking_known: bool = True
    """The client speaks HTTP/1.1: a body without length can be sent in chunks; else it ends with the connection."""


@dataclass(slots=True, kw_only=True)  # not frozen: that costs a call for each field of each answer
class HttpAnswer:
    """One whole answer; content-length is added."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedAnswer:
    """An answer whose body comes piece by piece; the next one is asked for when the client has room for it.

    `pieces` is closed (`aclose`) when the client goes. If it raises, the connection is cut off without the end of the
    body, so that nobody takes what came for the whole.
    """

    status: int
    headers: list[tuple[str, str]]
    pieces: AsyncGenerator[bytes, None]


HttpHandler = Callable[[HttpRequest], Awaitable[HttpAnswer | StreamedAnswer]]


class BodySink(Protocol):
    """Takes a request's body as it comes; the request follows, without it, when the body has ended."""

    def feed(self, piece: bytes) -> None:
        """The next of it."""
        ...

    def broken(self) -> None:
        """The client went in the middle of it."""
        ...


OpenBody = Callable[[HttpRequest, asyncio.Transport], BodySink | None]
"""Given a request's head, who takes the body as it comes; None has it collected, up to `body_bytes_max`."""

Refuse = Callable[[int, str], HttpAnswer]
"""Makes the answer to a request that never reaches the handler: status 400, 408, 413 or 431, and the reason."""


def refuse_plainly(status: int, reason: str) -> HttpAnswer:
    """The reason as text."""
    return HttpAnswer(status=status, headers=[("content-type", "text/plain; charset=utf-8")], body=reason.encode())
