"""A slow store is not a full server: when what stands behind the app is slow, more functions only make it slower.

Three causes make requests take longer on a server, and they look different from here:

- The server computes too much: its event loop lags. Functions help.
- Requests queue inside the server, for a thread or a connection: its times rise, a function's do not. Functions help.
- Something behind the app is slow: both rise together. Functions would add load to what is already in trouble.

So a rise of the server's time is a suspicion, and the time of a warm function since that rise decides it. Until one has
come back, only `PROBES_MAX` may be in flight, because a surge into a slow store can kill it; if it was slow as well,
spilling is cut to `TRICKLE_MAX`, which goes on asking. The server's time shows within a few of its own answers when the
store is well again, a function's within a few of the trickle's; whichever comes first opens the way.

A busy route can fill every slot with its own slow requests, and then the others show nothing on the server any
more: all of them spill. So a route that is silent here goes by what the others show (`hear_of_others`) until it answers
again, and its own functions decide about it: where they are as quick as ever, it does not use what is slow.

Waiting for answers would notice a stalled store one slow answer too late, after every slot was full and all that
followed had been spilled into it. So the age of what is in flight counts too (`estimate.mean_age_max_s`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from peaker.policy.estimate import Times, mean_age_max_s

RISEN = 2.0
"""Times the baseline at which a time counts as risen ..."""

FALLEN = 1.5
"""... and below which it no longer does."""

RISE_S_MIN = 0.01
"""A rise of less than this matters to nobody."""

AGED_IN_FLIGHT_MIN = 4
"""With fewer in flight, one slow request would speak for all."""

LAG_SHARE = 0.25
"""Loop lag of this share of the rise explains it."""

HEARD_S = 1.0
"""How long the other routes go by one that has risen, after it was last looked at."""

FUNCTION_WEIGHT = 0.3
PROBES_MAX = 2
TRICKLE_MAX = 1


class Cause(Enum):
    """What makes this route's requests slow on this server, as far as is known."""

    NOTHING = "nothing"
    SERVER = "the server itself"
    UNKNOWN = "not known yet"
    STORE = "what stands behind the app"


SPILLS_MAX: dict[Cause, int | None] = {
    Cause.NOTHING: None,
    Cause.SERVER: None,
    Cause.UNKNOWN: PROBES_MAX,
    Cause.STORE: TRICKLE_MAX,
}
"""Spilled requests of one route that may be in flight at one gate; None is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What is remembered of a rise.

    `rise_s` is how far the server's time is above its baseline, `function_s` the smoothed time of warm runs finished
    since the rise began. `heard_at` is the count of the route's answers here when the rise was heard of from other
    routes, None where it is the route's own.
    """

    risen_at_s: float | None = None
    rise_s: float = 0.0
    function_s: float | None = None
    heard_at: int | None = None

    @property
    def is_risen(self) -> bool:
        """The server's time is above its baseline."""
        return self.risen_at_s is not None


class InFlight(NamedTuple):
    """The route's requests on the server at this moment."""

    running: int = 0
    mean_age_s: float = 0.0


def look_at_server(suspicion: Suspicion, times: Times, in_flight: InFlight, now_s: float) -> Suspicion:
    """Begin, keep or end the suspicion by the server's own times."""
    baseline_s = times.baseline_s
    if not baseline_s or (suspicion.heard_at is not None and suspicion.heard_at == times.samples):
        return suspicion
    aged = (
        in_flight.running >= AGED_IN_FLIGHT_MIN
        and in_flight.mean_age_s > mean_age_max_s(times, in_flight.running)
        and in_flight.mean_age_s > baseline_s + RISE_S_MIN
    )
    rise_s = max(times.recent_s, in_flight.mean_age_s if aged else 0.0) - baseline_s
    if suspicion.is_risen:
        if not (aged or times.recent_s > FALLEN * baseline_s):
            return Suspicion()
        return replace(suspicion, rise_s=rise_s, heard_at=None)
    if aged or times.recent_s > max(RISEN * baseline_s, baseline_s + RISE_S_MIN):
        return Suspicion(risen_at_s=now_s, rise_s=rise_s)
    return suspicion


def hear_of_others(
    suspicion: Suspicion, times: Times, in_flight: InFlight, now_s: float, *, answers_at_rise: int | None
) -> Suspicion:
    """What a route makes of a rise that other routes show; one that has answered here since then speaks for itself.

    `answers_at_rise` is how many answers here the route had when the others' rise began, None without such a rise.
    """
    if answers_at_rise is None:
        return suspicion if suspicion.heard_at is None else Suspicion()
    if suspicion.is_risen or times.samples > answers_at_rise or in_flight.running >= AGED_IN_FLIGHT_MIN:
        return suspicion
    return Suspicion(risen_at_s=now_s, heard_at=times.samples)


def look_at_function(suspicion: Suspicion, elapsed_s: float, began_s: float, baseline_s: float) -> Suspicion:
    """Take in one finished run on a function; `baseline_s` is its ordinary warm time.

    A run begun before the rise says something only if it was slow: a part of it may lie before the trouble.
    """
    if suspicion.risen_at_s is None:
        return suspicion
    if began_s < suspicion.risen_at_s and elapsed_s <= RISEN * baseline_s:
        return suspicion
    known_s = suspicion.function_s
    smoothed_s = elapsed_s if known_s is None else known_s + FUNCTION_WEIGHT * (elapsed_s - known_s)
    return replace(suspicion, function_s=smoothed_s)


def cause(suspicion: Suspicion, times: Times, function_baseline_s: float, lag_s: float) -> Cause:
    """Why this route is slow now; `lag_s` is the loop lag of the last half second."""
    if not suspicion.is_risen:
        return Cause.NOTHING
    if suspicion.function_s is not None:
        limit_s = max(RISEN * function_baseline_s, function_baseline_s + RISE_S_MIN)
        return Cause.STORE if suspicion.function_s > limit_s else Cause.SERVER
    rise_s = max(suspicion.rise_s, times.recent_s - times.baseline_s)
    if lag_s > LAG_SHARE * max(rise_s, RISE_S_MIN):
        return Cause.SERVER
    return Cause.UNKNOWN
