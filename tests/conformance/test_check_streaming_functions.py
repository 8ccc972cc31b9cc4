"""The examiner of streaming functions, on the simulated body and on real processes over the host's own door."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from peaker.app import FunctionSpec
from peaker.errors import FunctionCrashed
from peaker.gate.spill import InvokeClient
from peaker.http1 import Address
from peaker.interfaces import StreamedReply, StreamingFunctions
from peaker.messages import Invocation, RunNotes
from peaker.settings import AppSection, FunctionSection, FunctionsSection, RouteSection, Settings
from peaker.testing.examined import written
from peaker.testing.functions import SLEEPS_TIMEOUT_S
from peaker.testing.hosts import RunningHost
from peaker.testing.simulated_functions import SimulatedFunctions
from peaker.testing.simulated_instances import Exits, Handler, SimulatedLauncher
from peaker.testing.streaming_functions import STREAMING_CHECKS, STREAMS, check_streaming_functions
from peaker.testing.virtual_loop import VirtualLoop, run_virtual
from peaker.wire.response_stream import http_prelude


async def echo(event: Any, request_id: str) -> Any:
    return {"event": event, "request_id": request_id}


async def raises(event: Any, _: str) -> None:
    raise ValueError(event["text"])


async def streams(event: Any, _: str) -> AsyncGenerator[bytes, None]:
    yield http_prelude(200, ((b"content-type", b"application/octet-stream"),), RunNotes())
    path, query = event["rawPath"], dict(urllib.parse.parse_qsl(event["rawQueryString"]))
    async with aclosing(written("/" if path == "/exits" else path, query)) as parts:
        async for part in parts:
            yield part
    if path == "/exits":
        raise Exits


def spec(name: str) -> FunctionSpec:
    return FunctionSpec(
        name=name,
        target=f"m:{name}",
        web=False,
        memory_mb=512,
        timeout_s=SLEEPS_TIMEOUT_S,
        concurrency_max=10,
        keep_alive_s=60.0,
        buffer=0,
    )


@asynccontextmanager
async def simulated() -> AsyncIterator[StreamingFunctions]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    handlers: dict[str, Handler] = {"echo": echo, "raises": raises, STREAMS: streams}
    functions = SimulatedFunctions(
        {spec(name): SimulatedLauncher(handler, clock=loop) for name, handler in handlers.items()}, clock=loop
    )
    yield functions
    functions.close()


def test_simulated_functions_stream() -> None:
    async def main() -> None:
        await check_streaming_functions(simulated)

    run_virtual(main)


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    settings = Settings(
        app=AppSection(name="examined", web="peaker.testing.examined:app", spill=True),
        functions=FunctionsSection(timeout_s=SLEEPS_TIMEOUT_S, memory_mb=256),
        function=tuple(
            FunctionSection(name=name, handler=f"peaker.testing.examined:{name}") for name in ("echo", "raises")
        ),
        route=(RouteSection(path="/*", stream=True),),
        directory=".",
    )
    with RunningHost(settings) as running:
        yield running


@pytest.mark.parametrize("check", STREAMING_CHECKS, ids=lambda check: check.__name__)
def test_the_local_host_streams(host: RunningHost, check: Callable[[StreamingFunctions], Awaitable[None]]) -> None:
    async def main() -> None:
        client = InvokeClient(Address(unix=host.state.invoke_socket))
        try:
            await check(client)
        finally:
            client.close()
            await asyncio.sleep(0)  # Transports close in the loop's next turn.

    asyncio.run(main())


class NothingComes:
    """A body whose streams end at once, whatever became of them."""

    async def invoke_streaming(self, _: Invocation) -> StreamedReply:
        return self

    @property
    def billed_ms(self) -> float:
        return 0.0

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("check", STREAMING_CHECKS, ids=lambda check: check.__name__)
def test_the_examiner_finds_a_body_that_streams_nothing(
    check: Callable[[StreamingFunctions], Awaitable[None]],
) -> None:
    with pytest.raises((AssertionError, FunctionCrashed, ValueError)):
        asyncio.run(check(NothingComes()))
