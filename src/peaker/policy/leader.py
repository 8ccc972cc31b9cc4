"""Follow the leader: which of many simple policies has been the cheapest so far, level by level.

Each policy has servers of its own that exist only on paper: they start, are paid for and serve as real ones would.
What each has cost is added up in bands of levels, since what is best for a base load is not what is best for its peaks:
levels 1 to 4 by themselves, those above in bands half as wide as all below. The past fades with a memory of days. The
number of servers is the sum over bands of what the band's leader wants there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from operator import add
from typing import Any

from peaker.errors import StateError
from peaker.policy import saved
from peaker.policy.provision import SERVERS_MAX, Economics

MEMORY_S = 4 * 86_400.0
"""How long a cost counts until it has faded to 37 %: over the days of a working week, not over weeks."""

_WEIGHT_MAX = 1e6
_ROUNDING_S = 1e-6
_BANDS_MAX = 64


def band_after(low: int) -> int:
    """Where the band that begins above `low` levels ends."""
    return low + max(1, low // 2)


class Leader:
    """Costs of `policies` policies; the first leads as long as none has been cheaper.

    Who leads is asked once in the time of a start, of which `start_cost_s` is the cost in seconds of a server.
    """

    def __init__(self, policies: int, start_cost_s: float) -> None:
        self._paid, self._ready = [0] * policies, [0] * policies
        self._coming: dict[int, list[list[float]]] = {}
        self._edges = [0]
        self._costs: list[list[float]] = []
        self._leads: list[int] = []
        self._weight = 1.0
        self._clock_s = self._looked_s = 0.0
        self._start_cost_s = start_cost_s

    def follow(self, wanted: Sequence[int], economics: Economics) -> int:
        """Each policy sets its servers; gives the number by the leaders."""
        due_s = self._clock_s + economics.start_steps * economics.step_s
        for policy, (now, before) in enumerate(zip(wanted, self._paid, strict=True)):
            if now != before:
                self._order(policy, now - before, due_s)
        self._reach(max(self._paid))
        bands = zip(self._edges, self._edges[1:], self._leads, strict=False)
        return sum(min(max(self._paid[leads] - low, 0), high - low) for low, high, leads in bands)

    def leads(self, level: int) -> int:
        """The policy that leads for this level, counted from 1."""
        for high, leads in zip(self._edges[1:], self._leads, strict=True):
            if level <= high:
                return leads
        return 0

    def charge(self, demand: float, for_s: float, price_ratio: float) -> None:
        """A step with this demand has ended: what it has cost each policy, in seconds of a server."""
        top = max(min(math.ceil(demand), SERVERS_MAX), *self._paid)
        self._reach(top)
        self._weight *= math.exp(for_s / MEMORY_S)
        unit = self._weight * for_s
        # Most policies agree with another one: each pair of numbers is reckoned once.
        pairs: dict[tuple[int, int], int] = {}
        which = [pairs.setdefault(pair, len(pairs)) for pair in zip(self._paid, self._ready, strict=True)]
        for band, (low, high) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
            if low >= top:
                break
            # Demand in the band ends here; conditions instead of min and max, since this is what most time goes into.
            end, width = min(max(demand, low), high), high - low
            costs = [
                unit
                * (
                    (0 if paid <= low else width if paid >= high else paid - low)
                    + (0.0 if ready >= end else price_ratio * (end - (max(low, ready))))
                )
                for paid, ready in pairs
            ]
            self._costs[band] = list(map(add, self._costs[band], map(costs.__getitem__, which)))
        self._pass_time(for_s)

    def _reach(self, top: int) -> None:
        while self._edges[-1] < top:
            self._edges.append(band_after(self._edges[-1]))
            self._costs.append([0.0] * len(self._paid))
            self._leads.append(0)

    def _pass_time(self, for_s: float) -> None:
        self._clock_s += for_s
        for policy in [each for each, queue in self._coming.items() if queue[0][0] <= self._clock_s + _ROUNDING_S]:
            queue = self._coming[policy]
            while queue and queue[0][0] <= self._clock_s + _ROUNDING_S:
                self._ready[policy] += int(queue.pop(0)[1])
            if not queue:
                del self._coming[policy]
        if self._weight > _WEIGHT_MAX:
            self._costs = [[cost / self._weight for cost in costs] for costs in self._costs]
            self._weight = 1.0
        if self._clock_s - self._looked_s >= self._start_cost_s - _ROUNDING_S:
            self._looked_s = self._clock_s
            self._leads = list(map(self._best, self._costs, self._leads, itertools.pairwise(self._edges)))

    def _best(self, costs: list[float], leads: int, band: tuple[int, int]) -> int:
        """The cheapest, if what it is cheaper by pays for starting the band's servers anew; else who leads."""
        best = costs.index(min(costs))
        change = self._weight * self._start_cost_s * (band[1] - band[0])
        return best if costs[best] < costs[leads] - change else leads

    def _order(self, policy: int, more: int, due_s: float) -> None:
        self._paid[policy] += more
        queue = self._coming.get(policy)
        if more > 0:
            if due_s <= self._clock_s:
                self._ready[policy] += more
            elif queue is None:
                self._coming[policy] = [[due_s, more]]
            else:
                queue.append([due_s, more])
            return
        fewer = -more
        while fewer and queue:  # Those that were started last are given up first.
            taken = min(fewer, int(queue[-1][1]))
            queue[-1][1] -= taken
            fewer -= taken
            if not queue[-1][1]:
                queue.pop()
        if queue is not None and not queue:
            del self._coming[policy]
        self._ready[policy] -= fewer

    def state(self) -> dict[str, Any]:
        """As JSON has it: a number for each policy and band."""
        return {
            "paid": list(self._paid),
            "ready": list(self._ready),
            "coming": {str(policy): [list(each) for each in queue] for policy, queue in self._coming.items()},
            "costs": [list(costs) for costs in self._costs],
            "leads": list(self._leads),
            "weight": self._weight,
            "clock_s": self._clock_s,
            "looked_s": self._looked_s,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        policies = len(self._paid)
        paid = [int(each) for each in saved.numbers(state, "paid", 0, SERVERS_MAX, policies)]
        ready = [int(each) for each in saved.numbers(state, "ready", 0, SERVERS_MAX, policies)]
        leads = [int(each) for each in saved.numbers(state, "leads", 0, policies - 1, _BANDS_MAX)]
        rows = saved.table(state, "costs", policies)
        if not len(paid) == len(ready) == policies or len(rows) != len(leads):
            raise StateError("saved baseline: what policies have cost does not fit together.")
        coming: dict[int, list[list[float]]] = {}
        for name in (queues := saved.part(state, "coming")):
            if not name.isdecimal() or int(name) >= policies:
                raise StateError(f"saved baseline: there is no policy {name!r}.")
            coming[int(name)] = saved.table(queues, name, 2)
        self._weight = saved.number(state, "weight", 1.0, _WEIGHT_MAX * 10)
        self._clock_s, self._looked_s = saved.number(state, "clock_s"), saved.number(state, "looked_s")
        self._paid, self._ready, self._coming, self._costs, self._leads = paid, ready, coming, rows, leads
        self._edges = [0]
        for _ in rows:
            self._edges.append(band_after(self._edges[-1]))
