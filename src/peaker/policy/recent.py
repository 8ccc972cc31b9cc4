"""The demand of the last minutes, and the figures that explain a decision by it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from peaker.errors import StateError
from peaker.policy import saved
from peaker.policy.provision import DEMAND_MAX, Bounds, Decision, Economics, Reason, Seen

WINDOW_S = 600.0
"""Ten minutes: long enough for a sum that means something, short enough to be remembered by who reads it."""

STEPS_MAX = 240


class Recent:
    """Demand by step over the last ten minutes."""

    __slots__ = ("_steps", "_window_s")

    def __init__(self) -> None:
        self._steps: deque[tuple[float, float]] = deque()
        self._window_s = 0.0

    @property
    def demand_servers(self) -> float | None:
        """Seen last."""
        return self._steps[-1][0] if self._steps else None

    @property
    def window_s(self) -> float:
        """Seconds that the sums are taken over."""
        return self._window_s

    def see(self, demand_servers: float | None, for_s: float) -> float | None:
        """A step has ended; gives its demand: the last one where it is missing or no number, None before the first."""
        if demand_servers is None or not math.isfinite(demand_servers):
            demand_servers = self.demand_servers
            if demand_servers is None:
                return None
        demand = min(max(demand_servers, 0.0), DEMAND_MAX)
        self._steps.append((demand, for_s))
        self._window_s += for_s
        while len(self._steps) > 1 and (self._window_s - self._steps[0][1] >= WINDOW_S or len(self._steps) > STEPS_MAX):
            self._window_s -= self._steps.popleft()[1]
        return demand

    @property
    def mean_servers(self) -> float:
        """Mean demand of the window, 0 before the first."""
        return sum(demand * for_s for demand, for_s in self._steps) / self._window_s if self._steps else 0.0

    def work_hours(self, level: int) -> float:
        """Work of the level (counted from 1) in the window, in server hours."""
        return sum(min(1.0, max(0.0, demand - (level - 1))) * for_s for demand, for_s in self._steps) / 3600

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"demand_servers": [demand for demand, _ in self._steps], "for_s": [each for _, each in self._steps]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        demand = saved.numbers(state, "demand_servers", 0.0, DEMAND_MAX, STEPS_MAX)
        for_s = saved.numbers(state, "for_s", 0.0, 1e6, STEPS_MAX)
        if len(demand) != len(for_s):
            raise StateError("saved baseline: demand_servers and for_s differ in length.")
        self._steps = deque(zip(demand, for_s, strict=True))
        self._window_s = sum(for_s)


def decision(
    rule: str, wanted: int, seen: Seen, recent: Recent, *, economics: Economics, bounds: Bounds, **figures: Any
) -> Decision:
    """`wanted` within the bounds, with the figures of the level that gains or loses its server."""
    servers = bounds.hold(wanted)
    level = servers + 1 if servers <= seen.servers else seen.servers + 1
    held_by = figures.pop("held_by", "") if servers == wanted else "bounds"
    reason = Reason(
        rule=rule,
        level=level,
        window_s=recent.window_s,
        functions_usd=recent.work_hours(level) * economics.function_usd_per_server_hour,
        server_usd=recent.window_s / 3600 * economics.server_usd_per_hour,
        demand_servers=recent.demand_servers,
        held_by=held_by,
        **figures,
    )
    return Decision(servers, reason)
