"""A number of servers that never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.provision import Bounds, Decision, Economics, Seen
from peaker.policy.recent import Recent, decision
from peaker.policy.step_time import elapsed_s


class Fixed:
    """Always `servers`, within the bounds."""

    name = "fixed"

    def __init__(self, economics: Economics, bounds: Bounds, servers: int) -> None:
        self._economics, self._bounds, self._servers = economics, bounds, servers
        self._recent = Recent()
        self._last_s: float | None = None

    def decide(self, seen: Seen) -> Decision:
        """The same as ever."""
        self._recent.see(seen.demand_servers, elapsed_s(self._last_s, seen.now_s, self._economics.step_s))
        self._last_s = seen.now_s
        return decision(self.name, self._servers, seen, self._recent, economics=self._economics, bounds=self._bounds)

    def reprice(self, economics: Economics) -> None:
        """Prices or start-up time have changed."""
        self._economics = economics

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"last_s": self._last_s, "recent": self._recent.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        last_s = saved.optional(state, "last_s")
        self._recent.restore(saved.part(state, "recent"))
        self._last_s = last_s
