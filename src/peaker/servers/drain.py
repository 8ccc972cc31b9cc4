"""The end of a worker, step by step: every request whose first byte was read is answered.

1. Stop accepting (`Serving.stop_accepting`); connections that wait on the shared socket are taken by the siblings.
   Say DRAINING in the slot table, so that siblings hand nothing over, and refuse what they send all the same.
2. Every response carries `Connection: close` from here on, and its connection closes behind it: a client learns
   before its next request that it must open another connection.
3. Wait for running requests, background work and requests of siblings, for `drain_s_max` at the most.
4. Meanwhile an idle connection stays open until `drain_idle_s` have gone by, for the request that may be on its way;
   bytes that are already in the socket count as a request. A request can cross only with this last close.
5. WebSockets get close code 1012 (service restart), and a moment for their apps to end.
6. What still runs is cancelled. Then the app's lifespan shutdown.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Iterable
from dataclasses import dataclass

from peaker.gate.take_in import HandOverServer
from peaker.servers.connection_state import ConnectionState
from peaker.servers.lifespan import Lifespan
from peaker.servers.protocol import HttpProtocol, WebSocketProtocol

_LOOK_S = 0.01
_CANCEL_S_MAX = 1.0
LIFESPAN_STOP_S_MIN = 1.0
"""The lifespan shutdown has what is left of drain_s_max, and this much in any case."""

_logger = logging.getLogger("peaker.drain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """What is to be brought to an end; times in seconds."""

    connections: ConnectionState
    siblings: HandOverServer
    lifespan: Lifespan
    drain_s_max: float
    drain_idle_s: float

    async def run(self) -> bool:
        """All steps; False when something had to be cut short."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        deadline_s = began_s + self.drain_s_max
        self.siblings.refuses = True
        self._close_with_response()
        finished = await self._wait_for_requests(began_s, deadline_s)
        self._close_websockets()
        finished &= await self._wait_for_websockets(deadline_s)
        await self.cancel_rest()
        self.siblings.close()
        stopped = await self.lifespan.stop(max(deadline_s - loop.time(), LIFESPAN_STOP_S_MIN))
        if not stopped:
            _logger.error("the app's lifespan shutdown failed or took too long", extra={"action": "drain"})
        return finished and stopped

    async def cancel_rest(self) -> None:
        """Cancel the apps that still run and cut the connections that are still open."""
        state = self.connections
        running = {*state.tasks, *state.websocket_tasks, *self.siblings.tasks}
        if running:
            _logger.error("%d requests are cut off", len(running), extra={"action": "drain"})
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_CANCEL_S_MAX)
        for connection in tuple(state.connections):
            connection.transport.abort()

    def _close_with_response(self) -> None:
        self.connections.closing = True
        for connection in self._http():
            connection.begin_closing()

    async def _wait_for_requests(self, began_s: float, deadline_s: float) -> bool:
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            self._close_idle(began_s, now_s)
            if not (self.connections.tasks or self.siblings.tasks or any(True for _ in self._http())):
                return True
            if now_s >= deadline_s:
                return False
            await asyncio.sleep(_LOOK_S)

    def _close_idle(self, began_s: float, now_s: float) -> None:
        """Close connections idle for `drain_idle_s` since the drain began, unless a request waits in the socket."""
        due = {
            connection.transport.get_extra_info("socket").fileno(): connection
            for connection in self._http()
            if connection.is_idle
            and not connection.transport.is_closing()
            and now_s - max(began_s, connection.active_s) >= self.drain_idle_s
        }
        if not due:
            return
        arrived = select.poll()
        for descriptor in due:
            arrived.register(descriptor, select.POLLIN)
        with_bytes = {descriptor for descriptor, _ in arrived.poll(0)}
        for descriptor, connection in due.items():
            if descriptor not in with_bytes:
                connection.transport.close()

    def _close_websockets(self) -> None:
        for connection in tuple(self.connections.connections):
            if isinstance(connection, WebSocketProtocol):
                connection.shutdown()

    async def _wait_for_websockets(self, deadline_s: float) -> bool:
        """Their apps have heard of the disconnect; they get what is left of the time, and a second in any case."""
        tasks = self.connections.websocket_tasks
        if not tasks:
            return True
        left_s = max(deadline_s - asyncio.get_running_loop().time(), LIFESPAN_STOP_S_MIN)
        _, pending = await asyncio.wait(tuple(tasks), timeout=left_s)
        return not pending

    def _http(self) -> Iterable[HttpProtocol]:
        return [connection for connection in self.connections.connections if isinstance(connection, HttpProtocol)]
