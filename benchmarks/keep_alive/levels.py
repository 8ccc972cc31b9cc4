"""Level by level: when each level of a function's demand is busy. What is kept changes none of it.

A pool that uses the instance used last first has an instance for level k exactly if it was told to keep one for level
k, so a rule can be judged on each idle time by itself. tests/simulation/test_learned_keep_alive.py holds that against
the pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.keep_alive.traffic import Floats, Traffic


@dataclass(frozen=True, slots=True)
class Idle:
    """All idle times of a function as they end: level, length; `is_used` is False where watching ended first."""

    level: list[int]
    idle_s: Floats
    is_used: NDArray[np.bool_]
    firsts: int
    memory_gb: float


def idle_times(traffic: Traffic) -> Idle:
    """Sweep over starts and ends; at the same moment ends come first."""
    times = np.concatenate((traffic.arrivals_s + traffic.runs_s, traffic.arrivals_s))
    steps = np.concatenate((np.full(len(traffic.runs_s), -1), np.full(len(traffic.runs_s), 1)))
    order = np.lexsort((steps, times))
    since: list[float] = []  # when level k + 1 became idle, NaN while busy
    busy = 0
    level, idle_s, used = [], [], []
    for now, step in zip(times[order].tolist(), steps[order].tolist(), strict=True):
        if step > 0:
            if busy < len(since):
                level.append(busy + 1)
                idle_s.append(now - since[busy])
                used.append(True)
            else:
                since.append(now)
            busy += 1
        else:
            busy -= 1
            since[busy] = now
    for index in range(busy, len(since)):
        level.append(index + 1)
        idle_s.append(max(0.0, traffic.end_s - since[index]))
        used.append(False)
    return Idle(level, np.array(idle_s), np.array(used, dtype=bool), len(since), traffic.memory_gb)
