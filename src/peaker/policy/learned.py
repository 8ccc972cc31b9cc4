"""Peaker's own rule: follow the cheapest of many simple policies, level by level, within a bound of break-even.

Each step: what the step that has ended cost is charged to every policy (`leader.py`) and to the bound's account
(`cost_bound.py`); every policy says what it wants (`simple_policies.py`); the leaders' number is kept from reversing
for noise (`steadiness.py`); and what the bound does not allow is moved towards break-even's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peaker.errors import StateError
from peaker.policy import saved
from peaker.policy.break_even import start_cost, starting_time_s
from peaker.policy.cost_bound import CostBound
from peaker.policy.forecast import price_quantile
from peaker.policy.leader import Leader
from peaker.policy.provision import Bounds, Decision, Economics, Seen
from peaker.policy.recent import Recent, decision
from peaker.policy.simple_policies import SimplePolicies
from peaker.policy.steadiness import Steadiness
from peaker.policy.step_time import elapsed_s

VERSION = 1

MADE_FOR_FACTOR = 2.0
"""Windows are told in start-up times; when those have changed by this much, the policies are made anew."""


class Learned:
    """The default policy."""

    name = "default"

    def __init__(self, economics: Economics, bounds: Bounds) -> None:
        self._economics, self._bounds = economics, bounds
        self._recent = Recent()
        self._last_s: float | None = None
        self._bound = CostBound(economics)
        self._make()

    def _make(self) -> None:
        start_s = start_cost(self._economics)
        self._policies = SimplePolicies(self._economics)
        self._leader = Leader(len(self._policies.names), start_s)
        self._steadiness = Steadiness(start_s, self._economics.step_s)

    def decide(self, seen: Seen) -> Decision:
        """Charge the step that has ended, ask every policy, follow the leaders."""
        economics, bounds = self._economics, self._bounds
        for_s = elapsed_s(self._last_s, seen.now_s, economics.step_s)
        is_first = self._last_s is None
        self._last_s = seen.now_s
        demand = self._recent.see(seen.demand_servers, for_s)
        if demand is None:
            kept = bounds.hold(seen.servers)
            self._bound.begin(bounds.hold(0), seen, economics)
            self._bound.order(kept, economics)
            return decision(self.name, kept, seen, self._recent, economics=economics, bounds=bounds)
        if not is_first:
            self._bound.account(demand, for_s, economics.price_ratio)
            self._leader.charge(demand, for_s, economics.price_ratio)
        self._steadiness.see(demand, for_s)
        wanted = self._policies.see(demand, seen.now_s, for_s, economics, bounds.servers_max)
        least, most = bounds.servers_min, bounds.servers_max
        within = [least if each < least else min(each, most) for each in wanted]
        led = bounds.hold(self._leader.follow(within, economics))
        self._bound.begin(within[0], seen, economics)
        bounded = self._bound.allowed(led, economics, to_stay=True)
        affordable = self._bound.slack_s / (starting_time_s(economics) + economics.step_s) / economics.price_ratio
        steady = bounds.hold(self._steadiness.steady(bounded, seen.servers, for_s, affordable))
        allowed = self._bound.allowed(steady, economics, to_stay=False)
        self._bound.order(allowed, economics)
        self._steadiness.changed(seen.servers, allowed)
        level = allowed if allowed > seen.servers else allowed + 1
        return decision(
            self._policies.names[self._leader.leads(level)],
            allowed,
            seen,
            self._recent,
            economics=economics,
            bounds=bounds,
            held_by="guard"
            if allowed != steady or bounded == allowed != led
            else "steadiness"
            if steady != led
            else "",
            forecast_servers=self._policies.forecast_servers,
            forecast_for_s=start_cost(economics),
            quantile=price_quantile(economics.price_ratio),
        )

    def reprice(self, economics: Economics) -> None:
        """Prices or start-up time have changed; a start-up time of another order makes the simple policies anew."""
        self._economics = economics
        made_for_s, start_s = self._policies.start_s, start_cost(economics)
        if not 1 / MADE_FOR_FACTOR < start_s / made_for_s < MADE_FOR_FACTOR:
            cycle = self._policies.cycle.state()
            self._make()
            self._policies.cycle.restore(cycle)

    def state(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "version": VERSION,
            "made_for_start_s": self._policies.start_s,
            "step_s": self._economics.step_s,
            "last_s": self._last_s,
            "recent": self._recent.state(),
            "policies": self._policies.state(),
            "leader": self._leader.state(),
            "steadiness": self._steadiness.state(),
            "bound": self._bound.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`; raises StateError."""
        if saved.whole(state, "version") != VERSION:
            raise StateError(f"saved baseline: version {state.get('version')!r} is not {VERSION}.")
        saved_start_s, step_s = saved.number(state, "made_for_start_s"), saved.number(state, "step_s")
        policies = saved.part(state, "policies")
        if (saved_start_s, step_s) == (self._policies.start_s, self._economics.step_s):
            self._policies.restore(policies)
            self._leader.restore(saved.part(state, "leader"))
            self._steadiness.restore(saved.part(state, "steadiness"))
        else:  # Windows of other lengths: only the days go on.
            self._policies.cycle.restore(saved.part(policies, "cycle"))
        self._bound.restore(saved.part(state, "bound"))
        self._recent.restore(saved.part(state, "recent"))
        self._last_s = saved.optional(state, "last_s")
