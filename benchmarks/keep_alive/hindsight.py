"""What no rule that keeps a level for one fixed time of its own can beat: that time, chosen knowing all idle times.

It bounds what is to be had without starting ahead of a use. For a worth w the best time of a level minimises cold
starts + idle seconds / w, each level by itself; w is then found so that the idle memory is as asked (Lagrange).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.keep_alive.levels import Idle
from benchmarks.keep_alive.rules import Cost
from benchmarks.keep_alive.traffic import Floats


@dataclass(frozen=True, slots=True)
class _Level:
    """By the keep-alive (0, then each idle time): cold starts and idle seconds."""

    cold: Floats
    idle_s: Floats


def best_in_hindsight(idles: Sequence[Idle], idle_gb_s: float) -> Cost:
    """At most this idle memory; all functions have the same memory."""
    levels = [level for idle in idles for level in _levels(idle)]
    firsts, memory_gb = sum(idle.firsts for idle in idles), idles[0].memory_gb
    best = Cost(firsts + sum(float(level.cold[0]) for level in levels), 0.0)
    low, high = 1e-2, 1e8
    for _ in range(50):
        worth_s = (low * high) ** 0.5
        chosen = [(level, int(np.argmin(level.cold + level.idle_s / worth_s))) for level in levels]
        idle_s = sum(float(level.idle_s[index]) for level, index in chosen)
        if idle_s * memory_gb > idle_gb_s:
            high = worth_s
        else:
            low = worth_s
            best = Cost(firsts + sum(float(level.cold[index]) for level, index in chosen), idle_s * memory_gb)
    return best


def _levels(idle: Idle) -> list[_Level]:
    numbers = np.array(idle.level)
    found = []
    for number in np.unique(numbers):
        own = numbers == number
        order = np.argsort(idle.idle_s[own])
        idle_s, used = idle.idle_s[own][order], idle.is_used[own][order]
        longer = np.arange(len(idle_s) - 1, -1, -1)
        kept_s = np.cumsum(idle_s) + idle_s * longer
        cold = used.sum() - np.cumsum(used)
        found.append(_Level(np.append(float(used.sum()), cold), np.append(0.0, kept_s)))
    return found
