"""The parts of response streaming one by one: bounds, paces, whole frames, clients that leave."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from peaker import frames
from peaker.errors import DeadlineExceeded, FunctionCrashed, MalformedEvent
from peaker.functions.stream import HELD_BYTES_HIGH, ResponseStream
from peaker.functions.streamed_answer import FrameWriter
from peaker.gate.streamed_reply import read_head
from peaker.messages import Response, RunNotes
from peaker.policy.placement import make_rules
from peaker.policy.stream_pace import LAMBDA_PACE, UNPACED
from peaker.policy.stream_start import TRY_AGAIN_S, begins_in_time
from peaker.settings import AppSection, RouteSection, Settings
from peaker.wire.event_stream import EventStreamReader, MalformedEventStream, StreamMessage, encode_message
from peaker.wire.http_api import response_to_result
from peaker.wire.response_stream import (
    PRELUDE_BYTES_MAX,
    PreludeReader,
    StreamEnd,
    failed_end,
    http_prelude,
    read_stream_event,
)

MIB = 1024 * 1024


class Source:
    """What a stream asks of where it comes from."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")

    def tell_gone(self) -> None:
        self.asked.append("gone")


def connected(**options: int) -> tuple[ResponseStream, Source]:
    stream, source = ResponseStream(**options), Source()
    stream.connect(source)
    return stream, source


def test_a_source_is_paused_while_the_reader_is_slow() -> None:
    async def scenario() -> None:
        stream, source = connected()
        for _ in range(5):
            stream.feed(bytes(64 * 1024))
        assert source.asked == ["pause"]
        assert stream.held_bytes_peak == HELD_BYTES_HIGH + 64 * 1024
        while stream.held_bytes:
            await stream.read()
        assert source.asked == ["pause", "resume"]

    asyncio.run(scenario())


def test_a_source_that_ends_while_paused_is_let_go_on() -> None:
    """It is about to run another invocation, which nobody would read."""

    async def scenario() -> None:
        stream, source = connected()
        stream.feed(bytes(HELD_BYTES_HIGH + 1))
        stream.finish()
        assert source.asked == ["pause", "resume"]
        assert len(await stream.read()) == HELD_BYTES_HIGH + 1
        assert await stream.read() == b""
        stream.abandon()
        assert source.asked == ["pause", "resume"], "what it runs now is not told that the caller of this has gone"

    asyncio.run(scenario())


def test_a_caller_that_goes_is_told_to_the_source_whose_rest_is_thrown_away() -> None:
    async def scenario() -> None:
        stream, source = connected()
        stream.feed(bytes(HELD_BYTES_HIGH + 1))
        reading = asyncio.ensure_future(stream.read())
        await reading
        stream.feed(bytes(HELD_BYTES_HIGH + 1))
        stream.abandon()
        assert source.asked == ["pause", "resume", "pause", "gone", "resume"]
        stream.feed(bytes(10))
        assert stream.held_bytes == 0
        assert await stream.read() == b""

    asyncio.run(scenario())


def test_a_caller_that_has_gone_before_the_run_begins_is_told_at_once() -> None:
    async def scenario() -> None:
        stream, source = ResponseStream(), Source()
        stream.abandon()
        stream.connect(source)
        assert source.asked == ["gone"]

    asyncio.run(scenario())


def test_a_stream_over_its_limit_ends_and_its_source_is_told() -> None:
    async def scenario() -> None:
        stream, source = connected(bytes_max=100)
        stream.feed(bytes(100))
        assert not stream.is_too_large
        stream.feed(b"x")
        assert stream.is_too_large
        assert source.asked == ["gone"]
        assert len(await stream.read()) == 100
        assert await stream.read() == b""

    asyncio.run(scenario())


def test_who_waits_for_a_stream_that_never_begins_hears_of_its_end() -> None:
    async def scenario() -> None:
        stream, _ = connected()
        waiting = asyncio.ensure_future(stream.wait_begun())
        await asyncio.sleep(0)
        stream.finish()
        async with asyncio.timeout(5):
            await waiting
        assert not stream.is_begun

    asyncio.run(scenario())


def test_the_first_6_mb_are_free_and_the_rest_takes_its_time() -> None:
    assert LAMBDA_PACE.least_s(6 * MIB) == 0
    assert LAMBDA_PACE.least_s(10 * MIB) == 2.0
    assert UNPACED.least_s(200 * MIB) == 0


def test_a_route_goes_to_functions_only_while_its_streams_begin_there_in_time() -> None:
    assert begins_in_time(9.0, 0.3, runs_seen=0, since_last_s=0.0), "a guess is not held against it"
    assert begins_in_time(0.3, 0.3, runs_seen=1, since_last_s=0.0)
    assert not begins_in_time(0.31, 0.3, runs_seen=1, since_last_s=TRY_AGAIN_S - 1)
    assert begins_in_time(0.31, 0.3, runs_seen=1, since_last_s=TRY_AGAIN_S)


def test_a_route_streams_where_it_is_declared_to_and_nowhere_else() -> None:
    declared = Settings(app=AppSection(spill=True), route=(RouteSection(path="/export*", stream=True),))
    export, undeclared = make_rules(declared)
    assert (export.streams, undeclared.streams) == (True, False)
    assert export.why.endswith(", streams"), "`peaker check` shows it"


def test_a_send_that_is_cancelled_leaves_no_half_frame() -> None:
    """1. The channel is full. 2. A write waits, is cancelled. 3. What is read afterwards are whole frames, in order."""

    async def scenario() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        writer, loop = FrameWriter(near), asyncio.get_running_loop()
        large = frames.pack({"kind": "chunk"}, bytes(1_000_000))
        writing = asyncio.ensure_future(writer.write(large))
        await asyncio.sleep(0)
        assert not writing.done()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        after = asyncio.ensure_future(writer.write(frames.pack({"kind": "result"}, b"after")))
        reader, found = frames.FrameReader(), list[Any]()
        async with asyncio.timeout(10):
            while len(found) < 2:
                found += reader.feed(await loop.sock_recv(far, 65536))
            await after
        assert [(head["kind"], len(body)) for head, body in found] == [("chunk", 1_000_000), ("result", 5)]
        near.close()
        far.close()

    asyncio.run(scenario())


def test_writing_to_a_host_that_has_gone_does_nothing() -> None:
    async def scenario() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.close()
        writer = FrameWriter(near)
        await writer.write(b"x" * 1_000_000)
        assert writer.is_broken
        near.close()

    asyncio.run(scenario())


def chunks(*parts: bytes) -> Any:
    waiting = list(parts)

    async def read() -> bytes:
        return waiting.pop(0) if waiting else b""

    return read


def test_a_head_is_found_in_whatever_pieces_it_comes() -> None:
    notes = RunNotes(cold=True, init_ms=2.0)
    whole = http_prelude(206, ((b"x-a", b"1"),), notes) + bytes(9) + b"body"

    async def scenario(size: int) -> None:
        response = await read_head(chunks(*(whole[n : n + size] for n in range(0, len(whole), size))))
        assert (response.status, response.headers, response.notes) == (206, ((b"x-a", b"1"),), notes)
        body = b""
        while part := await response.read():
            body += part
        assert body == bytes(9) + b"body"

    for size in (1, 7, 1000):
        asyncio.run(scenario(size))


def test_the_whole_result_of_a_function_that_does_not_stream_is_taken_as_well() -> None:
    result = response_to_result(Response(status=201, headers=((b"x-a", b"1"),), body=b"x" * 300_000), RunNotes())

    async def scenario() -> None:
        response = await read_head(chunks(result[:100], result[100:]))
        assert (response.status, await response.read(), await response.read()) == (201, b"x" * 300_000, b"")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "written", [b"", b"no JSON" + bytes(8), b"[1]" + bytes(8), b'{"statusCode": 99}' + bytes(8), b"x" * 7_000_000]
)
def test_what_is_no_response_is_a_failure_of_the_function(written: bytes) -> None:
    with pytest.raises(FunctionCrashed):
        asyncio.run(read_head(chunks(written)))  # type: ignore[arg-type]


def test_a_head_without_a_status_means_200() -> None:
    """As AWS's own runtime client leaves it out."""
    reader = PreludeReader()
    assert reader.feed(b'{"headers": {"x-a": "1"}}' + bytes(8) + b"body") == b"body"
    assert reader.head == (200, ((b"x-a", b"1"),), RunNotes())


def test_a_head_too_long_to_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed: up to"):
        http_prelude(200, ((b"x-long", b"x" * PRELUDE_BYTES_MAX),), RunNotes())


@pytest.mark.parametrize(
    "message",
    [
        StreamMessage({":message-type": "exception", ":exception-type": "InternalFailure"}, b"{}"),
        StreamMessage({":message-type": "event", ":event-type": "Other"}, b""),
        StreamMessage({":message-type": "event", ":event-type": "InvokeComplete"}, b"no JSON"),
        StreamMessage({":message-type": "event", ":event-type": "InvokeComplete"}, b"[]"),
    ],
)
def test_other_events_are_refused(message: StreamMessage) -> None:
    with pytest.raises(MalformedEvent):
        read_stream_event(message)


def test_a_failed_runs_payload_names_its_error() -> None:
    payload = json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": "late"}).encode()
    assert failed_end(payload) == StreamEnd("Sandbox.Timedout", payload.decode())
    assert failed_end(b"not JSON").error_code == "Unhandled"


def test_a_message_over_the_limit_of_its_reader_is_refused_before_it_has_come() -> None:
    encoded = encode_message({}, bytes(1000))
    with pytest.raises(MalformedEventStream):
        EventStreamReader(payload_bytes_max=999).feed(encoded[:12])
    with pytest.raises(ValueError, match="allowed: up to"):
        encode_message({}, bytes(25 * MIB))
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        encode_message({"": "x"})


def test_a_timeout_is_told_apart_from_a_crash() -> None:
    async def fails() -> bytes:
        raise DeadlineExceeded("late")

    with pytest.raises(DeadlineExceeded):
        asyncio.run(read_head(fails))  # type: ignore[arg-type]
