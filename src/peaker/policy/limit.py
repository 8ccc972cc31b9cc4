"""How many requests a worker should have in flight, found from their latency.

The formula is Gradient2 of Netflix' concurrency-limits (limits/Gradient2Limit.java, Apache-2.0), with two changes. What
it calls the long-term round-trip time is one number for the whole server; here each latency is divided by the baseline
of its own route first (`slowness`), so that a shift of the mix from fast routes to slow ones is not taken for load. And
it is applied once per window, not once per request.

    gradient  = clamp(TOLERANCE / slowness, 1/2, 1)
    fresh     = limit * gradient + sqrt(limit)
    limit'    = limit + weight * (fresh - limit)

Idle, slowness is about 1: the limit may grow by sqrt(limit), the room that is left for a queue. Where latency grows in
proportion to what is in flight (one busy core), slowness is the number in flight, and the limit comes to rest at 4.
The limit never looks for more by holding work back or sending it away: it grows only from what it is given to carry.
A load that lasts for hours becomes the baseline itself, so an outer limit stands around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SLOTS_AT_START = 20
"""Where "auto" begins, before any latency has been seen; the initial limit of concurrency-limits."""

TOLERANCE = 1.5
GRADIENT_MIN = 0.5
DROP_FACTOR = 0.9
"""What is left of the limit after a window in which work was dropped, as in AIMD."""

WEIGHT_UP = 0.5
WEIGHT_DOWN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was seen since the last change of the limit.

    `slowness` is the mean of latency over the route's own baseline, of the requests that succeeded; `in_flight_max` is
    the most that was in flight at once.
    """

    succeeded: int
    dropped: int
    slowness: float
    in_flight_max: int


def next_limit(limit: float, window: Window, outer_max: int) -> float:
    """The limit for the next window: at least 1, at most `outer_max`. A window that tells nothing changes nothing."""
    if window.dropped:
        return max(1.0, limit * DROP_FACTOR)
    if not window.succeeded:
        return limit
    gradient = min(1.0, max(GRADIENT_MIN, TOLERANCE / window.slowness))
    fresh = limit * gradient + math.sqrt(limit)
    if fresh > limit and window.in_flight_max < limit / 2:
        return limit  # The app was not asked for more, so nothing is known about more.
    weight = WEIGHT_UP if fresh > limit else WEIGHT_DOWN
    return min(float(outer_max), max(1.0, limit + weight * (fresh - limit)))
