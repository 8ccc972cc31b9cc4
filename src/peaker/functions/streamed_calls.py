"""A call of InvokeWithResponseStream once it has its instance: run, pass on what is written, end with how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from peaker.clock import Clock
from peaker.functions.invocations import Invocations, Ran, SetOnGone
from peaker.functions.prepared import VERSION_HEADER, Prepared
from peaker.functions.stream import ResponseStream
from peaker.http1_server import StreamedAnswer
from peaker.meter.function_usage import Caller
from peaker.policy.stream_pace import StreamPace
from peaker.wire.response_stream import (
    CHUNK_BYTES_MAX,
    EVENT_STREAM,
    STREAM_BYTES_MAX,
    StreamEnd,
    failed_end,
    invoke_complete,
    payload_chunk,
)


class StreamedCalls:
    """Those of one host; each runs in a task of its own, which goes on when its caller leaves: reported, and billed."""

    def __init__(self, invocations: Invocations, clock: Clock) -> None:
        self._invocations = invocations
        self._clock = clock
        self._running: set[asyncio.Task[Ran]] = set()

    async def answer(self, prepared: Prepared, set_on_gone: SetOnGone) -> StreamedAnswer:
        """Returns when the function has begun to write, or has ended.

        Raises:
            InvokeApiError: 429, it was not started.
        """
        stream = ResponseStream()
        running = asyncio.ensure_future(self._run(prepared, set_on_gone, stream))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        try:
            await stream.wait_begun()
            if running.done():
                running.result()
        except BaseException:
            stream.abandon()
            raise
        headers = [
            ("content-type", stream.content_type or EVENT_STREAM),
            ("x-amzn-requestid", prepared.request_id),
            (VERSION_HEADER, prepared.version),
        ]
        pieces = self._pieces(stream, running, prepared.pool.stream_pace, is_gate=prepared.caller is Caller.GATE)
        return StreamedAnswer(status=200, headers=headers, pieces=pieces)

    async def _run(self, prepared: Prepared, set_on_gone: SetOnGone, stream: ResponseStream) -> Ran:
        try:
            return await self._invocations.run(prepared, set_on_gone, stream)
        finally:
            stream.finish()

    async def _pieces(
        self, stream: ResponseStream, running: asyncio.Task[Ran], pace: StreamPace, *, is_gate: bool
    ) -> AsyncGenerator[bytes, None]:
        """The event stream; nothing more once the caller has gone, for whom it would be."""
        try:
            sent_bytes, paced_since_s = 0, 0.0
            while chunk := await stream.read():
                sent_bytes += len(chunk)
                if least_s := pace.least_s(sent_bytes):
                    paced_since_s = paced_since_s or self._clock.now_s()
                    await asyncio.sleep(max(0.0, paced_since_s + least_s - self._clock.now_s()))
                for piece in _pieces_of(chunk):
                    yield payload_chunk(piece)
            if stream.is_abandoned:
                return
            if stream.is_too_large:
                yield invoke_complete(_TOO_LARGE)
                return
            ran = await running
            billed_ms = ran.billed_ms if is_gate else 0
            if ran.function_error:
                yield invoke_complete(failed_end(ran.payload, billed_ms), ran.tail)
                return
            for piece in _pieces_of(ran.payload):
                yield payload_chunk(piece)
            yield invoke_complete(StreamEnd(billed_ms=billed_ms), ran.tail)
        finally:
            stream.abandon()  # Nothing happens where all was read.


def _pieces_of(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK_BYTES_MAX] for start in range(0, len(data), CHUNK_BYTES_MAX))


_TOO_LARGE = failed_end(
    b'{"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded maximum allowed '
    b'payload size (%d bytes)."}' % STREAM_BYTES_MAX
)
