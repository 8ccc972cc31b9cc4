"""Handing a request to a sibling worker that has a free slot: the side that gives.

One request at a time per connection, connections pooled per sibling. The sibling answers first whether it has begun
(`gate/take_in.py`), and nothing is read from the client before the sibling's app asks for it, so a sibling that turns
out to be full leaves the request untouched.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path

from peaker.asgi import Receive, Scope, Send
from peaker.errors import PeakerError
from peaker.gate.frames import (
    READ_BYTES_HIGH,
    Kind,
    Link,
    LinkLost,
    decode_start,
    encode_request,
    has_body,
)
from peaker.gate.neighbours import Neighbourhood
from peaker.policy.sharing import most_free

LINKS_MAX = 128
"""Open connections to one sibling. With more requests than that in its hands a sibling counts as full."""

_DIED = b"The worker that was answering this request died."


class SiblingFailed(PeakerError):  # noqa: N818 - named for the outcome
    """The app failed in the sibling that had taken the request; its log has the traceback."""


class SiblingLinks:
    """`gate.siblings.Siblings` over unix sockets."""

    def __init__(self, neighbourhood: Neighbourhood, socket_of: Callable[[int], Path], chance: random.Random) -> None:
        self._neighbourhood = neighbourhood
        self._socket_of = socket_of
        self._chance = chance
        self._idle: dict[int, list[_GivingLink]] = {}
        self._open: dict[int, int] = {}

    def find_free(self) -> int | None:
        """Row of the sibling with the most free slots, chosen by chance between equals; None when all are full."""
        return most_free(self._neighbourhood.ready(), self._chance.random())

    async def hand_over(self, row: int, scope: Scope, receive: Receive, send: Send) -> bool:
        """Let the worker of this row answer.

        Returns:
            True when it has answered, False when it was full or gone and the app has not begun. A sibling that dies
            before the head of its response answers 502: whether its app had an effect is not known, so the request is
            given to nobody else.

        Raises:
            SiblingFailed: the app failed there, or the sibling died in the middle of its response; the server ends
                the connection or answers 500, as for an app that fails here.
        """
        link = await self._take(row)
        if link is None:
            return False
        try:
            return await link.exchange(scope, receive, send)
        finally:
            self._give_back(row, link)

    def close(self) -> None:
        """Close idle connections."""
        for links in self._idle.values():
            for link in links:
                link.close()
        self._idle.clear()

    async def _take(self, row: int) -> _GivingLink | None:
        idle = self._idle.setdefault(row, [])
        while idle:
            link = idle.pop()
            if not link.is_lost:
                return link
            self._open[row] -= 1
        if self._open.get(row, 0) >= LINKS_MAX:
            return None
        self._open[row] = self._open.get(row, 0) + 1
        try:
            loop = asyncio.get_running_loop()
            _, link = await loop.create_unix_connection(_GivingLink, str(self._socket_of(row)))
        except BaseException as error:
            self._open[row] -= 1
            if isinstance(error, OSError):
                return None  # It has ended since it last beat.
            raise
        return link

    def _give_back(self, row: int, link: _GivingLink) -> None:
        if link.is_reusable:
            self._idle.setdefault(row, []).append(link)
        else:
            link.close()
            self._open[row] -= 1


class _GivingLink(Link):
    """The origin's end of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._frames: deque[tuple[int, bytes]] = deque()
        self._frame_bytes = 0
        self._reading_paused = False
        self._arrival: asyncio.Future[None] | None = None
        self._body_given = False
        self._in_step = True
        """False once a body has been sent in part: what the sibling reads next would be the rest of it."""

    @property
    def is_reusable(self) -> bool:
        """The next frame on this connection can be a REQUEST."""
        return self._in_step and not self.is_lost and not self._frames

    async def exchange(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """One request; see `SiblingLinks.hand_over`."""
        body = has_body(scope)
        self._in_step = self._body_given = False
        self.write(Kind.REQUEST, encode_request(scope, body=body))
        giving: asyncio.Task[None] | None = None
        has_started = False
        try:
            while True:
                kind, payload = await self._next()
                if kind == Kind.START:
                    has_started = True
                    await send(decode_start(payload))
                elif kind == Kind.BODY:
                    await send({"type": "http.response.body", "body": payload, "more_body": True})
                elif kind == Kind.END:
                    self._in_step = giving is None or not body or self._body_given
                    await send({"type": "http.response.body", "body": payload, "more_body": False})
                    return True
                elif kind == Kind.WANT:
                    giving = asyncio.get_running_loop().create_task(self._give(receive, body=body))
                elif kind == Kind.FULL:
                    self._in_step = True
                    return False
                else:
                    raise SiblingFailed
        except LinkLost as error:
            if has_started:
                raise SiblingFailed("the sibling died in the middle of its response.") from error
            await _answer_died(send)
            return True
        finally:
            if giving is not None:
                giving.cancel()

    async def _give(self, receive: Receive, *, body: bool) -> None:
        """Pass on what the client sends, and that it has gone; runs until it is cancelled or the client is gone."""
        try:
            while (message := await receive())["type"] == "http.request":
                if not body:
                    continue  # The empty message that every request has; the sibling has made its own.
                more_body = message.get("more_body", False)
                await self.write_body(message.get("body", b""), more_body=more_body)
                self._body_given = not more_body
            self.write(Kind.GONE)
        except Exception:
            self.close()  # Else the sibling would wait for the rest of the body.
            raise

    async def _next(self) -> tuple[int, bytes]:
        while not self._frames:
            if self.is_lost:
                raise LinkLost
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        kind, payload = self._frames.popleft()
        self._frame_bytes -= len(payload)
        if self._reading_paused and self._frame_bytes <= READ_BYTES_HIGH // 2:
            self._reading_paused = False
            self.resume_reading()
        return kind, payload

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Queue it for `exchange`, and stop reading while too much is queued."""
        self._frames.append((kind, payload))
        self._frame_bytes += len(payload)
        if self._frame_bytes > READ_BYTES_HIGH and not self._reading_paused:
            self._reading_paused = True
            self.pause_reading()
        self._wake()

    def link_lost(self) -> None:
        """`exchange` uses up the frames that came before."""
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


async def _answer_died(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_DIED))]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": _DIED, "more_body": False})
