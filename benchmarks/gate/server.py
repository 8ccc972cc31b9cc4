"""One worker's server on a port, with the gate or without: python -m benchmarks.gate.server APP gate|plain CORE.

All but the gate is the same: uvicorn's protocol as the worker uses it, its connection limits, its timer every 10 ms.
Prints the port when it serves.
"""

import asyncio
import gc
import os
import random
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

import uvloop

from benchmarks.gate.apps import ROUTES, make
from peaker import http1
from peaker.asgi import ASGIApp
from peaker.clock import SystemClock
from peaker.gate.gate import Gate
from peaker.gate.hand_over import SiblingLinks
from peaker.gate.neighbours import Neighbourhood
from peaker.gate.slots import WorkerStatus, create_slot_table
from peaker.gate.spill import InvokeClient
from peaker.meter.usage import UsageRow, create_usage_table
from peaker.servers.connection_state import ConnectionLimits, ConnectionState
from peaker.servers.protocol import HttpProtocol
from peaker.servers.serving import BEAT_S, uvicorn_config
from peaker.settings import AppSection, ObjectiveSection, RouteSection, Settings
from peaker.state import StateDirectory

ROWS = 8


def settings() -> Settings:
    """Everything on: found limit, objective per route, spilling, and the meter, which cannot be switched off."""
    return Settings(
        app=AppSection(web="bench:app", spill=True),
        objective=ObjectiveSection(latency_p95_ms=300),
        route=tuple(RouteSection(path=f"/r{route}/*", latency_p95_ms=100 + route) for route in range(ROUTES)),
    )


def with_gate(app: ASGIApp, chosen: Settings, directory: Path) -> tuple[Gate, Neighbourhood]:
    state = StateDirectory(directory)
    slots = create_slot_table(state.slots, ROWS)
    slots.set(0, "status", WorkerStatus.READY)
    clock = SystemClock()
    neighbourhood = Neighbourhood(slots, row=0, generation=1, clock=clock, lag_ms_max=chosen.servers.lag_ms_max)
    chance = random.Random(1)
    gate = Gate(
        app,
        chosen,
        row=0,
        slots=slots,
        usage=UsageRow(create_usage_table(state.usage, ROWS), 0),
        functions=InvokeClient(http1.Address(unix=state.invoke_socket)),
        siblings=SiblingLinks(neighbourhood, state.hand_over_socket, chance),
        clock=clock,
        chance=chance,
    )
    return gate, neighbourhood


async def serve(name: str, kind: str, directory: Path) -> None:
    loop = asyncio.get_running_loop()
    chosen = settings()
    app = make(name)
    gate, neighbourhood = with_gate(app, chosen, directory) if kind == "gate" else (None, None)
    config = uvicorn_config(gate or app, chosen)
    connections = ConnectionState(ConnectionLimits.of(chosen.servers), loop.time())
    beats = 0

    def beat() -> None:
        nonlocal beats
        loop.call_later(BEAT_S, beat)
        connections.now_s = loop.time()
        if beats % 100 == 0:
            connections.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        if gate is not None and neighbourhood is not None:
            gate.beat()
            if beats % 10 == 0:
                neighbourhood.refresh()
        beats += 1

    if gate is not None:
        gate.started()
    beat()
    server = await loop.create_server(lambda: HttpProtocol(config, connections, {}, loop), "127.0.0.1", 0)
    gc.collect()
    gc.freeze()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[3])})
    with tempfile.TemporaryDirectory() as directory:
        uvloop.run(serve(sys.argv[1], sys.argv[2], Path(directory)))
