"""Streamed calls of the host's own service on virtual time, with an instance that is anything but a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from peaker.app import FunctionSpec
from peaker.functions.lambda_like import OVERHEAD_S
from peaker.functions.outcome import Outcome
from peaker.functions.pool import Pool
from peaker.functions.service import InvokeService
from peaker.functions.starting import AsFastAsCanBe, StartModel
from peaker.functions.starts import Starts
from peaker.functions.stream import ResponseStream
from peaker.http1_server import HttpAnswer, StreamedAnswer
from peaker.meter.function_usage import Caller
from peaker.policy.stream_pace import LAMBDA_PACE
from peaker.testing.gate_world import the_loop
from peaker.testing.simulated_functions import ReportsOnly
from peaker.testing.virtual_loop import run_virtual
from peaker.wire.event_stream import EventStreamReader
from peaker.wire.invoke_api import InvokeCall
from peaker.wire.response_stream import EVENT_STREAM, STREAM_BYTES_MAX, StreamEnd, read_stream_event

MIB = 1024 * 1024
SPEC = FunctionSpec(
    name="f",
    target="m:f",
    web=False,
    memory_mb=128,
    timeout_s=600.0,
    concurrency_max=1,
    keep_alive_s=600.0,
    buffer=0,
)


class PacedAsLambda(AsFastAsCanBe):
    stream_pace = LAMBDA_PACE


class WritingInstance:
    """A source as any runtime may be one: writes `pieces` of `piece_bytes`, one every `every_s`, as it is let."""

    def __init__(self, *, pieces: int, piece_bytes: int, every_s: float = 0.0) -> None:
        self.name, self.init_ms, self.alive = "f-1", 1.0, True
        self.on_exit: Callable[[Any], None] | None = None
        self.pieces, self.piece_bytes, self.every_s = pieces, piece_bytes, every_s
        self.written = 0
        self.heard_of_gone_at_s: float | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    async def run(
        self,
        payload: bytes,
        *,
        request_id: str,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        cold: bool = False,
        stream: ResponseStream | None = None,
    ) -> Outcome:
        del payload, request_id, deadline_s, headers, cold
        assert stream is not None
        began_s = the_loop().time()
        stream.connect(self)
        stream.begin("text/plain")
        for _ in range(self.pieces):
            await self._may_write.wait()
            if self.heard_of_gone_at_s is not None:
                break
            stream.feed(bytes(self.piece_bytes))
            self.written += self.piece_bytes
            await asyncio.sleep(self.every_s)
        stream.finish()
        return Outcome(payload=b"", duration_ms=(the_loop().time() - began_s) * 1000)

    def pause(self) -> None:
        self._may_write.clear()

    def resume(self) -> None:
        self._may_write.set()

    def tell_gone(self) -> None:
        self.heard_of_gone_at_s = the_loop().time()

    def when_free(self, done: Callable[[], None]) -> None:
        done()

    def kill(self) -> None:
        self.alive = False

    close = freeze = thaw = kill


class One:
    """Starts this one."""

    def __init__(self, instance: WritingInstance) -> None:
        self.instance = instance

    async def fork(self) -> WritingInstance:
        return self.instance


class Host:
    def __init__(self, instance: WritingInstance, model: StartModel) -> None:
        self.log = ReportsOnly()
        self.pool = Pool(SPEC, One(instance), starts=Starts(in_flight_max=1), clock=the_loop(), model=model)
        self._service = InvokeService({"f": self.pool}, log=self.log, clock=the_loop())
        self.gone: Callable[[], object] | None = None

    async def call(self, wait_s: float = 1.0) -> HttpAnswer | StreamedAnswer:
        def set_on_gone(action: Callable[[], object] | None) -> None:
            self.gone = action

        call = InvokeCall(function="f", is_streaming=True, deadline_s=wait_s)
        return await self._service.answer(call, b"{}", caller=Caller.GATE, set_on_gone=set_on_gone)

    async def streamed(self) -> StreamedAnswer:
        answer = await self.call()
        assert isinstance(answer, StreamedAnswer)
        return answer


def run(
    instance: Callable[[], WritingInstance],
    script: Callable[[Host, WritingInstance], Awaitable[None]],
    model: StartModel | None = None,
) -> None:
    async def main() -> None:
        writing = instance()
        host = Host(writing, model or AsFastAsCanBe())
        await script(host, writing)
        host.pool.close()

    run_virtual(main)


async def read_all(answer: StreamedAnswer) -> tuple[int, StreamEnd]:
    reader = EventStreamReader()
    events = [read_stream_event(message) async for piece in answer.pieces for message in reader.feed(piece)]
    *chunks, end = events
    assert isinstance(end, StreamEnd), "the stream ended without InvokeComplete"
    return sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes)), end


@pytest.mark.parametrize(("model", "took_s"), [(AsFastAsCanBe(), 0.0), (PacedAsLambda(), 2.0)])
def test_like_lambda_what_follows_the_first_6_mb_comes_at_2_mb_a_second(model: StartModel, took_s: float) -> None:
    async def script(host: Host, _: WritingInstance) -> None:
        began_s = the_loop().time()
        count, end = await read_all(await host.streamed())
        assert (count, end.error_code) == (10 * MIB, "")
        assert the_loop().time() - began_s == pytest.approx(took_s, abs=0.1 + OVERHEAD_S)

    run(lambda: WritingInstance(pieces=160, piece_bytes=64 * 1024), script, model)


def test_what_is_billed_is_the_whole_stream_and_the_gate_is_told() -> None:
    async def script(host: Host, _: WritingInstance) -> None:
        answer = await host.streamed()
        assert dict(answer.headers)["content-type"] == "text/plain"
        _, end = await read_all(answer)
        assert end.billed_ms == pytest.approx(1001, abs=5)
        assert [report.duration_ms for _, report in host.log.reports] == [pytest.approx(1000)]

    run(lambda: WritingInstance(pieces=10, piece_bytes=10, every_s=0.1), script)


def test_a_response_of_more_than_200_mb_ends_in_an_error() -> None:
    async def script(host: Host, instance: WritingInstance) -> None:
        count, end = await read_all(await host.streamed())
        assert count <= STREAM_BYTES_MAX
        assert end.error_code == "Function.ResponseSizeTooLarge"
        assert instance.heard_of_gone_at_s is not None, "it may stop"

    run(lambda: WritingInstance(pieces=60, piece_bytes=4 * MIB), script)


def test_a_caller_that_leaves_is_told_and_the_run_is_reported_and_its_instance_used_again() -> None:
    async def script(host: Host, instance: WritingInstance) -> None:
        answer = await host.streamed()
        assert await anext(answer.pieces)
        await asyncio.sleep(1)
        assert host.gone is not None
        host.gone()
        left_s = the_loop().time()
        assert [piece async for piece in answer.pieces] == []
        await asyncio.sleep(1)
        assert instance.heard_of_gone_at_s == left_s
        assert len(host.log.reports) == 1
        instance.heard_of_gone_at_s, instance.pieces = None, 1
        assert await read_all(await host.streamed()) == (10, StreamEnd(billed_ms=100))

    run(lambda: WritingInstance(pieces=1000, piece_bytes=10, every_s=0.1), script)


def test_a_reader_that_stops_stops_the_instance() -> None:
    async def script(host: Host, instance: WritingInstance) -> None:
        answer = await host.streamed()
        assert await anext(answer.pieces)
        await asyncio.sleep(60)
        assert instance.written <= 512 * 1024
        count, end = await read_all(answer)
        assert (count > 60 * MIB, end.error_code) == (True, "")

    run(lambda: WritingInstance(pieces=1000, piece_bytes=64 * 1024), script)


def test_a_call_that_finds_no_instance_is_refused_before_any_stream() -> None:
    async def script(host: Host, _: WritingInstance) -> None:
        first = await host.streamed()
        second = await host.call(wait_s=0.1)
        assert isinstance(second, HttpAnswer)
        assert second.status == 429
        await read_all(first)

    run(lambda: WritingInstance(pieces=10, piece_bytes=10, every_s=0.1), script)


def test_what_does_not_stream_is_called_an_event_stream() -> None:
    class Whole(WritingInstance):
        async def run(self, *_: Any, **__: Any) -> Outcome:
            return Outcome(payload=b'"whole"', duration_ms=1.0)

    async def script(host: Host, _: WritingInstance) -> None:
        answer = await host.streamed()
        assert dict(answer.headers)["content-type"] == EVENT_STREAM
        assert (await read_all(answer))[0] == len(b'"whole"')

    run(lambda: Whole(pieces=0, piece_bytes=0), script)
