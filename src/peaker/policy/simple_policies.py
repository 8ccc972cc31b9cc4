"""Some eighty simple policies, from each of which comes a number of servers in each step.

None of them is good everywhere; each is good for some traffic, price and level. They are made of few parts:

- break-even, the rent-or-buy rule (`break_even.py`); it is the first, and leads until another has been cheaper;
- trailing maxima, with more or less headroom;
- hysteresis: servers are added above one utilisation and taken away below another;
- short trends, carried on until a server started now is ready;
- the three forecasts (`forecast.py`);
- each of the last two also held for a while, by the larger of it and a trailing maximum.

Times are told in start-up times, since it is these that make a wrong decision dear: 2, 8 and 32 of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from peaker.errors import StateError
from peaker.policy import saved
from peaker.policy.break_even import Levels, start_cost
from peaker.policy.forecast import DAY_S, LAGS, DayCycle, Growth, Quantiles, price_quantile
from peaker.policy.provision import DEMAND_MAX, Economics
from peaker.policy.windows import TrailingMax

HOURS_4_S = 14_400.0
MINUTE_S = 60.0

STEPS_BACK_MAX = 240
"""A trend or growth looks back, and a forecast ahead, at most so many steps, so that what is kept is bounded."""

HEADROOMS_OF_LAST = (0.6, 0.75, 0.9, 1.0, 1.15, 1.35)
HEADROOMS = (0.6, 0.8, 1.0, 1.25)
HYSTERESIS = ((0.5, 0.2), (0.65, 0.4), (0.8, 0.2), (0.8, 0.6), (0.8, 0.8), (0.95, 0.4), (0.95, 0.6), (0.95, 0.8))
TREND_SHARES = (0.7, 1.2)
QUANTILE_MEMORIES_S = (HOURS_4_S, DAY_S, 7 * DAY_S)

_CYCLES = ("yesterday", "three days", "seven days", "median day", "last week")


class SimplePolicies:
    """All of them, following the same demand."""

    def __init__(self, economics: Economics) -> None:
        self._start_s = start_s = start_cost(economics)
        step_s = economics.step_s
        self._steps_back = _distinct(1, min(economics.start_steps, STEPS_BACK_MAX))
        ahead = min(economics.start_steps + 1, STEPS_BACK_MAX)
        holds_s = [step_s, 2 * start_s, 8 * start_s, 32 * start_s]
        windows_s = sorted({*holds_s, max(step_s, HOURS_4_S), DAY_S})
        self._holds = [windows_s.index(each) for each in holds_s]
        self._maxima = [TrailingMax(each, step_s) for each in windows_s]
        self._growth_back = _distinct(*(min(each, STEPS_BACK_MAX) for each in (1, ahead - 1, 8 * (ahead - 1))))
        self._growth = [Growth(back, ahead) for back in self._growth_back]
        self._quantiles = [Quantiles(each) for each in QUANTILE_MEMORIES_S]
        self.cycle = DayCycle(step_s)
        self.levels = Levels()
        self._switches = [0] * len(HYSTERESIS)
        self._past: deque[float] = deque(maxlen=max(self._steps_back) + 1)
        self._forecast = 0.0
        self.names = self._named(windows_s)

    @property
    def start_s(self) -> float:
        """The start-up time that windows were made for."""
        return self._start_s

    @property
    def forecast_servers(self) -> float:
        """Demand to expect when a server started now is ready, at the quantile that prices set."""
        return self._forecast

    def see(self, demand: float, now_s: float, for_s: float, economics: Economics, servers_max: int) -> list[int]:
        """A step with this demand has ended: what each policy wants now, in the order of `names`."""
        quantile = price_quantile(economics.price_ratio)
        self.levels.step(demand, for_s, economics, servers_max)
        self._past.append(demand)
        highest = [window.add(demand, for_s) for window in self._maxima]
        held = [highest[index] for index in self._holds]
        wanted: list[float] = [headroom * demand for headroom in HEADROOMS_OF_LAST]
        wanted += [headroom * each for each in highest[1:] for headroom in HEADROOMS]
        for trend in self._trends(demand, economics.start_steps):
            wanted += [max(trend, each) for each in held]
        for each in self._quantiles:
            found = each.add(demand, for_s, quantile)
            wanted += [max(found, held[0]), max(found, held[-1])]
        for season in self._seasons(demand, now_s, for_s, quantile):
            wanted += [max(season, held[0]), max(season, held[2]), max(season, held[3])]
        grown = [each.add(demand, for_s, quantile) for each in self._growth]
        for growth in grown:
            wanted += [growth, max(growth, held[1]), max(growth, held[2]), max(growth, held[3])]
        self._forecast = grown[min(1, len(grown) - 1)]
        ceil = math.ceil
        counts = [ceil(each - 1e-9) for each in wanted]
        return [self.levels.servers, *counts, *self._hysteresis(demand)]

    def _trends(self, demand: float, start_steps: int) -> list[float]:
        past, found = self._past, []
        ahead = min(start_steps, STEPS_BACK_MAX) + 0.5
        for back in self._steps_back:
            slope = (demand - past[-1 - back]) / back if len(past) > back else 0.0
            found += [max(demand, demand + share * slope * ahead) for share in TREND_SHARES]
        return found

    def _seasons(self, demand: float, now_s: float, for_s: float, quantile: float) -> tuple[float, ...]:
        self.cycle.add(now_s, for_s, demand)
        days = self.cycle.around(now_s, self._start_s + MINUTE_S)
        three, seven = sorted(days[:3]), sorted(days)
        return (
            days[0],
            three[min(2, int(quantile * 3))],
            seven[min(LAGS - 1, int(quantile * LAGS))],
            seven[LAGS // 2],
            days[LAGS - 1],
        )

    def _hysteresis(self, demand: float) -> list[int]:
        for index, (up, down) in enumerate(HYSTERESIS):
            servers = self._switches[index]
            if demand > servers * up:
                self._switches[index] = math.ceil(demand / up - 1e-9)
            elif demand < (servers - 1) * down:
                self._switches[index] = math.floor(demand / down) + 1
        return self._switches

    def _named(self, windows_s: list[float]) -> tuple[str, ...]:
        held = [f"held for {_told(windows_s[index])}" for index in self._holds]
        names = [f"last demand x {headroom:g}" for headroom in HEADROOMS_OF_LAST]
        names += [f"highest of {_told(each)} x {headroom:g}" for each in windows_s[1:] for headroom in HEADROOMS]
        for back in self._steps_back:
            names += [f"trend of {back} steps x {share:g}, {hold}" for share in TREND_SHARES for hold in held]
        for memory_s in QUANTILE_MEMORIES_S:
            names += [f"quantile of {_told(memory_s)}, {hold}" for hold in (held[0], held[-1])]
        names += [f"time of day ({each}), {hold}" for each in _CYCLES for hold in (held[0], held[2], held[3])]
        for back in self._growth_back:
            names += [f"growth after {back} steps{also}" for also in ("", *(f", {hold}" for hold in held[1:]))]
        names += [f"add above {up:g}, take away below {down:g}" for up, down in HYSTERESIS]
        return ("break-even", *names)

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "levels": self.levels.state(),
            "maxima": [each.state() for each in self._maxima],
            "growth": [each.state() for each in self._growth],
            "quantiles": [each.state() for each in self._quantiles],
            "cycle": self.cycle.state(),
            "switches": list(self._switches),
            "past": list(self._past),
            "forecast": self._forecast,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        self.levels.restore(saved.part(state, "levels"))
        families: tuple[tuple[str, Sequence[_Restored]], ...] = (
            ("maxima", self._maxima),
            ("growth", self._growth),
            ("quantiles", self._quantiles),
        )
        for name, parts in families:
            found = state.get(name)
            if not isinstance(found, list) or len(found) != len(parts):
                raise StateError(f"saved baseline: {name} is no list of {len(parts)} objects.")
            for index, part in enumerate(parts):
                part.restore(saved.part({name: found[index]}, name))
        self.cycle.restore(saved.part(state, "cycle"))
        switches = saved.numbers(state, "switches", 0, 2 * DEMAND_MAX / 0.2, len(HYSTERESIS))
        if len(switches) != len(HYSTERESIS):
            raise StateError("saved baseline: switches are too few.")
        self._switches = [int(each) for each in switches]
        self._past = deque(saved.numbers(state, "past", 0.0, DEMAND_MAX, STEPS_BACK_MAX + 1), maxlen=self._past.maxlen)
        self._forecast = saved.number(state, "forecast", 0.0, DEMAND_MAX)


class _Restored(Protocol):
    def restore(self, state: Mapping[str, Any]) -> None: ...


def _distinct(*values: int) -> list[int]:
    return sorted({max(1, value) for value in values})


def _told(seconds: float) -> str:
    for unit, length_s in (("d", DAY_S), ("h", 3600.0), ("min", MINUTE_S)):
        if seconds >= length_s and abs(seconds / length_s * 4 - round(seconds / length_s * 4)) < 1e-6:
            return f"{seconds / length_s:g} {unit}"
    return f"{seconds:g} s"
