"""From the number of servers that is wanted to the one that is asked for: pause, spend, and time between reversals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class HeldBy(Enum):
    """Why what is wanted is not done, or not yet."""

    NOTHING = ""
    PAUSED = "paused"
    """`peaker scale N` holds the number until `peaker scale auto`."""
    SPEND = "spend"
    """Functions have used up the day's spend, so servers that carry load stay, and those that are needed come."""
    SETTLING = "settling"
    """The last change in the other direction is too short ago to be undone."""
    BOUNDS = "bounds"
    """servers.count_min or servers.count_max."""
    UNREACHABLE = "unreachable"
    """Whoever has the servers does not answer, or refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What stands around a decision. Times are of the clock that never goes back, None for what never was.

    Attributes:
        now_s: now.
        servers: asked for now.
        servers_min, servers_max: bounds.
        demand_servers: the most that was seen in the last minute or so, None where unknown.
        held_servers: by `peaker scale N`; None where the loop steers.
        functions_may_run: the day's spend is not used up.
        added_s, removed_s: when servers were last added and removed.
        start_s: how long a server takes to start.
        stay_s: how long an added server stays at least.
    """

    now_s: float
    servers: int
    servers_min: int
    servers_max: int
    demand_servers: float | None = None
    held_servers: int | None = None
    functions_may_run: bool = True
    added_s: float | None = None
    removed_s: float | None = None
    start_s: float = 0.0
    stay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Steered:
    """How many servers to ask for, and why that is not what was wanted."""

    servers: int
    held_by: HeldBy = HeldBy.NOTHING


def steer(wanted: int, situation: Situation) -> Steered:
    """The number to ask for.

    Two changes in opposite directions are at least `start_s` apart, so that whatever a policy wants, at most one
    reversal happens in the time a server takes to start; and nothing is taken away before it has stayed `stay_s`.
    """
    at = situation
    if at.held_servers is not None:
        return Steered(_within(at.held_servers, at), HeldBy.PAUSED)
    held_by, allowed = HeldBy.NOTHING, _within(wanted, at)
    if not at.functions_may_run and at.demand_servers is not None:
        needed = _within(math.ceil(at.demand_servers - 1e-6), at)
        if needed > allowed:
            allowed, held_by = needed, HeldBy.SPEND
    if allowed < at.servers and _is_within(at.added_s, max(at.start_s, at.stay_s), at.now_s):
        return Steered(_within(at.servers, at), HeldBy.SETTLING)
    if allowed > at.servers and _is_within(at.removed_s, at.start_s, at.now_s):
        return Steered(_within(at.servers, at), HeldBy.SETTLING)
    if held_by is HeldBy.NOTHING and allowed != wanted:
        held_by = HeldBy.BOUNDS
    return Steered(allowed, held_by)


def _within(servers: int, at: Situation) -> int:
    return min(max(servers, at.servers_min), at.servers_max)


def _is_within(moment_s: float | None, span_s: float, now_s: float) -> bool:
    return moment_s is not None and now_s - moment_s < span_s
