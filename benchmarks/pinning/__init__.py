"""Keep-alive connections that all hang on one of four workers: how many requests are paid for while slots are free."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.keep_alive_client import Connection, get, percentile
from benchmarks.pinning.app import WORK_S
from benchmarks.pinning.floor import round_trip_ms
from benchmarks.result import Result, at_most
from peaker.http1_server import HttpAnswer, HttpRequest, HttpServer
from peaker.messages import Response, RunNotes
from peaker.settings import AppSection, RouteSection, ServersSection, Settings
from peaker.testing.workers import RunningWorkers
from peaker.unix_socket import UnixListener
from peaker.wire.http_api import response_to_result

WORKERS = 4
SLOTS = 16
CONNECTIONS = 64
LOAD = 0.6
GENERATOR_LATE_S_MAX = 0.01
"""At the 99th percentile; arrivals later than that come in clumps that were not asked for, and the run is void."""

SPILLED_MAX = 0.005
ADDED_MS_AIM = 0.14
SAMPLES = 160
"""Requests of one round, one at a time; the first half warms what the machine had put to sleep."""


@dataclass
class Outcome:
    """One run: what the gates counted, and what the clients saw."""

    requests: int = 0
    on_sibling: int = 0
    spilled: int = 0
    refused: int = 0
    without_connection: int = 0
    """Requests that had to wait for one of the 64 connections, all being in use."""
    late_s: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)

    @property
    def spilled_share(self) -> float:
        return self.spilled / max(1, self.requests)


class StandInHost:
    """Answers as the function host would, after the same time: what is measured is how often it is asked."""

    def __init__(self) -> None:
        self._result = response_to_result(Response(status=200, body=b"function"), RunNotes())
        self.server = HttpServer(self._answer)

    async def _answer(self, _: HttpRequest) -> HttpAnswer:
        await asyncio.sleep(WORK_S)
        return HttpAnswer(status=200, headers=[("content-type", "application/json")], body=self._result)


@contextlib.asynccontextmanager
async def stand_in_host(path: Path) -> AsyncIterator[None]:
    host = StandInHost()
    listener = UnixListener(path)
    await host.server.listen(listener.socket)
    try:
        yield
    finally:
        await host.server.drain(1.0)
        listener.close()


def settings() -> Settings:
    return Settings(
        app=AppSection(name="pinning", web="app:app", spill=True),
        servers=ServersSection(in_flight_max=SLOTS, drain_idle_s=0.0, lag_ms_max=50.0),
        route=(RouteSection(path="/work", placement="hybrid"),),
        directory=str(Path(__file__).parent),
    )


async def pinned(workers: RunningWorkers, count: int) -> list[Connection]:
    """Connections accepted by worker 0."""
    found: list[Connection] = []
    pid = str(workers.processes[0].pid).encode()
    while len(found) < count:
        connection = await Connection.open(workers.port)
        await connection.ask(get("/pid"))
        if connection.body == pid:
            found.append(connection)
        else:
            connection.close()
    return found


async def drive(connections: list[Connection], rate: float, seconds: float, chance: random.Random) -> Outcome:
    """Open loop: Poisson arrivals, each on the connection that has been idle longest, its time counted from its due."""
    outcome = Outcome()
    now_s = time.perf_counter  # uvloop's own time has steps of a millisecond.
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in chance.sample(connections, len(connections)):
        idle.put_nowait(connection)

    async def one(due_s: float) -> None:
        outcome.without_connection += idle.empty()
        connection = await idle.get()
        await connection.timed(get("/work"))
        outcome.latencies_s.append(now_s() - due_s)
        idle.put_nowait(connection)

    due_s = now_s()
    end_s = due_s + seconds
    async with asyncio.TaskGroup() as running:  # A request that fails ends the run: nothing may.
        while due_s < end_s:
            await asyncio.sleep(max(0.0, due_s - now_s()))
            outcome.late_s.append(now_s() - due_s)
            running.create_task(one(due_s))
            due_s += chance.expovariate(rate)
    return outcome


async def measure(workers: RunningWorkers, seconds: float, seed: int) -> Outcome:
    async with stand_in_host(workers.state.invoke_socket_of(1)):
        connections = await pinned(workers, CONNECTIONS)
        await asyncio.sleep(0.1)
        before = workers.usage().counters
        rate = LOAD * WORKERS * SLOTS / WORK_S
        outcome = await drive(connections, rate, seconds, random.Random(seed))
        await asyncio.sleep(0.1)  # Gates close their books every 10 ms.
        after = workers.usage().counters
        outcome.requests = after["requests"] - before["requests"]
        outcome.on_sibling = after["on_sibling"] - before["on_sibling"]
        outcome.spilled = after["on_function"] - before["on_function"]
        outcome.refused = after["refused"] - before["refused"]
        for connection in connections:
            connection.close()
        return outcome


async def added_ms(workers: RunningWorkers, rounds: int) -> tuple[float, float]:
    """Median latency of a quick request answered here and by a sibling, in ms: in turn, one at a time."""
    here, there = [], []
    connections = await pinned(workers, SLOTS + 1)
    client, keepers = connections[0], connections[1:]
    for _ in range(rounds):
        here += [await client.timed(get("/pid")) for _ in range(SAMPLES)][SAMPLES // 2 :]
        held = [asyncio.create_task(keeper.timed(get("/work"))) for keeper in keepers]
        await asyncio.sleep(0.02)
        sample = [(await client.timed(get("/pid")), client.body) for _ in range(SAMPLES)][SAMPLES // 2 :]
        own = str(workers.processes[0].pid).encode()
        there += [latency_s for latency_s, body in sample if body != own]
        await asyncio.gather(*held)
    for connection in connections:
        connection.close()
    if not there:
        raise RuntimeError("no request was answered by a sibling")
    return statistics.median(here) * 1e3, statistics.median(there) * 1e3


def run(arguments: list[str]) -> list[Result]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pinning --", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of the hand-over's latency")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals")
    chosen = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with RunningWorkers(settings(), count=1) as alone:
            one = runner.run(measure(alone, chosen.seconds, chosen.seed))
        with RunningWorkers(settings(), count=WORKERS) as workers:
            four = runner.run(measure(workers, chosen.seconds, chosen.seed))
            here_ms, there_ms = runner.run(added_ms(workers, chosen.rounds))
            floor_ms = runner.run(round_trip_ms())
    late_s = percentile(four.late_s, 0.99)
    void = late_s > GENERATOR_LATE_S_MAX
    if void:
        print(f"void: the load generator's p99 lateness was {late_s * 1e3:.1f} ms", file=sys.stderr)
    shares = (
        f"{four.spilled} of {four.requests}; {four.on_sibling} on siblings, {four.refused} refused; "
        f"generator late {late_s * 1e3:.1f} ms at p99, {four.without_connection} found no idle connection"
    )
    return [
        at_most("spilled share, pinned to one of four", None if void else four.spilled_share, SPILLED_MAX, "", shares),
        Result(
            "spilled share, the same load without siblings", one.spilled_share, "", "", None, f"{one.refused} refused"
        ),
        Result("p50, pinned to one of four", percentile(four.latencies_s, 0.5) * 1e3, "ms"),
        Result("p95, pinned to one of four", percentile(four.latencies_s, 0.95) * 1e3, "ms"),
        Result("a quick request, answered here", here_ms, "ms"),
        Result("a quick request, answered by a sibling", there_ms, "ms"),
        Result("what the hand-over adds", there_ms - here_ms, "ms", "", None, f"aim {ADDED_MS_AIM}"),
        Result("bare frame between two event loops and back", floor_ms, "ms", "", None, "the floor"),
    ]
