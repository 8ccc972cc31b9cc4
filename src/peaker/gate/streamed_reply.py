"""A function's response read while it is written: the event stream of InvokeWithResponseStream, and the head in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from peaker import http1
from peaker.errors import DeadlineExceeded, FunctionCrashed, InvokeError, MalformedEvent
from peaker.messages import Headers, RunNotes
from peaker.wire.event_stream import EventStreamReader, MalformedEventStream
from peaker.wire.http_api import result_to_response
from peaker.wire.response_stream import PreludeReader, StreamEnd, read_stream_event

MESSAGE_BYTES_MAX = 6 * 1024 * 1024 + 100
"""The longest payload of one event: a function that does not stream may send its whole result as one."""


class OpenedBody(Protocol):
    """A body that is read while it comes: `http1.OpenAnswer`, or what stands for it."""

    async def read(self) -> bytes:
        """The next of it, b"" at its end; raises `http1.AnswerTimeout` or `http1.EffectUnknown`."""
        ...

    def close(self) -> None:
        """Nothing more is wanted."""
        ...


class EventStreamReply:
    """`interfaces.StreamedReply` over HTTP."""

    def __init__(self, answer: OpenedBody) -> None:
        self._answer = answer
        self._reader = EventStreamReader(MESSAGE_BYTES_MAX)
        self._chunks: list[bytes] = []
        self._end: StreamEnd | None = None
        self._is_closed = False

    @property
    def billed_ms(self) -> float:
        """What the function host says the run is billed for, once it has ended; 0 where nobody says."""
        return self._end.billed_ms if self._end is not None else 0.0

    async def read(self) -> bytes:
        """As `interfaces.StreamedReply.read`."""
        try:
            while not (self._chunks or self._end or self._is_closed):
                self._take(await self._answer.read())
            if self._chunks:
                chunk, self._chunks = b"".join(self._chunks), []
                return chunk
            if self._end is not None and self._end.error_code:
                raise _end_error(self._end)
            if not self._is_closed:
                await self._answer.read()  # The end of the body, which gives the connection back whole.
        except http1.AnswerTimeout as error:
            raise DeadlineExceeded(str(error)) from error
        except (http1.EffectUnknown, MalformedEventStream, MalformedEvent) as error:
            raise FunctionCrashed(str(error)) from error
        return b""

    def close(self) -> None:
        """As `interfaces.StreamedReply.close`."""
        self._is_closed = True
        self._answer.close()

    def _take(self, data: bytes) -> None:
        if not data:
            if not self._is_closed:
                raise FunctionCrashed("the stream ended without InvokeComplete.")
            return
        for message in self._reader.feed(data):
            event = read_stream_event(message)
            if isinstance(event, StreamEnd):
                self._end = event
            elif event:
                self._chunks.append(event)


def _end_error(end: StreamEnd) -> InvokeError:
    what = f"{end.error_code}: {end.error_details[:300]}"
    return DeadlineExceeded(what) if end.error_code == "Sandbox.Timedout" else FunctionCrashed(what)


Read = Callable[[], Awaitable[bytes]]


class FunctionResponse:
    """An HTTP response that a function streams, or gives whole: made by `read_head`, body by `read`."""

    def __init__(self, status: int, headers: Headers, notes: RunNotes, first: bytes, read: Read) -> None:
        self.status = status
        self.headers = headers
        self.notes = notes
        self._first = first
        self._read = read

    async def read(self) -> bytes:
        """The next of the body; b"" at its end. Raises InvokeError where it breaks off."""
        first, self._first = self._first, b""
        return first or await self._read()


async def read_head(read: Read) -> FunctionResponse:
    """Wait for the head of a response.

    Raises:
        InvokeError: it failed before there was one, or what it wrote is no HTTP response.
    """
    prelude = PreludeReader()
    try:
        while chunk := await read():
            first = prelude.feed(chunk)
            if prelude.head is not None:
                return FunctionResponse(*prelude.head, first, read)
            if prelude.is_missing:
                return await _whole(prelude.held, read)
        return await _whole(prelude.held, read)
    except MalformedEvent as error:
        raise FunctionCrashed(f"its result is not a response: {error}") from error


async def _whole(held: bytes, read: Read) -> FunctionResponse:
    """A function that does not stream: its result, which is 6 MB at the most."""
    payload = bytearray(held)
    while chunk := await read():
        payload += chunk
        if len(payload) > MESSAGE_BYTES_MAX:
            raise FunctionCrashed("its result is neither a streamed response nor within 6 MB")
    response, notes = result_to_response(bytes(payload))
    return FunctionResponse(response.status, response.headers, notes, response.body, read)
