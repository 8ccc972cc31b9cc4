"""Whether a route that streams may go to a function: only where the stream begins there within the objective."""

from __future__ import annotations

TRY_AGAIN_S = 30.0
"""A route that began too late on functions is tried there again after this long: what made it late may have passed."""


def begins_in_time(expected_s: float, objective_s: float, *, runs_seen: int, since_last_s: float) -> bool:
    """Whether to try; times in seconds, `expected_s` from sending to the first byte of the body, started warm.

    A route never seen there is tried: what is expected of it is a guess. That a cold start may add to it is the
    admission's matter, as for any other route.
    """
    return runs_seen == 0 or expected_s <= objective_s or since_last_s >= TRY_AGAIN_S
