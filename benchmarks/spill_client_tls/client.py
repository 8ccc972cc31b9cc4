"""One client in a process of its own: python client.py NAME ENDPOINT CALLS, or `NAME ramp ENDPOINT`; prints JSON.

It runs under the interpreter that has the client, and is pinned to a core by whoever starts it. AWS_CA_BUNDLE names the
authority, as for every AWS tool.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop

PAYLOAD = b'{"version": "2.0", "rawPath": "/titles/7", "x": "' + b"x" * 974 + b'"}'
SIDE_BY_SIDE = 16
RAMP_CALLS = 200
RAMP_S = 1.0
FUNCTION_MS = 1000
"""Longer than the ramp, so that at its end all are in flight."""

ACCESS = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
Call = Callable[[str], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def peaker(endpoint: str, warm: int = 2) -> AsyncIterator[Call]:
    from peaker.clock import SystemClock
    from peaker.gate.functions_on_aws import FunctionsOnAws
    from peaker.messages import Invocation
    from peaker.settings import FunctionsSection
    from peaker.wire.sigv4 import SigningKey

    section = FunctionsSection(
        arn="arn:aws:lambda:us-east-1:123456789012:function:at-once",
        endpoint=endpoint,
        connections_warm=warm,
        concurrency_max=1000,
    )
    key = SigningKey(ACCESS["aws_access_key_id"], ACCESS["aws_secret_access_key"])
    functions = FunctionsOnAws(section, keys=lambda: key, clock=SystemClock())
    await functions.start()

    async def call(name: str) -> bytes:
        asked = Invocation(function=name, payload=PAYLOAD, request_id="1-5759e988-bd862e3fe1be46a9", timeout_s=30)
        return (await functions.invoke(asked)).payload

    yield call
    functions.close()


@contextlib.asynccontextmanager
async def boto3(endpoint: str) -> AsyncIterator[Call]:
    """In threads, one for each call under way: the way that a server in asyncio would have to use it."""
    import boto3 as library
    from botocore.config import Config

    config = Config(max_pool_connections=RAMP_CALLS, retries={"total_max_attempts": 1})
    client = library.client("lambda", endpoint_url=endpoint, config=config, **ACCESS)
    threads = ThreadPoolExecutor(RAMP_CALLS)

    def invoke(name: str) -> bytes:
        body: bytes = client.invoke(FunctionName=name, Payload=PAYLOAD)["Payload"].read()
        return body

    async def call(name: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(threads, invoke, name)

    yield call
    threads.shutdown()


@contextlib.asynccontextmanager
async def aiobotocore(endpoint: str) -> AsyncIterator[Call]:
    from aiobotocore.config import AioConfig  # type: ignore[import-not-found]
    from aiobotocore.session import get_session  # type: ignore[import-not-found]

    config = AioConfig(max_pool_connections=RAMP_CALLS, retries={"total_max_attempts": 1})
    async with get_session().create_client("lambda", endpoint_url=endpoint, config=config, **ACCESS) as client:

        async def call(name: str) -> bytes:
            answer: Any = await client.invoke(FunctionName=name, Payload=PAYLOAD)
            body: bytes = await answer["Payload"].read()
            return body

        yield call


CLIENTS: dict[str, Callable[[str], contextlib.AbstractAsyncContextManager[Call]]] = {
    "peaker": peaker,
    "peaker, none warm": lambda endpoint: peaker(endpoint, 0),
    "boto3": boto3,
    "aiobotocore": aiobotocore,
}


async def throughput(name: str, endpoint: str, calls: int) -> dict[str, float]:
    """CPU and wall time of a call with SIDE_BY_SIDE under way, connections open, signing keys derived."""
    async with CLIENTS[name](endpoint) as call:

        async def some(count: int) -> None:
            for _ in range(count):
                assert len(await call("at-once")) == 1025

        await asyncio.gather(*(some(5) for _ in range(SIDE_BY_SIDE)))
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        each = calls // SIDE_BY_SIDE
        await asyncio.gather(*(some(each) for _ in range(SIDE_BY_SIDE)))
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {"cpu_us": cpu_s / (each * SIDE_BY_SIDE) * 1e6, "wall_us": wall_s / (each * SIDE_BY_SIDE) * 1e6}


async def ramp(name: str, endpoint: str) -> dict[str, float]:
    """What calls take beyond their function, from 0 to RAMP_CALLS in flight at equal distances within RAMP_S."""
    async with CLIENTS[name](endpoint) as call:
        # Code and keys as in a worker that runs; then all connections but those kept warm are new.
        assert len(await call("at-once")) == 1025
        loop = asyncio.get_running_loop()
        began_s = loop.time() + 0.1
        in_flight, most = 0, 0

        async def one(number: int) -> float:
            nonlocal in_flight, most
            due_s = began_s + number * RAMP_S / RAMP_CALLS
            await asyncio.sleep(due_s - loop.time())
            in_flight += 1
            most = max(most, in_flight)
            await call(f"after-{FUNCTION_MS}")
            in_flight -= 1
            # From when it was due: lateness of the client is the client's.
            return (loop.time() - due_s) * 1000 - FUNCTION_MS

        added = sorted(await asyncio.gather(*(one(number) for number in range(RAMP_CALLS))))
    p99 = added[int(0.99 * RAMP_CALLS) - 1]
    return {"p50_ms": added[RAMP_CALLS // 2], "p99_ms": p99, "max_ms": added[-1], "in_flight": most}


if __name__ == "__main__":
    _, kind, client, url, count = sys.argv
    found = ramp(client, url) if kind == "ramp" else throughput(client, url, int(count))
    print(json.dumps(uvloop.run(found)))
