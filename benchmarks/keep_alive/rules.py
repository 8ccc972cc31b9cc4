"""What each rule would have cost: cold starts and idle memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.keep_alive.levels import Idle
from peaker.policy.idle_times import LEARNING, WORTH_S, Learning, Window
from peaker.policy.learned_keep_alive import Levels


@dataclass(frozen=True, slots=True)
class Cost:
    cold_starts: float
    idle_gb_s: float
    starts_ahead: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.cold_starts + other.cold_starts,
            self.idle_gb_s + other.idle_gb_s,
            self.starts_ahead + other.starts_ahead,
        )


def fixed(idle: Idle, keep_alive_s: float) -> Cost:
    cold = idle.firsts + float(np.sum(idle.is_used & (idle.idle_s > keep_alive_s)))
    return Cost(cold, float(np.minimum(idle.idle_s, keep_alive_s).sum()) * idle.memory_gb)


def of_windows(windows: Sequence[Window], idle_s: float) -> tuple[bool, float, int]:
    """Whether there is an instance at the end, how long there was one idle, and how many were started ahead."""
    kept_s, ahead, is_warm = 0.0, 0, False
    for from_s, to_s in windows:
        if idle_s < from_s:
            break
        kept_s += min(idle_s, to_s) - from_s
        ahead += from_s > 0
        is_warm = idle_s < to_s
    return is_warm, kept_s, ahead


def learned(idle: Idle, worth_s: float = WORTH_S, learning: Learning = LEARNING) -> Cost:
    """Peaker's: the same `Levels` that a pool asks."""
    levels = Levels(worth_s, learning)
    cold, kept_s, ahead = idle.firsts, 0.0, 0
    for level, idle_s, is_used in zip(idle.level, idle.idle_s.tolist(), idle.is_used.tolist(), strict=True):
        is_warm, own_s, own_ahead = of_windows(levels.windows(level), idle_s)
        kept_s += own_s
        ahead += own_ahead
        if is_used:
            cold += not is_warm
            levels.add(level, idle_s)
    return Cost(cold, kept_s * idle.memory_gb, ahead)


def total(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost(0, 0))


def fixed_of_equal_memory(idles: Sequence[Idle], idle_gb_s: float) -> tuple[float, Cost]:
    """The fixed keep-alive whose idle memory is the same, by bisection."""
    low, high = 1e-3, 1e7
    for _ in range(60):
        middle = (low * high) ** 0.5
        if total(fixed(idle, middle) for idle in idles).idle_gb_s < idle_gb_s:
            low = middle
        else:
            high = middle
    return low, total(fixed(idle, low) for idle in idles)
