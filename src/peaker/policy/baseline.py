"""From what was seen so far to a number of servers: the rules by name.

`decide` is called once a step, before the step's demand is known. All rules are pure: time comes in what is seen, there
is no chance in them, and their state is bounded and goes through JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from peaker.errors import SettingsError
from peaker.policy.break_even import BreakEven
from peaker.policy.fixed import Fixed
from peaker.policy.knative import Knative
from peaker.policy.learned import Learned
from peaker.policy.moving_average import MovingAverage
from peaker.policy.provision import Baseline, Bounds, Decision, Economics, Reason, Seen
from peaker.policy.ray_serve import RayServe
from peaker.policy.target_tracking import TargetTracking

__all__ = ["DEFAULT", "NAMES", "Baseline", "Bounds", "Decision", "Economics", "Reason", "Seen", "make_baseline"]

DEFAULT = "default"

_MAKE: dict[str, Callable[[Economics, Bounds], Baseline]] = {
    DEFAULT: Learned,
    BreakEven.name: BreakEven,
    TargetTracking.name: TargetTracking,
    Knative.name: Knative,
    RayServe.name: RayServe,
    MovingAverage.name: MovingAverage,
}

NAMES = (*_MAKE, Fixed.name)
"""What `make_baseline` knows; `fixed` alone needs a number of servers."""


def make_baseline(
    name: str,
    economics: Economics,
    bounds: Bounds | None = None,
    *,
    servers: int | None = None,
    state: Mapping[str, Any] | None = None,
) -> Baseline:
    """The rule of that name, going on from `state` if one is given.

    Raises:
        SettingsError: there is no such rule, or `servers` is missing for `fixed` or given to another.
        StateError: the state is not one that this rule saved.
    """
    within = bounds or Bounds()
    if name not in NAMES:
        raise SettingsError(f"there is no policy {name!r}; there are: {', '.join(NAMES)}.", where="policy")
    if (name == Fixed.name) != (servers is not None):
        raise SettingsError("a number of servers belongs to the policy fixed, and to no other.", where="policy")
    made: Baseline = _MAKE[name](economics, within) if servers is None else Fixed(economics, within, servers)
    if state is not None:
        made.restore(state)
    return made
