"""Which idle instances end now."""

from __future__ import annotations

from collections.abc import Sequence

TIMER_SLACK_S = 0.001
"""A timer may fire this much before its time by the clock; what is due by then is due now, or the timer would spin."""


def instances_to_end(idle_since_s: Sequence[float], *, now_s: float, keep_alive_s: float, keep: int = 0) -> int:
    """How many to end, counted from the one idle the longest.

    Args:
        idle_since_s: when each idle instance became idle, the oldest first.
        now_s: the time on the same clock.
        keep_alive_s: how long an instance may be idle.
        keep: this many stay whatever their age (spares that `buffer` asks for).
    """
    endable = max(0, len(idle_since_s) - keep)
    for index in range(endable):
        if now_s - idle_since_s[index] < keep_alive_s - TIMER_SLACK_S:
            return index
    return endable


def next_end_s(idle_since_s: Sequence[float], *, keep_alive_s: float, keep: int = 0) -> float | None:
    """When `instances_to_end` should be asked again if nothing else happens; None for never."""
    return idle_since_s[0] + keep_alive_s if len(idle_since_s) > keep else None
