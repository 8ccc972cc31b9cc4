"""The examiner of `interfaces.StreamingFunctions`, beside that of `Functions` (testing/functions.py).

    asyncio.run(check_streaming_functions(make))

`make` returns an async context manager of a body behind which `peaker.testing.examined:app` is deployed as the function
`STREAMS` with all of its routes declared to stream, and the handlers `EXAMINED` beside it; each has SLEEPS_TIMEOUT_S.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from peaker.errors import DeadlineExceeded, FunctionCrashed, InvocationRefused, InvokeError
from peaker.functions.web import warm_up_event
from peaker.gate.streamed_reply import FunctionResponse, read_head
from peaker.interfaces import StreamedReply, StreamingFunctions
from peaker.messages import Invocation
from peaker.testing.examined import piece
from peaker.testing.functions import SLEEPS_TIMEOUT_S

STREAMS = "examined-web"
"""The web function of an app that is called `examined`."""

MakeStreamingFunctions = Callable[[], AbstractAsyncContextManager[StreamingFunctions]]


async def check_streaming_functions(make: MakeStreamingFunctions) -> None:
    """Examine one body; raises AssertionError with what it should have done."""
    async with make() as functions:
        for check in STREAMING_CHECKS:
            await check(functions)


async def _open(functions: StreamingFunctions, path: str) -> tuple[FunctionResponse, StreamedReply]:
    invocation = Invocation(function=STREAMS, payload=warm_up_event(path), request_id="streamed-1", timeout_s=30.0)
    reply = await functions.invoke_streaming(invocation)
    return await read_head(reply.read), reply


async def _handler(functions: StreamingFunctions, function: str, event: Any) -> StreamedReply:
    payload = json.dumps(event).encode()
    return await functions.invoke_streaming(
        Invocation(function=function, payload=payload, request_id="streamed-2", timeout_s=30.0)
    )


async def _rest(read: Callable[[], Awaitable[bytes]]) -> bytes:
    found = b""
    while part := await read():
        found += part
    return found


async def _end_of(read: Callable[[], Awaitable[bytes]]) -> InvokeError | bytes:
    """How it breaks off; or all of it, where it does not."""
    try:
        return await _rest(read)
    except InvokeError as error:
        return error


async def _breaks_off(functions: StreamingFunctions, path: str, error: type[InvokeError]) -> None:
    """Its first piece comes, and then exactly this error."""
    response, reply = await _open(functions, path)
    first = await response.read()
    raised = await _end_of(response.read)
    reply.close()
    assert first == piece(0, 10), f"{path}: what was written before it broke off did not come: {first!r}"
    assert type(raised) is error, f"{path}: expected {error.__name__}, got {raised!r}"


async def streams_whole_and_in_order(functions: StreamingFunctions) -> None:
    """Two megabytes in pieces of which none is like another."""
    response, reply = await _open(functions, "/?count=40&bytes=50000")
    headers = dict(response.headers)
    assert (response.status, headers[b"content-type"]) == (200, b"application/octet-stream")
    found = await _rest(response.read)
    assert found == b"".join(piece(number, 50_000) for number in range(40)), "pieces were lost, changed or moved"
    assert await response.read() == b"", "there was something behind the end"
    reply.close()


async def begins_before_the_function_has_ended(functions: StreamingFunctions) -> None:
    """What is written comes while the rest has not been."""
    loop = asyncio.get_running_loop()
    response, reply = await _open(functions, "/?count=3&pause_s=0.2")
    found = await response.read()
    first_s = loop.time()
    found += await _rest(response.read)
    assert loop.time() - first_s > 0.3, "nothing came before the function had ended"
    assert found == b"".join(piece(number, 10) for number in range(3))
    reply.close()


async def gives_the_result_of_what_does_not_stream(functions: StreamingFunctions) -> None:
    """As one or more pieces."""
    reply = await _handler(functions, "echo", {"seat": "A1"})
    assert json.loads(await _rest(reply.read))["event"] == {"seat": "A1"}
    reply.close()


async def tells_of_an_exception_before_or_in_the_middle(functions: StreamingFunctions) -> None:
    """The effect is unknown, for the head may have left."""
    await _breaks_off(functions, "/raises", FunctionCrashed)
    reply = await _handler(functions, "raises", {"text": "no such seat"})
    error = await _end_of(reply.read)
    reply.close()
    assert type(error) is FunctionCrashed, f"a handler's exception was read as {error!r}"
    assert "no such seat" in str(error), f"the exception's own words are missing: {error}"


async def tells_of_a_process_that_ends_in_the_middle(functions: StreamingFunctions) -> None:
    """And goes on with the next."""
    await _breaks_off(functions, "/exits", FunctionCrashed)
    await gives_the_result_of_what_does_not_stream(functions)


async def ends_a_stream_at_the_functions_time_limit(functions: StreamingFunctions) -> None:
    """Whatever of it has come."""
    begun_s = asyncio.get_running_loop().time()
    await _breaks_off(functions, "/hangs", DeadlineExceeded)
    took_s = asyncio.get_running_loop().time() - begun_s
    assert took_s < SLEEPS_TIMEOUT_S + 10, f"a stream with timeout_s = {SLEEPS_TIMEOUT_S} ended after {took_s:.1f} s"


async def lets_a_reader_leave(functions: StreamingFunctions) -> None:
    """A closed reply reads as ended, and the function serves others."""
    response, reply = await _open(functions, "/?count=100000&bytes=10000")
    assert await response.read()
    reply.close()
    assert await reply.read() == b"", "there was more to read after close()"
    await streams_whole_and_in_order(functions)


async def refuses_a_stream_that_could_never_run(functions: StreamingFunctions) -> None:
    """An unknown function, known not to have run."""
    started: bool | None = True
    try:
        await _handler(functions, "there-is-no-such-function", {})
    except InvocationRefused as error:
        started = error.started
    assert started is False, "an unknown function was answered, or not known not to have run"


STREAMING_CHECKS: tuple[Callable[[StreamingFunctions], Awaitable[None]], ...] = (
    streams_whole_and_in_order,
    begins_before_the_function_has_ended,
    gives_the_result_of_what_does_not_stream,
    tells_of_an_exception_before_or_in_the_middle,
    tells_of_a_process_that_ends_in_the_middle,
    ends_a_stream_at_the_functions_time_limit,
    lets_a_reader_leave,
    refuses_a_stream_that_could_never_run,
)
"""Also usable one by one, as the parameters of a test."""
