"""A fleet that exists on a clock alone: servers take their time to start and to drain, and may refuse or fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peaker.clock import Clock
from peaker.errors import CapacityUnavailable
from peaker.interfaces import Fleet, Server, ServerStatus


@dataclass
class _Simulated:
    number: int
    asked_at_s: float
    ready_at_s: float
    gone_at_s: float | None = None

    def status(self, now_s: float) -> ServerStatus:
        if self.gone_at_s is not None:
            return ServerStatus.DRAINING
        return ServerStatus.READY if now_s >= self.ready_at_s else ServerStatus.STARTING


class SimulatedFleet(Fleet):
    """Begins with `count_min` ready servers; times in seconds of `clock`.

    `is_reachable = False` makes every call fail, as a supervisor that is gone does. `asked` are the numbers that were
    asked for, in order.
    """

    def __init__(
        self, clock: Clock, *, count_min: int = 1, count_max: int = 8, start_s: float = 30.0, drain_s: float = 1.0
    ) -> None:
        self._clock = clock
        self._bounds = (count_min, count_max)
        self.start_s = start_s
        self.drain_s = drain_s
        self.is_reachable = True
        self.asked: list[int] = []
        self._next = count_min + 1
        now_s = clock.now_s()
        self._servers = [_Simulated(number, now_s, now_s) for number in range(1, count_min + 1)]

    async def set_server_count(self, count: int) -> None:
        """Ask for so many; raises CapacityUnavailable outside the bounds, or while it cannot be reached."""
        self._require_reachable()
        low, high = self._bounds
        if not low <= count <= high:
            raise CapacityUnavailable(f"servers = {count} is not allowed; allowed: {low} to {high}.")
        self.asked.append(count)
        now_s = self._clock.now_s()
        there = [server for server in self._servers if server.gone_at_s is None]
        for server in there[count:]:
            server.gone_at_s = now_s + self.drain_s
        for _ in range(count - len(there)):
            self._servers.append(_Simulated(self._next, now_s, now_s + self.start_s))
            self._next += 1

    async def servers(self) -> Sequence[Server]:
        """Those that are there at this moment; raises CapacityUnavailable while it cannot be reached."""
        self._require_reachable()
        now_s = self._clock.now_s()
        self._servers = [one for one in self._servers if one.gone_at_s is None or now_s < one.gone_at_s]
        return [
            Server(name=f"server-{one.number}", status=one.status(now_s), started_at_s=one.asked_at_s)
            for one in self._servers
        ]

    def _require_reachable(self) -> None:
        if not self.is_reachable:
            raise CapacityUnavailable("the fleet does not answer.")
