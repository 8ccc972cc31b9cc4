"""What demand may be when a server that is started now is ready: three forecasts, each priced and learned as it goes.

A server is worth its price in a step if the chance that its level is in use exceeds server price / function price. So
each forecast is the quantile 1 - server price / function price of demand, over the time that a start takes:

- `DayCycle`: by what the same time of day had in the last seven days, the same weekday among them. Shorter cycles
  that divide a day (an hour, a quarter) are in it too.
- `Growth`: by how demand went on after it had changed in the same way before: the shape of flash crowds and of ebbs.
- `Quantiles`: by the distribution of the last hours, day and week, for traffic without either.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from peaker.errors import StateError
from peaker.policy import saved
from peaker.policy.provision import DEMAND_MAX

DAY_S = 86_400.0
BUCKET_S = 60.0
LAGS = 7
_UNKNOWN = -1.0


def price_quantile(price_ratio: float) -> float:
    """The share of chance below which a server is not worth its price; 0 where functions are as cheap."""
    return max(0.0, 1.0 - 1.0 / price_ratio)


class DayCycle:
    """The highest demand of each minute of the last seven days and the running one, in UTC.

    After a change of summer time the cycle is learned anew within a day.
    """

    def __init__(self, step_s: float) -> None:
        self._bucket_s = DAY_S / max(1, round(DAY_S / max(BUCKET_S, step_s)))
        self._buckets = round(DAY_S / self._bucket_s)
        self._days: list[int | None] = [None] * (LAGS + 1)
        self._rows: list[list[float]] = [[] for _ in self._days]
        self._looked_at: tuple[int, float] | None = None
        self._found = [0.0] * LAGS

    def add(self, now_s: float, for_s: float, demand_servers: float) -> None:
        """A step has ended at `now_s`."""
        day, bucket = self._place(now_s - for_s / 2)
        row = day % len(self._days)
        if self._days[row] != day:
            self._days[row], self._rows[row] = day, [_UNKNOWN] * self._buckets
        value = round(demand_servers, 4)
        self._rows[row][bucket] = max(self._rows[row][bucket], value)

    def around(self, now_s: float, ahead_s: float) -> list[float]:
        """The highest demand from a minute before this time of day to `ahead_s` after it, one to seven days ago.

        A day that is not known counts as 0.
        """
        asked = (int(now_s // self._bucket_s), ahead_s)
        if asked != self._looked_at:
            self._looked_at = asked
            places = range(asked[0] - 1, asked[0] + 1 + math.ceil(min(ahead_s, DAY_S) / self._bucket_s))
            self._found = [self._highest(places, lag) for lag in range(1, LAGS + 1)]
        return self._found

    def _highest(self, places: range, lag: int) -> float:
        highest = 0.0
        for place in places:
            day, bucket = divmod(place, self._buckets)
            row = (day - lag) % len(self._days)
            if self._days[row] == day - lag and self._rows[row][bucket] > highest:
                highest = self._rows[row][bucket]
        return highest

    def _place(self, at_s: float) -> tuple[int, int]:
        day, bucket = divmod(int(at_s // self._bucket_s), self._buckets)
        return day, bucket

    def state(self) -> dict[str, Any]:
        """As JSON has it: at most 8 x 1440 numbers."""
        return {"days": list(self._days), "rows": [list(row) for row in self._rows]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        days, rows = state.get("days"), state.get("rows")
        if not isinstance(days, list) or not isinstance(rows, list) or not len(days) == len(rows) == LAGS + 1:
            raise StateError("saved baseline: days and rows are no lists of eight.")
        for index, (day, row) in enumerate(zip(days, rows, strict=True)):
            known = isinstance(day, int) and isinstance(row, list) and len(row) == self._buckets
            # Another step than before makes other buckets: then that is learned anew.
            self._days[index] = day if known else None
            self._rows[index] = [saved.as_number(each, "rows", _UNKNOWN, DEMAND_MAX) for each in row] if known else []
        self._looked_at = None


class Growth:
    """The quantile of what demand is multiplied by until a server started now is ready.

    It is kept for each of 11 rates of change over `back` steps and 5 heights over the last hour's mean: a jump out of
    the ordinary goes on otherwise than one within it. Each of the 55 is moved by its own errors (stochastic
    approximation, Robbins and Monro 1951: up by step * quantile where demand came out higher, else down by
    step * (1 - quantile)).
    """

    _RATES, _HEIGHTS = 11, 5
    _RATE_BIN, _HEIGHT_BIN = 0.12, 0.5
    _MEAN_S = 3600.0
    _STEP, _STEP_MIN = 0.3, 0.006
    _FLOOR = 0.25
    """Below a quarter of a server changes are noise, and cost little."""
    _LOG_MAX = 12.0

    def __init__(self, back: int, ahead: int) -> None:
        self._back, self._ahead = back, ahead
        self._quantile = [0.0] * (self._RATES * self._HEIGHTS)
        self._seen = [0] * (self._RATES * self._HEIGHTS)
        self._past: deque[float] = deque(maxlen=max(back + 1, ahead))
        self._cells: deque[int] = deque(maxlen=ahead)
        self._mean = 0.0

    def add(self, demand_servers: float, for_s: float, quantile: float) -> float:
        """A step has ended; gives the demand to expect `ahead` steps on."""
        log = math.log(max(demand_servers, self._FLOOR))
        if len(self._cells) == self._ahead:
            self._learn(self._cells[0], log - self._past[-self._ahead], quantile)
        self._mean += (demand_servers - self._mean) * (min(1.0, for_s / self._MEAN_S) if self._past else 1.0)
        self._past.append(log)
        rate = log - self._past[max(0, len(self._past) - 1 - self._back)]
        height = log - math.log(max(self._mean, self._FLOOR))
        cell = self._bin(rate / self._RATE_BIN, self._RATES) * self._HEIGHTS
        cell += self._bin(height / self._HEIGHT_BIN, self._HEIGHTS)
        self._cells.append(cell)
        return min(DEMAND_MAX, demand_servers * math.exp(self._quantile[cell]))

    def _learn(self, cell: int, log_ratio: float, quantile: float) -> None:
        self._seen[cell] = min(self._seen[cell] + 1, 10**6)
        step = max(self._STEP_MIN, self._STEP / math.sqrt(self._seen[cell]))
        moved = self._quantile[cell] + step * (quantile - (1.0 if log_ratio < self._quantile[cell] else 0.0))
        self._quantile[cell] = min(max(moved, -self._LOG_MAX), self._LOG_MAX)

    @staticmethod
    def _bin(value: float, bins: int) -> int:
        return min(bins - 1, max(0, math.floor(value + bins / 2)))

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "quantile": list(self._quantile),
            "seen": list(self._seen),
            "past": list(self._past),
            "cells": list(self._cells),
            "mean": self._mean,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        size = len(self._quantile)
        quantile = saved.numbers(state, "quantile", -self._LOG_MAX, self._LOG_MAX, size)
        seen = saved.numbers(state, "seen", 0, 10**6, size)
        past = saved.numbers(state, "past", -100.0, 100.0, self._past.maxlen or 0)
        cells = saved.numbers(state, "cells", 0, size - 1, self._cells.maxlen or 0)
        if len(quantile) != size or len(seen) != size or len(cells) > len(past):
            raise StateError("saved baseline: what was learned of growth does not fit together.")
        self._mean = saved.number(state, "mean", 0.0, DEMAND_MAX)
        self._quantile, self._seen = quantile, [int(each) for each in seen]
        self._past = deque(past, maxlen=self._past.maxlen)
        self._cells = deque((int(each) for each in cells), maxlen=self._cells.maxlen)


class Quantiles:
    """Quantiles of demand with a fading memory, from counts in bins that are 2.5 % wide."""

    _FLOOR = 0.05
    _PER_LOG = 40.0
    _BINS = 960
    _WEIGHT_MAX = 1e9
    _LOOK_S = 300.0

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._counts: dict[int, float] = {}
        self._weight, self._total = 1.0, 0.0
        self._since_s, self._found = self._LOOK_S, 0.0

    def add(self, demand_servers: float, for_s: float, quantile: float) -> float:
        """A step has ended; gives the quantile, looked up anew every five minutes."""
        place = 0
        if demand_servers > self._FLOOR:
            place = min(self._BINS, 1 + int(self._PER_LOG * math.log(demand_servers / self._FLOOR)))
        # The past fades by later weights growing; all are scaled down together before they overflow.
        self._weight *= math.exp(min(1.0, for_s / self._memory_s))
        self._counts[place] = self._counts.get(place, 0.0) + self._weight * for_s
        self._total += self._weight * for_s
        self._since_s += for_s
        if self._weight > self._WEIGHT_MAX:
            self._scale_down()
        if self._since_s >= self._LOOK_S:
            self._since_s, self._found = 0.0, self._look_up(quantile)
        return self._found

    def _look_up(self, quantile: float) -> float:
        above = (1 - quantile) * self._total
        for place in sorted(self._counts, reverse=True):
            above -= self._counts[place]
            if above < 0:
                return self._FLOOR * math.exp(place / self._PER_LOG) if place else 0.0
        return 0.0

    def _scale_down(self) -> None:
        least = self._total * 1e-9
        self._counts = {place: count / self._weight for place, count in self._counts.items() if count > least}
        self._total, self._weight = sum(self._counts.values()), 1.0

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "counts": {str(place): count for place, count in self._counts.items()},
            "weight": self._weight,
            "total": self._total,
            "since_s": self._since_s,
            "found": self._found,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        counts = saved.part(state, "counts")
        if not all(place.isdecimal() and int(place) <= self._BINS for place in counts):
            raise StateError("saved baseline: counts has a bin that there is not.")
        found = {int(place): saved.number(counts, place, 0.0, 1e30) for place in counts}
        self._weight = saved.number(state, "weight", 1.0, self._WEIGHT_MAX)
        self._total = saved.number(state, "total", 0.0, 1e30)
        self._since_s = saved.number(state, "since_s")
        self._found = saved.number(state, "found", 0.0, DEMAND_MAX)
        self._counts = found
