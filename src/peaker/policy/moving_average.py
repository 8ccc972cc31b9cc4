"""Moving average: as many servers as the last ten minutes needed on average, rounded up. The simplest predictor."""

from __future__ import annotations

import math

from peaker.policy.provision import Seen
from peaker.policy.watcher import Watcher


class MovingAverage(Watcher):
    """The mean of `recent.WINDOW_S`."""

    name = "moving-average"

    def _wanted(self, demand: float, for_s: float, seen: Seen) -> int:
        del demand, for_s, seen
        return math.ceil(self._recent.mean_servers - 1e-9)
