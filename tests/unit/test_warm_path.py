"""What the warm path of an invocation does in its own way for speed is what the plain way would have done."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import uuid

from hypothesis import given
from hypothesis import strategies as st

from peaker import frames
from peaker.clock import SystemClock
from peaker.functions.service import InvokeService
from peaker.http1_server import HttpAnswer, HttpLimits, HttpRequest, HttpServer
from peaker.wire.invoke_api import InvokeCall
from peaker.wire.trace_header import first_run_of, parse_trace

IDLE_S = 0.5


@given(st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=20), st.integers(0, 2**32))
def test_a_call_without_a_trace_gets_the_header_that_parsing_nothing_gives(function: str, seed: int) -> None:
    parsed = parse_trace("", epoch_s=1_767_225_600.0, chance=random.Random(seed)).with_run_of(function)
    assert first_run_of(function, epoch_s=1_767_225_600.0, chance=random.Random(seed)) == parsed


def test_a_call_without_an_id_is_given_a_random_uuid() -> None:
    async def asked() -> set[str]:
        service = InvokeService({}, log=None, clock=SystemClock(), chance=random.Random(7))  # type: ignore[arg-type]
        found = set()
        for _ in range(200):
            answer = await service.answer(InvokeCall(function="absent"), b"{}")
            assert isinstance(answer, HttpAnswer)
            found.add(dict(answer.headers)["x-amzn-requestid"])
        return found

    ids = asyncio.run(asked())
    assert len(ids) == 200
    assert all(str(uuid.UUID(one)) == one and uuid.UUID(one).version == 4 for one in ids)
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


@given(st.lists(st.binary(max_size=50), max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_frames_come_out_whole_wherever_the_reads_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames.pack({"kind": "chunk", "at": at}, body) for at, body in enumerate(bodies))
    reader, told = frames.FrameReader(), []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        told += reader.feed(stream[start:end])
    assert told == [({"kind": "chunk", "at": at}, body) for at, body in enumerate(bodies)]
    assert reader.is_between_frames


def test_a_connection_is_idle_from_its_last_answer_on_not_from_its_first() -> None:
    async def hello(_: HttpRequest) -> HttpAnswer:
        return HttpAnswer(status=200, body=b"hi")

    async def used_for_a_while() -> float:
        loop = asyncio.get_running_loop()
        server = HttpServer(hello, limits=HttpLimits(idle_s_max=IDLE_S))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await server.listen(listener)
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            begun_s = loop.time()
            while loop.time() < begun_s + 1.2 * IDLE_S:
                writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\nhi")
                await asyncio.sleep(IDLE_S / 20)
            last_s = loop.time()
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
            await server.drain(1.0)
            return loop.time() - last_s

    assert asyncio.run(used_for_a_while()) > 0.8 * IDLE_S
