"""What rules that look at nothing but demand have in common: the time, demand that is missing, and their figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.provision import Bounds, Decision, Economics, Seen
from peaker.policy.recent import Recent, decision
from peaker.policy.step_time import elapsed_s


class Watcher(ABC):
    """A rule by its `_wanted`; what it keeps beside the recent demand goes through `_kept` and `_take`."""

    name = ""

    def __init__(self, economics: Economics, bounds: Bounds) -> None:
        self._economics, self._bounds = economics, bounds
        self._recent = Recent()
        self._last_s: float | None = None

    def decide(self, seen: Seen) -> Decision:
        """What the rule wants, within the bounds; before the first demand, what there is."""
        for_s = elapsed_s(self._last_s, seen.now_s, self._economics.step_s)
        self._last_s = seen.now_s
        demand = self._recent.see(seen.demand_servers, for_s)
        wanted = self._at_first(seen) if demand is None else self._wanted(demand, for_s, seen)
        return decision(self.name, wanted, seen, self._recent, economics=self._economics, bounds=self._bounds)

    def _at_first(self, seen: Seen) -> int:
        return seen.servers

    @abstractmethod
    def _wanted(self, demand: float, for_s: float, seen: Seen) -> int:
        """A step of `for_s` with this demand has ended."""

    def reprice(self, economics: Economics) -> None:
        """Prices or start-up time have changed."""
        self._economics = economics

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"last_s": self._last_s, "recent": self._recent.state(), "kept": self._kept()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        last_s = saved.optional(state, "last_s")
        self._recent.restore(saved.part(state, "recent"))
        self._take(saved.part(state, "kept"))
        self._last_s = last_s

    def _kept(self) -> dict[str, Any]:
        return {}

    def _take(self, kept: Mapping[str, Any]) -> None:  # noqa: B027 - a rule that keeps nothing has nothing to take
        """Go on from what `_kept` gave; raises StateError."""
