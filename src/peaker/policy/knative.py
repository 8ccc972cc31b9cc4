"""Knative's autoscaler with its defaults: a stable and a panic window.

Wanted is what brings the mean concurrency of the last 60 s to 70 % of what a server takes. If that of the last 6 s
(`panic-window-percentage` 10) would need twice the servers that are ready, it panics: it follows the short window, and
takes no server away until 60 s have passed without the cause. At most half of the servers go at once
(`max-scale-down-rate` 2).
(knative/serving config/core/configmaps/autoscaler.yaml, pkg/autoscaler/scaling/autoscaler.go.)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.provision import DEMAND_MAX, Bounds, Economics, Seen
from peaker.policy.watcher import Watcher

STABLE_WINDOW_S = 60.0
PANIC_WINDOW_S = 6.0
TARGET_SHARE = 0.7
PANIC_THRESHOLD = 2.0
SCALE_UP_RATE = 1000.0
SCALE_DOWN_RATE = 2.0
_STEPS_MAX = 600


class Knative(Watcher):
    """The KPA. It keeps one server: scaling to zero waits for requests that functions take here."""

    name = "knative"

    def __init__(self, economics: Economics, bounds: Bounds) -> None:
        super().__init__(economics, bounds)
        steps = max(1, min(_STEPS_MAX, round(STABLE_WINDOW_S / economics.step_s)))
        self._past: deque[float] = deque(maxlen=steps)
        self._panic_steps = max(1, min(steps, round(PANIC_WINDOW_S / economics.step_s)))
        self._panic_left_s = 0.0
        self._panic_most = 0

    def _at_first(self, seen: Seen) -> int:
        return max(1, seen.servers)

    def _wanted(self, demand: float, for_s: float, seen: Seen) -> int:
        self._past.append(demand)
        ready = max(1, seen.servers_ready)
        most, least = math.ceil(SCALE_UP_RATE * ready), math.floor(ready / SCALE_DOWN_RATE)
        stable = self._needed(list(self._past), least, most)
        panic = self._needed(list(self._past)[-self._panic_steps :], least, most)
        self._panic_left_s = max(0.0, self._panic_left_s - for_s)
        if panic / ready >= PANIC_THRESHOLD:
            if self._panic_left_s == 0:
                self._panic_most = 0
            self._panic_left_s = STABLE_WINDOW_S
        if self._panic_left_s == 0:
            return max(1, stable)
        self._panic_most = max(self._panic_most, stable, panic, seen.servers)
        return max(1, self._panic_most)

    def _needed(self, past: list[float], least: int, most: int) -> int:
        return min(max(math.ceil(sum(past) / len(past) / TARGET_SHARE - 1e-9), least), most)

    def _kept(self) -> dict[str, Any]:
        return {"past": list(self._past), "panic_left_s": self._panic_left_s, "panic_most": self._panic_most}

    def _take(self, kept: Mapping[str, Any]) -> None:
        past = saved.numbers(kept, "past", 0.0, DEMAND_MAX, _STEPS_MAX)
        self._panic_left_s = saved.number(kept, "panic_left_s")
        self._panic_most = saved.whole(kept, "panic_most", 0, 10**12)
        self._past = deque(past, maxlen=self._past.maxlen)
