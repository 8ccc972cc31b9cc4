"""At most one reversal in the time that a start takes, so that noise does not start and stop servers.

A reversal is a change of the number of servers against the direction of the one before. It is held back until a
start-up time has passed since the last one. Load that has really changed is not noise: servers are added at once where
demand is above all of the last eight start-up times, or half an hour, by more than the range it had in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.windows import TrailingMax

STARTS_BACK = 8
BACK_S_MIN = 1800.0
BEYOND_RANGE = 1.0

FEW = 8
"""Noise moves an eighth of the servers at most, or one."""

_LOW = 1e9
"""The lowest is the highest of what is missing to this."""


class Steadiness:
    """Holds back reversals."""

    def __init__(self, start_s: float, step_s: float) -> None:
        self._start_s = start_s
        back_s = max(BACK_S_MIN, STARTS_BACK * start_s)
        self._highest, self._lowest = TrailingMax(back_s, step_s), TrailingMax(back_s, step_s)
        self._wanted = TrailingMax(start_s, step_s)
        self._range = (0.0, 0.0)
        self._is_new_load = False
        self._direction = 0
        self._since_s = start_s

    def see(self, demand: float, for_s: float) -> None:
        """A step with this demand has ended."""
        low, high = self._range
        self._is_new_load = demand > high + BEYOND_RANGE * (high - low)
        self._range = (_LOW - self._lowest.add(_LOW - demand, for_s), self._highest.add(demand, for_s))
        self._since_s += for_s

    def steady(self, wanted: int, servers: int, for_s: float, affordable: float) -> int:
        """`wanted`, or `servers`, those there are, where it would be one reversal too many.

        Servers taken away are missed for a start-up time if they are wanted back at once. Where a few are to go, but
        more than are `affordable` in that way, they go when none of them has been wanted for a start-up time.
        """
        highest = int(self._wanted.add(wanted, for_s))
        if affordable < servers - wanted <= max(1, servers // FEW):
            wanted = min(servers, highest)
        if wanted == servers:
            return servers
        direction = 1 if wanted > servers else -1
        is_early = self._since_s < self._start_s - 1e-6
        if direction == -self._direction and is_early and not (direction > 0 and self._is_new_load):
            return servers
        return wanted

    def changed(self, before: int, after: int) -> None:
        """What was decided in the end."""
        if before == after:
            return
        direction = 1 if after > before else -1
        if direction == -self._direction:
            self._since_s = 0.0
        self._direction = direction

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "highest": self._highest.state(),
            "lowest": self._lowest.state(),
            "wanted": self._wanted.state(),
            "range": list(self._range),
            "is_new_load": self._is_new_load,
            "direction": self._direction,
            "since_s": self._since_s,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        self._highest.restore(saved.part(state, "highest"))
        self._lowest.restore(saved.part(state, "lowest"))
        self._wanted.restore(saved.part(state, "wanted"))
        [(low, high)] = saved.table({"range": [state.get("range")]}, "range", 2)
        self._direction = saved.whole(state, "direction", -1, 1)
        self._since_s = saved.number(state, "since_s")
        self._range, self._is_new_load = (low, high), bool(state.get("is_new_load"))
