"""Break-even: each level is rented from functions until that has cost what starting a server costs, and the reverse.

While a level's server is off, what its work costs on functions above the price of the server is added up, never below
0; when the sum reaches the price of a start, the server is started. While it is ready, what it costs above what
functions would have cost is added up the same way and ends it. While it starts, it only pays.

The two sums are one value: `credit` moves up by the work's function price and down by the server's, held within 0 and
the price of a start A. The server goes on when credit reaches A and off when it reaches 0.

With r = function price / server price and starts of s steps this costs at most 3 + r (s + 1) / s times the clairvoyant
optimum, and one round of starting and stopping a level: `docs/explanation/baseline.md` has the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peaker.errors import StateError
from peaker.policy import saved
from peaker.policy.provision import SERVERS_MAX, Bounds, Economics, Seen
from peaker.policy.watcher import Watcher

OFF = -1.0
"""A level's `starting_s` while its server is off; 0 is ready, more is how long it has still to start."""

_ROUNDING = 1e-9


class Levels:
    """The switch of each level. Times stand for money: a second of a server is 1, one of its work `price_ratio`."""

    __slots__ = ("_credit_s", "_starting_s")

    def __init__(self) -> None:
        self._credit_s: list[float] = []
        self._starting_s: list[float] = []

    @property
    def servers(self) -> int:
        """Levels whose server is ready or starting."""
        return sum(1 for left_s in self._starting_s if left_s != OFF)

    @property
    def servers_ready(self) -> int:
        """Levels whose server is ready."""
        return self._starting_s.count(0.0)

    def step(self, demand_servers: float, for_s: float, economics: Economics, levels_max: int) -> None:
        """A step with this demand has ended."""
        credit, starting = self._credit_s, self._starting_s
        while len(credit) < min(levels_max, demand_servers):
            credit.append(0.0)
            starting.append(OFF)
        ratio, start_s, start_cost_s = economics.price_ratio, starting_time_s(economics), start_cost(economics)
        full_s, idle_s = (ratio - 1) * for_s, -for_s
        for level, left_s in enumerate(starting):
            if left_s > 0:
                starting[level] = left_s - for_s if left_s - for_s > _ROUNDING else 0.0
                continue
            work = demand_servers - level
            value = credit[level] + (full_s if work >= 1 else idle_s if work <= 0 else (work * ratio - 1) * for_s)
            if left_s == OFF and value >= start_cost_s - _ROUNDING:
                starting[level] = start_s
            elif left_s == 0 and value <= _ROUNDING:
                starting[level] = OFF
            credit[level] = min(max(value, 0.0), start_cost_s)
        while credit and credit[-1] == 0.0 and starting[-1] == OFF:
            credit.pop()
            starting.pop()

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"credit_s": list(self._credit_s), "starting_s": list(self._starting_s)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        credit = saved.numbers(state, "credit_s", 0.0, 1e9, SERVERS_MAX)
        starting = saved.numbers(state, "starting_s", OFF, 1e9, SERVERS_MAX)
        if len(credit) != len(starting):
            raise StateError("saved baseline: credit_s and starting_s differ in length.")
        self._credit_s, self._starting_s = credit, starting


def starting_time_s(economics: Economics) -> float:
    """How long a server starts, in whole steps."""
    return economics.start_steps * economics.step_s


def start_cost(economics: Economics) -> float:
    """What a start costs, in seconds of a server; a step at the least, so that nothing goes on and off in each."""
    return max(economics.start_steps, 1) * economics.step_s


class BreakEven(Watcher):
    """The rule for all levels: as many servers as there are levels whose server is on."""

    name = "break-even"

    def __init__(self, economics: Economics, bounds: Bounds) -> None:
        super().__init__(economics, bounds)
        self._levels = Levels()

    def _at_first(self, seen: Seen) -> int:
        del seen
        return self._levels.servers

    def _wanted(self, demand: float, for_s: float, seen: Seen) -> int:
        del seen
        self._levels.step(demand, for_s, self._economics, self._bounds.servers_max)
        return self._levels.servers

    def _kept(self) -> dict[str, Any]:
        return self._levels.state()

    def _take(self, kept: Mapping[str, Any]) -> None:
        self._levels.restore(kept)
