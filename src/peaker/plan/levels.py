"""The load of a trace by level: how long it lies where, and what servers leave over at each level.

A trace of millions of steps is some hundred levels, each with its hours. Within a step requests come by chance, so
that some find all slots taken even where the mean would fit: the share that does is Erlang's loss formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peaker.plan.case import Case
from peaker.plan.workload import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE_MAX = 1e6
"""Requests a second in a step; more is more likely a wrong column than traffic."""

LEVELS = 400
SLOTS_MAX = 20_000
"""Slots in all that are looked at; more servers than that want a larger instance type."""


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """A case's traffic: `rates` a second by step, gaps filled with the last value; `levels` with their `hours`.

    `hours_known` and `requests` are without the gaps, which therefore neither cost nor save anything.
    """

    rates: Floats
    step_s: float
    levels: Floats
    hours: Floats
    requests: float

    @property
    def hours_known(self) -> float:
        """Hours in which traffic was recorded."""
        return float(self.hours.sum())

    @property
    def mean_per_s(self) -> float:
        """Requests a second."""
        return self.requests / (self.hours_known * 3600)

    @property
    def peak_per_s(self) -> float:
        """Requests a second in the busiest step."""
        return float(self.levels[-1])


def load_of(case: Case) -> Load:
    """The load of a case; levels are equal in width in the square root of the rate, so that low ones are told apart."""
    rates = case.counts / case.step_s
    known = rates[~np.isnan(rates)]
    require(known.size > 0 and float(known.sum()) > 0, "load", 0, "above 0")
    require(float(known.max()) <= RATE_MAX, "requests a second", f"{known.max():g}", f"at most {RATE_MAX:g}")
    top = math.sqrt(float(known.max()))
    index = np.minimum((np.sqrt(known) / top * LEVELS).astype(np.int64), LEVELS - 1)
    steps = np.bincount(index, minlength=LEVELS)
    sums = np.bincount(index, weights=known, minlength=LEVELS)
    used = steps > 0
    return Load(
        rates=filled(rates),
        step_s=case.step_s,
        levels=sums[used] / steps[used],
        hours=steps[used] * case.step_s / 3600,
        requests=float(known.sum()) * case.step_s,
    )


def filled(rates: Floats) -> Floats:
    """Gaps carry the last known value on, a gap at the beginning the first one."""
    known = ~np.isnan(rates)
    if known.all():
        return rates
    last = np.maximum.accumulate(np.where(known, np.arange(len(rates)), -1))
    first = int(np.argmax(known))
    return np.asarray(rates[np.where(last < 0, first, last)], dtype=np.float64)


def loss_by_slots(offered: Floats, slots: int, every: int) -> Floats:
    """Erlang's loss B(c, a) for each offered load `a` and c = 0, every, 2 * every, ... up to `slots`.

    The row of c = 0 is 1 everywhere. By the recursion B(c) = a B(c-1) / (c + a B(c-1)), which loses no digits
    (A. K. Erlang, 1917).
    """
    require(slots <= SLOTS_MAX, "slots", slots, f"at most {SLOTS_MAX}")
    loss = np.ones_like(offered)
    rows = [loss.copy()]
    for servers in range(1, slots + 1):
        loss = offered * loss / (servers + offered * loss)
        if servers % every == 0:
            rows.append(loss.copy())
    return np.array(rows)


def wait_by_slots(loss: Floats, offered: Floats, slots: int) -> Floats:
    """Erlang's C, the probability to wait in a queue without an end, from B of the same number of slots; 1 if unstable.

    C = B / (1 - rho (1 - B)) with rho = a / c.
    """
    rho = offered / slots
    return np.where(rho < 1, loss / np.maximum(1e-300, 1 - rho * (1 - loss)), 1.0)
