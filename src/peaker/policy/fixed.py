"""A number of servers that never changes."""

from __future__ import annotations

from peaker.policy.provision import Bounds, Economics, Seen
from peaker.policy.watcher import Watcher


class Fixed(Watcher):
    """Always `servers`, within the bounds."""

    name = "fixed"

    def __init__(self, economics: Economics, bounds: Bounds, servers: int) -> None:
        super().__init__(economics, bounds)
        self._servers = servers

    def _at_first(self, seen: Seen) -> int:
        del seen
        return self._servers

    def _wanted(self, demand: float, for_s: float, seen: Seen) -> int:
        del demand, for_s, seen
        return self._servers
