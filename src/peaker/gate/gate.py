"""The gate: a request stays on this worker, goes to a sibling, waits, is spilled to a function, or is refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable

from peaker.app import ASGIApp, Receive, Scope, Send
from peaker.clock import Clock
from peaker.gate.exchange import Exchange
from peaker.gate.routes import Routes
from peaker.gate.siblings import Siblings
from peaker.interfaces import Functions
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow
from peaker.settings import Settings
from peaker.shared_table import SharedTable

SLOTS_AT_START = 20
"""Where "auto" begins, before any latency has been seen (the initial limit of Netflix' concurrency-limits)."""


class Gate:
    """An ASGI application around the user's.

    The worker calls `started()` after the lifespan's start-up, `beat()` every 10 ms, and `drain()` when it is to stop.
    Of its row of the slot table the gate writes in_flight, slots, lag_us, heartbeat_ms, websockets, waiting, spilling
    and spent_microusd; pid, status, generation and connections are the worker's, lease_microusd is control's.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        row: int,
        slots: SharedTable,
        usage: UsageRow,
        functions: Functions | None,
        siblings: Siblings | None,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._app = app
        self._clock = clock
        self._usage = usage
        self._siblings = siblings
        self._functions = functions
        self._chance = chance
        self._routes = Routes(settings)
        self._slots = slots
        self._row = row
        self._in_flight = 0
        self._websockets = 0
        declared = settings.servers.in_flight_max
        self._limit = SLOTS_AT_START if declared == "auto" else declared
        self._idle = asyncio.Event()
        self._draining = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Admit one request. A plain function: what it returns is to be awaited at once."""
        if scope["type"] != "http":
            return self._pass(scope, receive, send)
        return self._run_here(scope, receive, send, Ran.SERVER)

    @property
    def in_flight(self) -> int:
        """Requests that hold a slot."""
        return self._in_flight

    @property
    def slots_limit(self) -> int:
        """Slots there are now."""
        return self._limit

    @property
    def is_full(self) -> bool:
        """No slot is free, requests wait, or the loop lags: better not to accept a connection."""
        return self._in_flight >= self._limit

    def started(self) -> None:
        """The app is ready: publish this worker's slots and begin to measure lag."""
        self.beat()

    def beat(self) -> None:
        """Every 10 ms: measure the loop's lag and publish the row."""
        table, row = self._slots, self._row
        table.set(row, "in_flight", self._in_flight)
        table.set(row, "slots", self._limit)
        table.set(row, "heartbeat_ms", int(self._clock.now_s() * 1000))
        table.set(row, "websockets", self._websockets)

    async def drain(self) -> None:
        """Say `connection: close` in every response from now on, and return when no request is left."""
        self._draining = True
        while self._in_flight:
            self._idle.clear()
            await self._idle.wait()

    def admit_handed_over(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """Take a request from a sibling: what to await, or None when this worker is full.

        A slot is held from this call on, so what it returns must be awaited.
        """
        return None if self.is_full else self._run_here(scope, receive, send, Ran.SIBLING)

    async def _run_here(self, scope: Scope, receive: Receive, send: Send, ran: Ran) -> None:
        now_s = self._clock.now_s()
        route = self._routes.of(scope["method"], scope["path"])
        exchange = Exchange(scope, send, route, now_s, now_s, self._clock)
        self._in_flight += 1
        try:
            await self._app(scope, receive, exchange.send)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            if ran is Ran.SERVER:
                self._usage.add(COUNTER_INDEX["requests"])
                self._usage.add(COUNTER_INDEX["on_server"])
                self._usage.latency(ran, exchange.ended_s - now_s)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        self._websockets += 1
        self._usage.add(COUNTER_INDEX["websockets"])
        try:
            await self._app(scope, receive, send)
        finally:
            self._websockets -= 1
