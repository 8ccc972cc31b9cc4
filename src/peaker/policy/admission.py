"""The decision about one request that did not find a worker at rest: stay, sibling, wait, spill or refuse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from peaker.policy.placement import Placement

RECHECK_S = 0.1
"""A request that waits is looked at again after this time: a function may have become possible meanwhile."""

WAIT_S_MIN = 0.001
"""A shorter wait is none: what is left of one by rounding would be waited for again and again."""


class Step(Enum):
    """What is done next with a request."""

    STAY = "stay"
    SIBLING = "sibling"
    WAIT = "wait"
    SPILL = "spill"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """One step; `wait_s` is how long before the request is looked at again, `reason` is told to who is refused."""

    step: Step
    reason: str = ""
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that is known when the decision is made; times in seconds, 0 where nothing has been learned.

    `slot_free` means a slot for this request: nobody is before it, and the loop does not lag. `wait_s` is how long a
    slot will probably take to come; `service_s`, `tail_s`, `baseline_s` are the route's mean, 95th percentile and
    ordinary time on a server; `function_s` what a function would take, starting cold if need be. `no_spill` says why
    this request may not be spilled now, "" if it may. `joinable`: the queue has room, or the request waits already.
    """

    placement: Placement
    slot_free: bool
    sibling_free: bool
    waited_s: float
    wait_s: float
    service_s: float
    tail_s: float
    baseline_s: float
    function_s: float
    objective_s: float
    no_spill: str
    joinable: bool
    wait_s_max: float


def admit(seen: Situation) -> Decision:
    """Where this request goes.

    Nothing is paid for while a slot is free here or at a sibling. A short wait is free as well, as long as it keeps the
    objective and lasts no longer than about one service time: waiting up to the objective would move the 95th
    percentile to the objective. Then a function is worth its money if it is sooner, or if the alternative is to refuse.
    A wrong "busy" costs cents, a wrong "free" costs the objective.
    """
    if seen.placement is not Placement.FUNCTIONS:
        if seen.slot_free:
            return Decision(Step.STAY)
        if seen.sibling_free:
            return Decision(Step.SIBLING)
        short_s = short_wait_s(seen)
        if short_s >= WAIT_S_MIN:
            return Decision(Step.WAIT, "a slot will be free in time", short_s)
    refusal = _why_not_wait(seen)
    may_spill = seen.placement is not Placement.SERVERS and not seen.no_spill
    if may_spill and (refusal or _is_sooner_on_function(seen)):
        return Decision(Step.SPILL)
    if refusal:
        return Decision(Step.REFUSE, f"{refusal}; {seen.no_spill}" if seen.no_spill else refusal)
    return Decision(Step.WAIT, seen.no_spill, min(seen.wait_s_max - seen.waited_s, RECHECK_S))


def short_wait_s(seen: Situation) -> float:
    """How long to wait here before a function is thought of, 0 where that would cost the objective."""
    if not seen.joinable or not seen.baseline_s:
        return 0.0
    if seen.baseline_s > seen.objective_s:
        # It misses its objective even on an idle server: only the wait that is added to that can be judged.
        left_s = seen.wait_s_max - seen.waited_s
        return min(left_s, RECHECK_S) if seen.wait_s <= left_s else 0.0
    left_s = min(seen.baseline_s, seen.wait_s_max) - seen.waited_s
    keeps_objective = seen.waited_s + seen.wait_s + seen.tail_s <= seen.objective_s
    return left_s if seen.wait_s <= left_s and keeps_objective else 0.0


def _is_sooner_on_function(seen: Situation) -> bool:
    if seen.placement is Placement.FUNCTIONS:
        return True
    # Who has waited longer than foreseen will probably wait that long again.
    still_s = max(seen.wait_s, seen.waited_s)
    return seen.function_s < still_s + seen.service_s


def _why_not_wait(seen: Situation) -> str:
    """Why it cannot wait any more, "" if it can."""
    if not seen.joinable:
        return "the queue is full"
    if seen.wait_s_max - seen.waited_s < WAIT_S_MIN:
        return f"no slot was free within {seen.wait_s_max:g} s"
    return ""
