"""How much time a step stands for, whatever the clock does."""

from __future__ import annotations

STEPS_LATE_MAX = 3.0
"""A decision that comes later than this many steps comes after a pause or a clock that was set, not a slow step."""


def elapsed_s(last_s: float | None, now_s: float, step_s: float) -> float:
    """Seconds that the observation at `now_s` stands for.

    The first one, one after the clock went back and one after a long pause stand for one step: of more than the step
    that has just ended nothing was seen.
    """
    if last_s is None or not 0 < now_s - last_s <= STEPS_LATE_MAX * step_s:
        return step_s
    return now_s - last_s
