"""Ray Serve's autoscaler with its defaults.

`target_ongoing_requests` is 2 where a replica may have 5 (`max_ongoing_requests`), so a full server counts for two and
a half. The wanted number follows the mean of the last 30 s, once it has been above the present one for 30 s
(`upscale_delay_s`) or below it for 600 s (`downscale_delay_s`); at least one replica
(ray 2.x, python/ray/serve/config.py and autoscaling_policy.py).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.provision import DEMAND_MAX, Bounds, Economics, Seen
from peaker.policy.watcher import Watcher

TARGET_SHARE = 2 / 5
LOOK_BACK_S = 30.0
UP_DELAY_S = 30.0
DOWN_DELAY_S = 600.0
_STEPS_MAX = 300


class RayServe(Watcher):
    """Its default policy."""

    name = "ray-serve"

    def __init__(self, economics: Economics, bounds: Bounds) -> None:
        super().__init__(economics, bounds)
        steps = max(1, min(_STEPS_MAX, round(LOOK_BACK_S / economics.step_s)))
        self._past: deque[float] = deque(maxlen=steps)
        self._above_s = self._below_s = 0.0

    def _at_first(self, seen: Seen) -> int:
        return max(1, seen.servers)

    def _wanted(self, demand: float, for_s: float, seen: Seen) -> int:
        self._past.append(demand)
        now = max(1, seen.servers)
        wanted = max(1, math.ceil(sum(self._past) / len(self._past) / TARGET_SHARE - 1e-9))
        self._above_s = self._above_s + for_s if wanted > now else 0.0
        self._below_s = self._below_s + for_s if wanted < now else 0.0
        if self._above_s >= UP_DELAY_S - 1e-6 or self._below_s >= DOWN_DELAY_S - 1e-6:
            self._above_s = self._below_s = 0.0
            return wanted
        return now

    def _kept(self) -> dict[str, Any]:
        return {"past": list(self._past), "above_s": self._above_s, "below_s": self._below_s}

    def _take(self, kept: Mapping[str, Any]) -> None:
        past = saved.numbers(kept, "past", 0.0, DEMAND_MAX, _STEPS_MAX)
        self._above_s, self._below_s = saved.number(kept, "above_s"), saved.number(kept, "below_s")
        self._past = deque(past, maxlen=self._past.maxlen)
