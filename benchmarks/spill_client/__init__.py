"""What one call of the client on the path of a spilled request costs the worker, beside general client libraries."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks.result import Result, at_most
from peaker.http1 import Address, Pool, request_head

BODY = b'{"version": "2.0", "rawPath": "/titles/7", "x": "' + b"x" * 974 + b'"}'
PATH = "/2015-03-31/functions/app-web/invocations"
SIDE_BY_SIDE = 16
SHARE_MAX = 0.5
"""Of aiohttp's CPU, the cheapest general library; else it would not be worth having one's own."""

Call = Callable[[], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def own_pool(path: str) -> AsyncIterator[Call]:
    pool = Pool(Address(unix=Path(path)))

    async def call() -> bytes:
        head = request_head("POST", PATH, [("host", "localhost"), ("content-type", "application/json")], len(BODY))
        return (await pool.exchange(head, BODY, timeout_s=10)).body

    yield call
    pool.close()


@contextlib.asynccontextmanager
async def with_httpx(path: str) -> AsyncIterator[Call]:
    import httpx

    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path)) as client:

        async def call() -> bytes:
            answer = await client.post(f"http://localhost{PATH}", content=BODY)
            return answer.content

        yield call


@contextlib.asynccontextmanager
async def with_aiohttp(path: str) -> AsyncIterator[Call]:
    import aiohttp  # type: ignore[import-not-found]

    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=path)) as session:

        async def call() -> bytes:
            async with session.post(f"http://localhost{PATH}", data=BODY) as answer:
                body: bytes = await answer.read()
                return body

        yield call


CLIENTS = {"peaker.http1": own_pool, "httpx": with_httpx, "aiohttp": with_aiohttp}


async def cpu_us(name: str, path: str, calls: int) -> float:
    """CPU of this process for one call, user and system, with SIDE_BY_SIDE calls under way."""
    async with CLIENTS[name](path) as call:
        assert len(await call()) == 1025

        async def some(count: int) -> None:
            for _ in range(count):
                await call()

        await asyncio.gather(*(some(5) for _ in range(SIDE_BY_SIDE)))
        began = time.process_time()
        await asyncio.gather(*(some(calls // SIDE_BY_SIDE) for _ in range(SIDE_BY_SIDE)))
        return (time.process_time() - began) / (calls // SIDE_BY_SIDE * SIDE_BY_SIDE) * 1e6


def run(options: list[str]) -> list[Result]:
    """Rounds in turn, so that a slow phase of the machine meets all alike; medians."""
    parser = argparse.ArgumentParser(prog="spill_client")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=8000)
    chosen = parser.parse_args(options)
    present = [name for name in CLIENTS if name == "peaker.http1" or importlib.util.find_spec(name)]
    measured: dict[str, list[float]] = {name: [] for name in present}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/server.sock"
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.spill_client.server", path], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            for _ in range(chosen.rounds):
                for name in present:
                    measured[name].append(uvloop.run(cpu_us(name, path, chosen.calls)))
        finally:
            server.kill()
            server.communicate()
    return _results(measured)


def _results(measured: dict[str, list[float]]) -> list[Result]:
    medians = {name: statistics.median(figures) for name, figures in measured.items()}
    results = [
        Result(
            f"CPU a call, {name}",
            round(medians[name], 1) if name in medians else None,
            "us",
            detail=f"{min(measured[name]):.1f} to {max(measured[name]):.1f}" if name in medians else "not installed",
        )
        for name in CLIENTS
    ]
    share = round(medians["peaker.http1"] / medians["aiohttp"], 3) if "aiohttp" in medians else None
    return [*results, at_most("CPU as a share of aiohttp's", share, SHARE_MAX, "")]
