"""The decision about one request that did not find a worker at rest: stay, sibling, wait, spill or refuse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from peaker.policy.placement import Placement

RECHECK_S = 0.1
"""A request that waits is looked at again after this time: a function may have become possible meanwhile."""

WAIT_S_MIN = 0.001
"""A shorter wait is none: what is left of one by rounding would be waited for again and again."""

LATE_SHARE = 0.05
"""The objective is a 95th percentile: so many may be late."""


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
    ordinary time on a server; `function_s` what a function would take, starting cold if need be, and `warm_s` what it
    would take warm; `may_start`: a cold start would be worth it for those behind (`may_start_for_others`). `no_spill`
    says why this request may not be spilled now, "" if it may. `joinable`: the queue has room, or the request waits
    already.
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
    warm_s: float
    may_start: bool


def admit(seen: Situation) -> Decision:
    """Where this request goes: `next_step`, and in words why.

    Nothing is paid for while a slot is free here or at a sibling. A short wait is free as well, as long as it keeps the
    objective and lasts no longer than about one service time: waiting up to the objective would move the 95th
    percentile to the objective. Then a function is worth its money if it is sooner, if the alternative is to refuse, or
    if a cold start, no help to this request, makes an instance warm for those behind it.
    A wrong "busy" costs cents, a wrong "free" costs the objective.
    """
    step, wait_s = next_step(
        seen.placement is not Placement.FUNCTIONS,
        seen.placement is not Placement.SERVERS and not seen.no_spill,
        seen.slot_free,
        seen.sibling_free,
        seen.joinable,
        seen.waited_s,
        seen.wait_s,
        seen.service_s,
        seen.tail_s,
        seen.baseline_s,
        seen.function_s,
        seen.objective_s,
        seen.wait_s_max,
        seen.warm_s,
        seen.may_start,
    )
    if step == WAIT_SHORT:
        return Decision(Step.WAIT, "a slot will be free in time", wait_s)
    if step == WAIT_ON:
        return Decision(Step.WAIT, seen.no_spill, wait_s)
    if step == REFUSE:
        refusal = _why_not_wait(seen)
        return Decision(Step.REFUSE, f"{refusal}; {seen.no_spill}" if seen.no_spill else refusal)
    return _PLAIN[step]


STAY, SIBLING, WAIT_SHORT, WAIT_ON, SPILL, REFUSE = range(6)
"""What `next_step` answers."""

_PLAIN = {STAY: Decision(Step.STAY), SIBLING: Decision(Step.SIBLING), SPILL: Decision(Step.SPILL)}


def next_step(  # noqa: C901, PLR0917 - one decision, read from top to bottom; compiled code has no keywords
    may_stay: bool,  # noqa: FBT001
    may_spill: bool,  # noqa: FBT001
    slot_free: bool,  # noqa: FBT001
    sibling_free: bool,  # noqa: FBT001
    joinable: bool,  # noqa: FBT001
    waited_s: float,
    wait_s: float,
    service_s: float,
    tail_s: float,
    baseline_s: float,
    function_s: float,
    objective_s: float,
    wait_s_max: float,
    warm_s: float,
    may_start: bool,  # noqa: FBT001
) -> tuple[int, float]:
    """The decision in numbers: a step, and how long before the request is looked at again.

    The gate and the simulation of `plan/` run this one function, so it takes and gives plain numbers and calls nothing
    that numba could not compile. `may_stay` and `may_spill` are the placement's and what stands against a spill now.
    """
    left_s = wait_s_max - waited_s
    if may_stay:
        if slot_free:
            return STAY, 0.0
        if sibling_free:
            return SIBLING, 0.0
        short_s = 0.0
        if joinable and baseline_s > 0.0:
            if baseline_s > objective_s:
                # It misses its objective even on an idle server: only the wait that is added to that can be judged.
                if wait_s <= left_s:
                    short_s = min(left_s, RECHECK_S)
            else:
                short_left_s = min(baseline_s, wait_s_max) - waited_s
                if wait_s <= short_left_s and waited_s + wait_s + tail_s <= objective_s:
                    short_s = short_left_s
        if short_s >= WAIT_S_MIN:
            return WAIT_SHORT, short_s
    must_go = not joinable or left_s < WAIT_S_MIN
    # Who has waited longer than foreseen will probably wait that long again.
    here_s = max(wait_s, waited_s) + service_s
    # Started cold for those behind it, since it would be late here too.
    opens_way = may_start and warm_s < here_s
    if may_spill and (must_go or not may_stay or function_s < here_s or opens_way):
        return SPILL, 0.0
    if must_go:
        return REFUSE, 0.0
    return WAIT_ON, min(left_s, RECHECK_S)


def misses_objective(  # noqa: PLR0917 - as `next_step`
    waited_s: float, wait_s: float, tail_s: float, baseline_s: float, objective_s: float, wait_s_max: float
) -> bool:
    """Whether a request that waits here will probably be late, as the objective judges its route."""
    if baseline_s > objective_s:
        return waited_s + wait_s > wait_s_max
    return waited_s + wait_s + tail_s > objective_s


def time_missed(missed_s: float, since_look_s: float, misses: bool, cold_s: float) -> float:  # noqa: FBT001
    """For how long requests have been late of late, after one more look at one that waits.

    Seconds in which a newcomer would have been late, less the share of all time in which it may be: so below that
    share it stays near 0, and after a long time above it at most two cold starts are remembered. `since_look_s` is the
    time since the look before, at whichever request.
    """
    late_s = min(since_look_s, RECHECK_S) if misses else 0.0
    return max(0.0, min(2.0 * cold_s, missed_s + late_s) - LATE_SHARE * since_look_s)


def may_start_for_others(
    misses: bool,  # noqa: FBT001
    missed_s: float,
    cold_s: float,
    running: int,
    since_start_s: float,
) -> bool:
    """Whether a request may be spilled into a cold start that is of no help to itself.

    All who wait nearly as long as a cold start takes would find waiting sooner, so that none would ever begin: a
    steady load just above the servers would be late for ever. Rent or buy: a crowd that has passed before an instance
    is there is waited out, and one is started when being late has lasted as long as a start takes (`time_missed`); so
    with hindsight one could have been late half as long at best. The request loses nothing by it that counts: it would
    have been late here too. Not more are started in a cold start's time than run there already, at least one: which
    doubles them until warm ones keep the objective.
    """
    return misses and missed_s >= cold_s and since_start_s * max(1, running) >= cold_s


def _why_not_wait(seen: Situation) -> str:
    """Why it cannot wait any more."""
    return f"no slot was free within {seen.wait_s_max:g} s" if seen.joinable else "the queue is full"
