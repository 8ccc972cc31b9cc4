"""The way events are sent to the process that keeps them: frames over a unix socket, many in flight on one connection.

A request is a frame whose head has an `id`, which its reply repeats, and says what to `do`; the payload of an event is
its body. A reply says `ok`, or else which `error` it was: `full`, `unavailable` or `wrong`, with a `message`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from peaker.errors import MalformedEvent, PeakerError, QueueFull, QueueUnavailable
from peaker.frames import FrameError, FrameReader, Head, pack
from peaker.messages import Event

WAIT_S = 10.0
"""The process that keeps events is away for about a second when it is begun anew."""

_PAUSE_S = 0.02
_PAUSE_S_MAX = 0.2
IN_FLIGHT_MAX = 10_000

_ERRORS: dict[str, type[PeakerError]] = {"full": QueueFull, "unavailable": QueueUnavailable, "wrong": MalformedEvent}

_FIELDS = tuple(field.name for field in dataclasses.fields(Event) if field.name != "payload")


def event_head(event: Event) -> dict[str, Any]:
    """All of an event but its payload, for a frame's head."""
    return {name: getattr(event, name) for name in _FIELDS}


def event_of(head: Any, payload: bytes) -> Event:
    """The reverse; raises MalformedEvent where something is missing or of another type."""
    try:
        fields = dict(head)
        fields["headers"] = tuple((str(name), str(value)) for name, value in fields.get("headers", ()))
        event = Event(**fields, payload=payload)
    except (TypeError, ValueError) as error:
        raise MalformedEvent(f"not an event: {error}.") from error
    texts = (event.id, event.function, event.source, event.qualifier, event.dedup_key, event.group)
    times = (event.dedup_s, event.not_before_s, event.accepted_at_s)
    if not (all(isinstance(text, str) for text in texts) and all(isinstance(time_s, (int, float)) for time_s in times)):
        raise MalformedEvent(f"not an event: {str(head)[:200]}.")
    if not isinstance(event.hops, int) or not (event.id and event.function):
        raise MalformedEvent(f"not an event: {str(head)[:200]}.")
    return event


def error_name(error: PeakerError) -> str:
    """As a reply says it."""
    return next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), "wrong")


class EventConnection(asyncio.Protocol):
    """Either side of one connection; `on_frame` gets each whole frame, `on_lost` is called once at the end."""

    def __init__(
        self, on_frame: Callable[[EventConnection, Head, bytes], None], on_lost: Callable[[EventConnection], None]
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's call."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The loop's call."""
        try:
            frames = self._frames.feed(data)
        except FrameError:
            self.close()
            return
        for head, body in frames:
            self._on_frame(self, head, body)

    def connection_lost(self, _: Exception | None) -> None:
        """The loop's call."""
        self._transport = None
        self._writable.set()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """The loop's call: the other side reads slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The loop's call."""
        self._writable.set()

    @property
    def is_open(self) -> bool:
        """Something written now may arrive."""
        return self._transport is not None and not self._transport.is_closing()

    async def writable(self) -> None:
        """Until the other side has read enough; returns at once for a connection that has ended."""
        await self._writable.wait()

    def pause_reading(self) -> None:
        """Take nothing more until `resume_reading`."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more."""
        if self.is_open and self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    def send(self, head: Head, body: bytes = b"") -> None:
        """One frame; nothing happens on a connection that has ended. Raises FrameError where it is too large."""
        frame = pack(head, body)
        if self._transport is not None:
            self._transport.write(frame)

    def close(self) -> None:
        """What was sent still leaves."""
        if self._transport is not None:
            self._transport.close()


class EventClient:
    """Sends events, and questions about them, to the process that keeps them.

    It connects when it is first used and again whenever it has to. While the process is away a call waits for it, for
    at most `wait_s` in all. A put whose answer was lost with the connection is sent once more: the event's id keeps it
    from being kept twice.
    """

    def __init__(self, path: Path, *, wait_s: float = WAIT_S) -> None:
        self._path = path
        self._wait_s = wait_s
        self._connection: EventConnection | None = None
        self._connecting: asyncio.Task[EventConnection] | None = None
        self._asked: dict[int, asyncio.Future[tuple[Head, bytes]]] = {}
        self._next_id = 0
        self._is_closed = False

    async def put(self, event: Event) -> str:
        """Have it kept; returns its id, or that of the event that it is a duplicate of. Then it is on disk.

        Raises:
            QueueFull: there is no room for it.
            QueueUnavailable: it could not be kept, or nobody answered in time. It may be sent again under its id.
            MalformedEvent: it is none.
        """
        reply, _ = await self.ask("put", event.payload, event=event_head(event))
        return str(reply.get("kept", event.id))

    async def ask(self, what: str, body: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Send one request and return head and body of its reply; raises as `put`."""
        if len(self._asked) >= IN_FLIGHT_MAX:
            raise QueueFull(f"{IN_FLIGHT_MAX} calls are waiting for an answer already.", where=str(self._path))
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._wait_s
        pause_s = _PAUSE_S
        while True:
            try:
                async with asyncio.timeout_at(deadline_s):
                    return await self._ask_once(what, body, fields)
            except (OSError, EOFError) as error:  # TimeoutError is an OSError
                if loop.time() + pause_s >= deadline_s or self._is_closed:
                    raise QueueUnavailable(
                        f"the events process does not answer ({str(error) or type(error).__name__}).",
                        where=str(self._path),
                        remedy="`peaker run` starts it again by itself, if that runs; then send the event again.",
                    ) from error
            except FrameError as error:
                raise MalformedEvent(f"the event cannot be sent: {error}.") from error
            await asyncio.sleep(pause_s)
            pause_s = min(_PAUSE_S_MAX, pause_s * 2)

    def close(self) -> None:
        """Hang up; calls that wait fail."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()

    async def _ask_once(self, what: str, body: bytes, fields: dict[str, Any]) -> tuple[Head, bytes]:
        connection = await self._connected()
        self._next_id += 1
        number = self._next_id
        asked = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            # "kind" is what every frame has.
            connection.send({"kind": "request", "id": number, "do": what, **fields}, body)
            await connection.writable()
            head, answer = await asked
        finally:
            self._asked.pop(number, None)
        if not head.get("ok"):
            raise _ERRORS.get(head.get("error", ""), QueueUnavailable)(str(head.get("message", "it was refused.")))
        return head, answer

    async def _connected(self) -> EventConnection:
        if self._connection is not None and self._connection.is_open:
            return self._connection
        if self._connecting is None:
            # One for all that wait; it ends by itself, whoever of them gives up.
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(self._connect_ended)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> EventConnection:
        _, connection = await asyncio.get_running_loop().create_unix_connection(
            lambda: EventConnection(self._answered, self._lost), str(self._path)
        )
        self._connection = connection
        return connection

    def _connect_ended(self, task: asyncio.Task[EventConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # Those who waited for it have it; with nobody left it is nobody's.

    def _answered(self, _: EventConnection, head: Head, body: bytes) -> None:
        asked = self._asked.get(head.get("id", -1))
        if asked is not None and not asked.done():
            asked.set_result((head, body))

    def _lost(self, connection: EventConnection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(EOFError("the connection ended"))
