"""The examiner of functions, on the simulated body and on real processes over both doors of the host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from peaker.app import FunctionSpec
from peaker.gate.spill import InvokeClient
from peaker.http1 import Address
from peaker.interfaces import Functions
from peaker.messages import Invocation, Reply
from peaker.settings import FunctionSection, FunctionsSection, Settings
from peaker.testing.functions import CHECKS, EXAMINED, SLEEPS_CONCURRENCY_MAX, SLEEPS_TIMEOUT_S, check_functions
from peaker.testing.hosts import RunningHost
from peaker.testing.simulated_functions import SimulatedFunctions
from peaker.testing.simulated_instances import Exits, SimulatedLauncher
from peaker.testing.virtual_loop import VirtualLoop, run_virtual
from peaker.wire.sigv4 import sign


async def raises(event: Any, _: str) -> None:
    raise ValueError(event["text"])


async def exits(_: Any, __: str) -> None:
    raise Exits


async def sleeps(event: Any, _: str) -> float:
    await asyncio.sleep(event["s"])
    return event["s"]


@asynccontextmanager
async def simulated() -> AsyncIterator[Functions]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    calls = 0

    async def echo(event: Any, request_id: str) -> Any:
        nonlocal calls
        calls += 1
        return {"event": event, "request_id": request_id, "calls": calls}

    functions = SimulatedFunctions(
        {
            FunctionSpec(
                name=handler.__name__,
                target=f"m:{handler.__name__}",
                web=False,
                memory_mb=512,
                timeout_s=SLEEPS_TIMEOUT_S,
                concurrency_max=SLEEPS_CONCURRENCY_MAX if handler is sleeps else 100,
                keep_alive_s=60.0,
                buffer=0,
            ): SimulatedLauncher(handler, clock=loop)
            for handler in (echo, raises, exits, sleeps)
        },
        clock=loop,
    )
    yield functions
    functions.close()


def test_simulated_functions_pass() -> None:
    async def main() -> None:
        await check_functions(simulated)

    run_virtual(main)


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    settings = Settings(
        functions=FunctionsSection(timeout_s=SLEEPS_TIMEOUT_S, memory_mb=256),
        function=tuple(
            FunctionSection(
                name=name,
                handler=f"peaker.testing.examined:{name}",
                concurrency_max=SLEEPS_CONCURRENCY_MAX if name == "sleeps" else 100,
            )
            for name in EXAMINED
        ),
        directory=".",
    )
    with RunningHost(settings) as running:
        yield running


def _private(host: RunningHost) -> InvokeClient:
    return InvokeClient(Address(unix=host.state.invoke_socket))


def _signed(host: RunningHost) -> InvokeClient:
    key = host.key

    def sign_call(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
        added = sign(
            key, method=method, target=target, headers=headers, body=body, region="eu-west-1", epoch_s=time.time()
        )
        return [*headers, *added]

    return InvokeClient(Address(host="127.0.0.1", port=host.port), host=f"127.0.0.1:{host.port}", sign=sign_call)


@pytest.mark.parametrize("door", [_private, _signed], ids=["unix", "signed"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_local_host(
    host: RunningHost, door: Callable[[RunningHost], InvokeClient], check: Callable[[Functions], Awaitable[None]]
) -> None:
    async def main() -> None:
        client = door(host)
        try:
            await check(client)
        finally:
            client.close()
            await asyncio.sleep(0)  # Transports close in the loop's next turn.

    asyncio.run(main())


class AlwaysThrowsAway:
    """A body that loses the request id and never throttles."""

    async def invoke(self, _: Invocation) -> Reply:
        return Reply(payload=b'{"event": {}, "request_id": "", "calls": 1}')


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_examiner_finds_a_body_that_does_nothing(check: Callable[[Functions], Awaitable[None]]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        asyncio.run(check(AlwaysThrowsAway()))  # type: ignore[arg-type]
