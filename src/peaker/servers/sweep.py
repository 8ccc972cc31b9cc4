"""Time-outs of connections, looked at from outside the request path."""

from __future__ import annotations

from peaker.servers.connection_state import ConnectionState
from peaker.servers.protocol import HttpProtocol

STEPS = 10


class Sweep:
    """Visits every connection once in STEPS steps, so that ten thousand of them cost no step more than a tenth.

    A step every tenth of the shortest limit, at the most every 100 ms: a time-out is noticed within a second, or
    within the time-out's own length where that is shorter.
    """

    def __init__(self, state: ConnectionState) -> None:
        self._state = state
        self._left: list[object] = []
        self._share = 1
        limits = state.limits
        shortest_s = min(limits.header_timeout_s, limits.body_timeout_s, limits.keep_alive_s or 1.0, 1.0)
        self.step_s = max(shortest_s / STEPS, 0.01)

    def step(self, now_s: float) -> None:
        """Visit the next tenth."""
        if not self._left:
            self._left = list(self._state.connections)
            self._share = len(self._left) // STEPS + 1
        for connection in self._left[-self._share :]:
            if isinstance(connection, HttpProtocol) and not connection.transport.is_closing():
                connection.end_if_overdue(now_s)
        del self._left[-self._share :]
