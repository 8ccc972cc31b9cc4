"""Handing a request to a sibling worker that has a free slot: the side that takes it in and runs the app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from peaker.asgi import Message, Receive, Scope, Send
from peaker.gate.frames import Kind, Link, decode_request, encode_start
from peaker.unix_socket import UnixListener

_BODY_BYTES_HIGH = 65_536
"""As in uvicorn: a body this far ahead of the app is left in the socket."""

Admit = Callable[[Scope, Receive, Send], Awaitable[None] | None]

_logger = logging.getLogger("peaker.gate")


class HandOverServer:
    """Takes requests of siblings for as long as `admit` (`Gate.admit_handed_over`) has a slot for them.

    The app sees the scope that the origin's server made, with the lifespan state of this worker.
    """

    def __init__(self, admit: Admit, state: dict[str, Any]) -> None:
        self.admit = admit
        self.state = state
        self.refuses = False
        """Set while draining: every further request is answered FULL."""
        self.tasks: set[asyncio.Task[None]] = set()
        self._links: set[_TakingLink] = set()
        self._listener: UnixListener | None = None
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Listen at `path`; raises ListenError."""
        self._listener = UnixListener(path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._link, sock=self._listener.socket.dup())

    async def wait_until_idle(self) -> None:
        """Return when no request of a sibling runs here."""
        while self.tasks:
            await asyncio.wait(self.tasks)

    def cancel(self) -> None:
        """End the apps that still run."""
        for task in self.tasks:
            task.cancel()

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()
        for link in tuple(self._links):
            link.close()

    def _link(self) -> _TakingLink:
        link = _TakingLink(self, self._links)
        self._links.add(link)
        return link


class _TakingLink(Link):
    """The taking end of one connection; `_taken` is the request being answered."""

    def __init__(self, server: HandOverServer, links: set[_TakingLink]) -> None:
        super().__init__()
        self._server = server
        self._links = links
        self._taken: _Taken | None = None

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Begin a request, or pass on what belongs to the one that runs."""
        if kind == Kind.REQUEST:
            self._begin(payload)
        elif self._taken is None:
            return  # Late: its response is complete.
        elif kind in (Kind.BODY, Kind.END):
            self._taken.body_received(payload, more_body=kind == Kind.BODY)
        elif kind == Kind.GONE:
            self._taken.client_gone()
        else:
            self.close()

    def link_lost(self) -> None:
        """To the app it is the same as a client that goes away."""
        self._links.discard(self)
        if self._taken is not None:
            self._taken.client_gone()

    def finished(self, taken: _Taken) -> None:
        """The response is complete: the next request may come while the app still works in the background."""
        if self._taken is taken:
            self._taken = None
            self.resume_reading()

    def _begin(self, payload: bytes) -> None:
        server = self._server
        scope, body = decode_request(payload)
        scope["state"] = server.state.copy()
        taken = _Taken(self, has_body=body)
        running = None if server.refuses else server.admit(scope, taken.receive, taken.send)
        if running is None:
            self.write(Kind.FULL)
            return
        self._taken = taken
        task = asyncio.get_running_loop().create_task(taken.run(running))
        server.tasks.add(task)
        task.add_done_callback(server.tasks.discard)


class _Taken:
    """One request of a sibling: the `receive` and `send` of its app, behaving as uvicorn's do."""

    def __init__(self, link: _TakingLink, *, has_body: bool) -> None:
        self._link = link
        self._has_body = has_body
        self._body = bytearray()
        self._more_body = has_body
        self._body_news = not has_body
        """There is a body message that the app has not been given."""
        self._has_asked = False
        self._is_gone = False
        self._has_started = False
        self._is_complete = False
        self._reading_paused = False
        self._news = asyncio.Event()

    async def run(self, running: Awaitable[None]) -> None:
        """Run the app to its end; a failure is told to the origin, which treats it as its own app's."""
        try:
            await running
        except Exception:
            _logger.exception("the app failed in a request taken from a sibling", extra={"action": "take_in"})
        finally:
            if not self._is_complete:
                self._link.write(Kind.FAILED)
                self._complete()

    async def receive(self) -> Message:
        """The next part of the request's body, or that the client has gone."""
        while not (self._is_gone or self._is_complete):
            if self._body_news:
                return self._body_message()
            if not self._has_asked:
                self._has_asked = True
                self._link.write(Kind.WANT)
            if self._reading_paused:
                self._reading_paused = False
                self._link.resume_reading()
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Pass a part of the response to the origin; waits while the client is slow."""
        kind = message["type"]
        if self._is_complete:
            raise RuntimeError(f"Unexpected ASGI message {kind!r} sent, after response already completed.")
        expected = "http.response.body" if self._has_started else "http.response.start"
        if kind != expected:
            raise RuntimeError(f"Expected ASGI message {expected!r}, but got {kind!r}.")
        if self._is_gone:
            return
        if not self._has_started:
            self._has_started = True
            self._link.write(Kind.START, encode_start(message))
            return
        more_body = message.get("more_body", False)
        if not more_body:
            await self._link.write_body(message.get("body", b""), more_body=False)
            self._complete()
        else:
            await self._link.write_body(message.get("body", b""), more_body=True)

    def body_received(self, piece: bytes, *, more_body: bool) -> None:
        """A piece of the request's body has come."""
        self._body += piece
        self._more_body = more_body
        self._body_news = True
        if len(self._body) > _BODY_BYTES_HIGH and not self._reading_paused:
            self._reading_paused = True
            self._link.pause_reading()
        self._news.set()

    def client_gone(self) -> None:
        """Nobody waits for the response any more."""
        self._is_gone = True
        self._news.set()

    def _body_message(self) -> Message:
        message = {"type": "http.request", "body": bytes(self._body), "more_body": self._more_body}
        self._body.clear()
        self._body_news = False
        return message

    def _complete(self) -> None:
        self._is_complete = True
        self._news.set()
        self._link.finished(self)
