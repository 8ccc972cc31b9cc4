"""The door of the events process: events to be kept, and questions about them, over one unix socket."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from peaker.errors import MalformedEvent, PeakerError
from peaker.event_socket import EventConnection, error_name, event_of
from peaker.events.putting import Putting
from peaker.frames import FrameError, Head
from peaker.units import MIB
from peaker.unix_socket import UnixListener

BYTES_IN_FLIGHT_MAX = 16 * MIB
REQUESTS_IN_FLIGHT_MAX = 2_000
"""Of one connection; it is not read any further until some of them have been answered."""

CONNECTIONS_MAX = 256

READ_S_MAX = 5.0
"""At the end, for those who are slow to read their answers."""

_logger = logging.getLogger("peaker.events.intake")

Question = Callable[[dict[str, Any]], Awaitable[tuple[dict[str, Any], bytes]]]
"""Takes the head of a request, gives fields and body of its reply; a PeakerError becomes a refusal with its text."""


class Intake:
    """Serves `put` and `questions` at `listener`, which stays the caller's."""

    def __init__(self, listener: UnixListener, putting: Putting, questions: Mapping[str, Question]) -> None:
        self._listener = listener
        self._putting = putting
        self._questions = questions
        self._server: asyncio.Server | None = None
        self._connections: set[EventConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: Counter[EventConnection] = Counter()
        self._bytes: Counter[EventConnection] = Counter()

    async def start(self) -> None:
        """Take connections."""
        own = self._listener.socket.dup()  # The event loop closes what it is given.
        own.setblocking(False)
        self._server = await asyncio.get_running_loop().create_unix_server(self._connection, sock=own)

    async def close(self) -> None:
        """Take nothing more, answer what has come, hang up."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.pause_reading()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=READ_S_MAX)
        for connection in tuple(self._connections):
            connection.close()

    def _connection(self) -> EventConnection:
        connection = EventConnection(self._received, self._lost)
        self._connections.add(connection)
        return connection

    def _lost(self, connection: EventConnection) -> None:
        self._connections.discard(connection)
        self._requests.pop(connection, None)
        self._bytes.pop(connection, None)

    def _received(self, connection: EventConnection, head: Head, body: bytes) -> None:
        if len(self._connections) > CONNECTIONS_MAX:
            connection.close()
            return
        self._requests[connection] += 1
        self._bytes[connection] += len(body)
        if self._is_full(connection):
            connection.pause_reading()
        task = asyncio.get_running_loop().create_task(self._answer(connection, head, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_full(self, connection: EventConnection) -> bool:
        return self._requests[connection] >= REQUESTS_IN_FLIGHT_MAX or self._bytes[connection] >= BYTES_IN_FLIGHT_MAX

    async def _answer(self, connection: EventConnection, head: Head, body: bytes) -> None:
        reply, answer = await self._reply(head, body)
        if connection not in self._connections:
            return
        try:
            connection.send({"kind": "reply", "id": head.get("id"), **reply}, answer)
        except FrameError as error:
            message = f"the answer cannot be sent: {error}."
            connection.send({"kind": "reply", "id": head.get("id"), "error": "wrong", "message": message})
        self._requests[connection] -= 1
        self._bytes[connection] -= len(body)
        await connection.writable()
        if not self._is_full(connection):
            connection.resume_reading()

    async def _reply(self, head: Head, body: bytes) -> tuple[dict[str, Any], bytes]:
        what = head.get("do")
        try:
            if what == "put":
                return {"ok": True, "kept": await self._putting.put(event_of(head.get("event"), body))}, b""
            question = self._questions.get(str(what))
            if question is None:
                known = ", ".join(["put", *self._questions])
                raise MalformedEvent(f"unknown request {str(what)[:80]!r}; known: {known}.")  # noqa: TRY301
            fields, answer = await question(head)
        except PeakerError as error:
            return {"error": error_name(error), "message": str(error)}, b""
        except Exception as error:
            _logger.exception("the request %r failed", what, extra={"action": "intake"})
            return {"error": "unavailable", "message": f"{type(error).__name__}: {error}"}, b""
        return {"ok": True, **fields}, answer
