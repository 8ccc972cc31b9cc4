"""Everything a worker serves with, put together: uvicorn's protocol, the gate, the acceptor, the siblings."""

from __future__ import annotations

import asyncio
import random
import socket
from email.utils import formatdate

from uvicorn.config import Config

from peaker import http1
from peaker.app import may_leave_servers
from peaker.asgi import ASGIApp
from peaker.clock import Clock
from peaker.gate.functions_on_aws import FunctionsOnAws, keys_of_botocore
from peaker.gate.gate import Gate
from peaker.gate.hand_over import SiblingLinks
from peaker.gate.neighbours import Neighbourhood
from peaker.gate.slots import WorkerStatus, open_slot_table
from peaker.gate.spill import InvokeClient
from peaker.gate.take_in import HandOverServer
from peaker.meter.route_usage import RouteRow, open_route_table
from peaker.meter.usage import UsageRow, open_usage_table
from peaker.servers.acceptor import Acceptor
from peaker.servers.connection_state import ConnectionLimits, ConnectionState
from peaker.servers.drain import Drain
from peaker.servers.lifespan import Lifespan
from peaker.servers.protocol import HttpProtocol, WebSocketProtocol
from peaker.servers.sweep import Sweep
from peaker.settings import Settings
from peaker.state import StateDirectory

BEAT_S = 0.01
_GATE_REST_S_MAX = 0.5
_BEATS_PER_SECOND = 100

WEBSOCKET_BYTES_MAX = 16 * 1024 * 1024
WEBSOCKET_PING_S = 20.0


class Serving:
    """One worker's serving side.

    `build` is the hash of the code this worker runs (peaker/build.py): it spills to that version and no other.
    `start` runs the app's start-up and begins to accept; `drain` ends it. Raises StateError where a table is missing.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        state: StateDirectory,
        listener: socket.socket,
        *,
        row: int,
        generation: int,
        build: str,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        servers = settings.servers
        self._servers = servers
        self._row = row
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._slots = open_slot_table(state.slots)
        self._neighbourhood = Neighbourhood(
            self._slots, row=row, generation=generation, clock=clock, lag_ms_max=servers.lag_ms_max
        )
        self.links = SiblingLinks(self._neighbourhood, state.hand_over_socket, chance)
        self.functions = _functions(settings, state, generation, build, clock)
        self.gate = Gate(
            app,
            settings,
            row=row,
            slots=self._slots,
            usage=UsageRow(open_usage_table(state.usage), row),
            functions=self.functions,
            streaming=self.functions,
            siblings=self.links,
            clock=clock,
            chance=chance,
            route_usage=_route_usage(settings, state, row),
        )
        self._config = uvicorn_config(self.gate, settings)
        self._lifespan = Lifespan(self._config)
        self.connections = ConnectionState(ConnectionLimits.of(servers), self._loop.time())
        self._sweep = Sweep(self.connections)
        self._sweep_at_s = 0.0
        self._beats = 0
        self._beat_timer: asyncio.TimerHandle | None = None
        self._siblings = HandOverServer(self.gate.admit_handed_over, self._lifespan.state)
        self._acceptor = Acceptor(
            listener,
            self.connections,
            self._protocol,
            neighbourhood=self._neighbourhood,
            is_full=lambda: self.gate.is_full,
            publish=lambda count: self._slots.set(row, "connections", count),
        )
        self._drain = Drain(
            connections=self.connections,
            siblings=self._siblings,
            lifespan=self._lifespan,
            drain_s_max=servers.drain_s_max,
            drain_idle_s=servers.drain_idle_s,
        )

    async def start(self) -> None:
        """Run the app's start-up, then serve; raises AppStartError, ListenError."""
        if isinstance(self.functions, FunctionsOnAws):
            await self.functions.start()
        await self._lifespan.start()
        await self._siblings.start(self._state.hand_over_socket(self._row))
        self.gate.started()
        self._beat()
        self._slots.set(self._row, "status", WorkerStatus.READY)
        self._acceptor.start()

    def stop_accepting(self) -> None:
        """The first step of the end; the listening socket may be closed after it, and not before."""
        self._slots.set(self._row, "status", WorkerStatus.DRAINING)
        self._acceptor.stop()

    async def drain(self) -> bool:
        """End in order; False when something had to be cut short."""
        # The gate says `connection: close` too, and closes its books when it holds no request any more.
        gate_at_rest = self._loop.create_task(self.gate.drain())
        try:
            return await self._drain.run()
        finally:
            await asyncio.wait((gate_at_rest,), timeout=_GATE_REST_S_MAX)
            gate_at_rest.cancel()
            self._close()

    async def cut_short(self) -> None:
        """End now: whatever runs is cancelled."""
        await self._drain.cancel_rest()
        self._siblings.close()
        self._close()

    def _close(self) -> None:
        self.links.close()
        if self.functions is not None:
            self.functions.close()
        if self._beat_timer is not None:
            self._beat_timer.cancel()

    def _protocol(self) -> HttpProtocol:
        return HttpProtocol(self._config, self.connections, self._lifespan.state, self._loop)

    def _beat(self) -> None:
        self._beat_timer = self._loop.call_later(BEAT_S, self._beat)
        now_s = self._loop.time()
        self.connections.now_s = now_s
        self.gate.beat()
        self._slots.set(self._row, "connections", self._acceptor.connections)
        if now_s >= self._sweep_at_s:
            self._sweep_at_s = now_s + self._sweep.step_s
            self._sweep.step(now_s)
        self._neighbourhood.refresh()
        if self._beats % _BEATS_PER_SECOND == 0:
            self.connections.default_headers = [(b"date", formatdate(usegmt=True).encode())]
            self._acceptor.close_lingering()
        self._beats += 1


def _functions(
    settings: Settings, state: StateDirectory, generation: int, build: str, clock: Clock
) -> InvokeClient | FunctionsOnAws | None:
    """What runs this app above the servers: this machine's host of the same generation, or the function on AWS."""
    if not may_leave_servers(settings):
        return None
    if settings.functions.arn:
        return FunctionsOnAws(settings.functions, keys=keys_of_botocore(), clock=clock)
    return InvokeClient(http1.Address(unix=state.invoke_socket_of(generation)), qualifier=build)


def _route_usage(settings: Settings, state: StateDirectory, row: int) -> RouteRow | None:
    """None where no route is declared: then there is nothing to tell apart."""
    paths = [route.path for route in settings.route]
    return RouteRow(open_route_table(state.route_usage), row, paths) if paths else None


def uvicorn_config(app: ASGIApp, settings: Settings) -> Config:
    """The configuration of uvicorn's classes, loaded; what Peaker does itself is switched off."""
    trusted = settings.app.trusted_proxies
    config = Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=WEBSOCKET_BYTES_MAX,
        ws_ping_interval=WEBSOCKET_PING_S,
        ws_ping_timeout=WEBSOCKET_PING_S,
        # 33 KB of zlib's windows a connection are more than all else about an idle WebSocket (benchmarks/connections).
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=list(trusted),
    )
    config.load()
    return config
