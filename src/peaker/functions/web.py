"""A web app as a function: one event is one request, answered by the app as a server would have it answered.

One lifespan spans the instance's life. What uvicorn does with a misbehaving app is done here too, so that a client
cannot tell where its request ran: an exception before the response began is a plain 500; after that, where a server
would break the connection, the invocation fails.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from typing import Any

from peaker.asgi import ASGIApp, Message, Scope
from peaker.errors import AppStartError, PayloadTooLarge, PeakerError
from peaker.messages import Headers, JSONValue, Request, Response, RunNotes
from peaker.wire.http_api import (
    RESULT_BYTES_MAX,
    event_to_request,
    request_to_event,
    request_to_scope,
    result_for,
)

_SERVER_ERROR = Response(
    status=500,
    headers=((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21"), (b"connection", b"close")),
    body=b"Internal Server Error",
)


class ResponseBroken(PeakerError):  # noqa: N818 - named for the outcome
    """The app ended before its response was complete."""


def warm_up_event(path: str) -> bytes:
    """The event of a GET for `path` (query included) that comes from this machine."""
    raw_path, _, query = path.partition("?")
    request = Request(
        method="GET",
        raw_path=raw_path.encode(),
        query_string=query.encode(),
        headers=((b"host", b"localhost"), (b"user-agent", b"peaker-warm-up"), (b"accept", b"*/*")),
        client=("127.0.0.1", 0),
        server=("127.0.0.1", 80),
    )
    return request_to_event(request, request_id="warm-up", epoch_s=time.time())


class WebApp:
    """An ASGI app between its start and its stop; use within one event loop."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._state: dict[str, Any] = {}
        self._lifespan: asyncio.Task[None] | None = None
        self._lifespan_messages: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Run the app's start-up; an app without lifespan is started at once.

        Raises:
            AppStartError: the app said that it failed, in its own words.
        """
        self._lifespan = asyncio.create_task(self._run_lifespan())
        await self._lifespan_messages.put({"type": "lifespan.startup"})
        failure = await self._started
        if failure:
            raise AppStartError(f"the app's start-up (lifespan) failed: {failure}")

    async def stop(self) -> str:
        """Run the app's shutdown; returns what went wrong, "" for nothing."""
        if self._lifespan is None or self._lifespan.done():
            return ""
        await self._lifespan_messages.put({"type": "lifespan.shutdown"})
        failure = await self._stopped
        await self._lifespan
        return failure

    async def answer(self, event: bytes, *, cold: bool = False, init_ms: float = 0.0) -> bytes:
        """The result of one event.

        Raises:
            MalformedEvent: the event is not that of an HTTP request.
            PayloadTooLarge: the response is longer than a result may be.
            ResponseBroken: the app ended before its response was complete.
        """
        started_s = time.perf_counter()
        document = json.loads(event)
        response = await self.respond(document)
        duration_ms = (time.perf_counter() - started_s) * 1000
        notes = RunNotes(cold=cold, init_ms=init_ms, duration_ms=duration_ms)
        return result_for(document, response, notes)

    async def respond(self, document: JSONValue) -> Response:
        """The response to the request in an event that is read already; raises as `answer`."""
        request = event_to_request(document)
        exchange = WholeExchange(request.body)
        await self.answer_through(request, exchange)
        return exchange.response()

    def read_event(self, event: bytes) -> Request:
        """The request that an event stands for; raises MalformedEvent, or ValueError where it is not JSON."""
        return event_to_request(json.loads(event))

    async def answer_through(self, request: Request, exchange: Exchange) -> None:
        """Let the app answer into this exchange; raises as `answer`."""
        scope = request_to_scope(request)
        if self._state:
            scope["state"] = self._state.copy()
        try:
            # A task of its own gives each request its own context variables, as a server does.
            if not await asyncio.create_task(self._respond(scope, exchange)):
                start: Message = {"type": "http.response.start", "status": _SERVER_ERROR.status}
                await exchange.send({**start, "headers": _SERVER_ERROR.headers})
                await exchange.send({"type": "http.response.body", "body": _SERVER_ERROR.body})
        finally:
            exchange.end()

    async def _respond(self, scope: Scope, exchange: Exchange) -> bool:
        """Call the app; False if it left no response at all."""
        try:
            await self._application(scope, exchange.receive, exchange.send)
        except PayloadTooLarge:
            raise
        except BaseException as error:  # as uvicorn: whatever the app raises ends its request, never the server
            traceback.print_exception(error, file=sys.stderr)
            if exchange.status == 0 or exchange.is_gone:
                return exchange.is_gone
            if exchange.is_complete:  # Starlette answers 500 itself, then lets the exception through to be logged
                return True
            raise ResponseBroken(f"{type(error).__name__} after the response had begun: {error}") from error
        if exchange.is_gone:
            return True
        if exchange.status == 0:
            sys.stderr.write("ASGI callable returned without starting response.\n")
            return False
        if not exchange.is_complete:
            raise ResponseBroken("ASGI callable returned without completing response.")
        return True

    async def _run_lifespan(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._application(scope, self._lifespan_messages.get, self._lifespan_send)
        except BaseException as error:  # noqa: BLE001 - most apps without lifespan raise here, and that is no failure
            if self._started.done():
                traceback.print_exception(error, file=sys.stderr)
        finally:
            for ended in (self._started, self._stopped):
                if not ended.done():
                    ended.set_result("")

    async def _lifespan_send(self, message: Message) -> None:
        step, _, outcome = message["type"].removeprefix("lifespan.").partition(".")
        ended = {"startup": self._started, "shutdown": self._stopped}[step]
        if ended.done():
            raise RuntimeError(f"ASGI message {message['type']!r} sent twice")
        ended.set_result("" if outcome == "complete" else message.get("message") or "no reason given")


class Exchange:
    """One request and response between the app and its caller; what becomes of the response is the subclass's."""

    def __init__(self, body: bytes) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.is_complete = False
        self.is_gone = False
        """The caller has gone: the app is told, and what it sends is taken in silence, as a server does."""
        self._request_body: bytes | None = body
        self._ended = asyncio.Event()

    async def receive(self) -> Message:
        """The whole body at once, then, when the response is complete or the caller gone, the disconnect."""
        if self._request_body is not None:
            body, self._request_body = self._request_body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take one message of the response; messages out of order raise RuntimeError, as in a server."""
        kind = message["type"]
        if self.is_gone:
            # A generator that never waits would keep the loop to itself, and its app would never hear of it.
            await asyncio.sleep(0)
            return
        if self.status == 0:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected ASGI message 'http.response.start', but got '{kind}'.")
            self.status = message["status"]
            self.headers = tuple((bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ()))
            await self.take_head()
        elif self.is_complete:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' sent, after response already completed.")
        elif kind != "http.response.body":
            raise RuntimeError(f"Expected ASGI message 'http.response.body', but got '{kind}'.")
        else:
            is_last = not message.get("more_body", False)
            await self.take_body(message.get("body", b""))
            if is_last:
                self.is_complete = True
                self._ended.set()

    async def take_head(self) -> None:
        """Status and headers are known."""

    async def take_body(self, chunk: bytes) -> None:
        """A piece of the body, which may be empty."""
        raise NotImplementedError

    def client_gone(self) -> None:
        """Nobody reads the response any more."""
        self.is_gone = True
        self._ended.set()

    def end(self) -> None:
        """Whatever of the app still waits in `receive` learns that the exchange is over."""
        self._ended.set()


class WholeExchange(Exchange):
    """Keeps the response until it is complete."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._response_body: list[bytes] = []
        self._response_bytes = 0

    async def take_body(self, chunk: bytes) -> None:
        """Raises PayloadTooLarge where it could not be a result any more."""
        self._response_bytes += len(chunk)
        if self._response_bytes > RESULT_BYTES_MAX:
            self._response_body.clear()
            raise PayloadTooLarge(
                f"the response is longer than {RESULT_BYTES_MAX} bytes.", remedy="Place this route on the servers."
            )
        if chunk:
            self._response_body.append(bytes(chunk))

    def response(self) -> Response:
        """The complete response."""
        return Response(status=self.status, headers=self.headers, body=b"".join(self._response_body))
