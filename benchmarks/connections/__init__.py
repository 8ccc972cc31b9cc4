"""What a thousand idle keep-alive connections and a thousand WebSockets cost the active requests of one worker."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import resource
import statistics
import time
from pathlib import Path

import uvloop

from benchmarks.keep_alive_client import Connection, get, percentile
from benchmarks.result import Result, at_most
from peaker.settings import AppSection, ServersSection, Settings
from peaker.testing.workers import RunningWorkers

IDLE = 1000
WEBSOCKETS = 1000
RATE = 1000.0
ACTIVE = 16
P99_RATIO_MAX = 1.2
KB_MAX = 30.0
A_AGAINST_A_MAX = 1.2
"""Two equal workers must be this close, or the rounds prove nothing."""


class IdleWebSocket(asyncio.Protocol):
    """A client's WebSocket that says nothing and answers pings (RFC 6455: unmasked 0x89 in, masked 0x8A out)."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._arrived = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        transport.write(  # type: ignore[attr-defined]
            b"GET /idle HTTP/1.1\r\nhost: bench\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        if not self.opened.done():
            head, end, rest = self._arrived.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._arrived = rest
            self.opened.set_result(None)
        while len(self._arrived) >= 2 and len(self._arrived) >= 2 + self._arrived[1]:
            payload = self._arrived[2 : 2 + self._arrived[1]]
            if self._arrived[0] == 0x89 and self._transport is not None:
                self._transport.write(bytes([0x8A, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
            self._arrived = self._arrived[2 + len(payload) :]

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"closed: {error}"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def settings() -> Settings:
    servers = ServersSection(drain_idle_s=0.0, keep_alive_s=3600, in_flight_max=64)
    return Settings(app=AppSection(web="app:app"), servers=servers, directory=str(Path(__file__).parent))


def memory_kb(workers: RunningWorkers) -> float:
    """Proportional set size of the worker, in KB."""
    rollup = Path(f"/proc/{workers.processes[0].pid}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def open_idle(port: int) -> list[Connection]:
    connections = [await Connection.open(port) for _ in range(IDLE)]
    for connection in connections:
        await connection.timed(get("/"))
    return connections


async def open_websockets(port: int) -> list[IdleWebSocket]:
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(WEBSOCKETS):
        _, websocket = await loop.create_connection(IdleWebSocket, "127.0.0.1", port)
        await websocket.opened
        found.append(websocket)
    return found


async def latencies(port: int, seconds: float, chance: random.Random) -> list[float]:
    """Open loop at RATE over ACTIVE connections; a request's time counts the wait for a connection."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(ACTIVE):
        idle.put_nowait(await Connection.open(port))
    latencies_s: list[float] = []

    async def one(ready_s: float) -> None:
        connection = await idle.get()
        await connection.timed(get("/"))
        latencies_s.append(time.perf_counter() - ready_s)
        idle.put_nowait(connection)

    due_s = time.perf_counter()
    end_s = due_s + seconds
    async with asyncio.TaskGroup() as running:
        while due_s < end_s:
            while time.perf_counter() < due_s:  # noqa: ASYNC110 - timers of a millisecond would send in bursts
                await asyncio.sleep(0)
            running.create_task(one(time.perf_counter()))
            due_s += chance.expovariate(RATE)
    while not idle.empty():
        idle.get_nowait().close()
    return latencies_s


async def measure(rounds: int, seconds: float) -> list[Result]:
    with contextlib.ExitStack() as stack:
        crowded, empty, empty_too = (stack.enter_context(RunningWorkers(settings())) for _ in range(3))
        for workers in (crowded, empty, empty_too):
            await latencies(workers.port, 1.0, random.Random(0))
        alone_kb = memory_kb(crowded)
        idle = await open_idle(crowded.port)
        with_idle_kb = memory_kb(crowded)
        websockets = await open_websockets(crowded.port)
        with_all_kb = memory_kb(crowded)
        p99s_ms: dict[str, list[float]] = {"crowded": [], "empty": [], "empty too": []}
        for number in range(rounds):
            turns = [("crowded", crowded), ("empty", empty), ("empty too", empty_too)]
            for name, workers in turns[number % 3 :] + turns[: number % 3]:
                seen_s = await latencies(workers.port, seconds, random.Random(number))
                p99s_ms[name].append(percentile(seen_s, 0.99) * 1e3)
        lost = sum(websocket.is_lost for websocket in websockets)
        if lost or crowded.slots(0)["connections"] < IDLE + WEBSOCKETS:
            raise RuntimeError(f"{lost} WebSockets were lost; the worker holds {crowded.slots(0)['connections']}")
        for connection in (*idle, *websockets):
            connection.close()
    # The median of the rounds: what else the machine does now and then is in few of them.
    p99_ms = {name: statistics.median(values) for name, values in p99s_ms.items()}
    empty_ms = (p99_ms["empty"] + p99_ms["empty too"]) / 2
    noise = p99_ms["empty too"] / p99_ms["empty"]
    proved = 1 / A_AGAINST_A_MAX <= noise <= A_AGAINST_A_MAX
    return [
        Result("p99 of active requests, nothing else open", empty_ms, "ms"),
        Result("p99 of active requests, 2,000 idle connections", p99_ms["crowded"], "ms"),
        at_most(
            "p99 beside 2,000 idle connections, ratio",
            p99_ms["crowded"] / empty_ms if proved else None,
            P99_RATIO_MAX,
            "",
            f"{p99_ms['crowded'] / empty_ms:.2f}; {rounds} rounds; A against A {noise:.2f}",
        ),
        at_most("an idle keep-alive connection", (with_idle_kb - alone_kb) / IDLE, KB_MAX, "KB"),
        at_most("an idle WebSocket", (with_all_kb - with_idle_kb) / WEBSOCKETS, KB_MAX, "KB"),
    ]


def run(arguments: list[str]) -> list[Result]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks connections --", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31, help="rounds of each of the three workers, in turn")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    chosen = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(chosen.rounds, chosen.seconds))
