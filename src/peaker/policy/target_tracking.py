"""Target tracking as AWS sets it up for EC2 Auto Scaling groups and ECS services: the thing to beat.

It looks at one-minute averages of the utilisation of the servers that are ready, adds servers in proportion after three
minutes above the target, and takes servers away after fifteen minutes below 90 % of it, then waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from peaker.policy import saved
from peaker.policy.provision import Bounds, Economics, Seen
from peaker.policy.watcher import Watcher

METRIC_S = 60.0
"""CloudWatch's default period of a load balancer's and a service's metrics."""

TARGET = 0.6

HIGH_MINUTES = 3
LOW_MINUTES = 15
LOW_SHARE = 0.9
"""The alarms that target tracking makes: out after 3 minutes above the target, in after 15 below 90 % of it
(Application Auto Scaling User Guide, "How target tracking works"; the alarms are seen in any account)."""

COOLDOWN_S = 300.0
"""Default time after a scaling in which no more servers are taken away (the same guide, "Define cooldown periods")."""


class TargetTracking(Watcher):
    """Holds the mean utilisation of ready servers at the target. At least one server: it knows no other way up."""

    name = "target-tracking"

    def __init__(self, economics: Economics, bounds: Bounds, target: float = TARGET) -> None:
        super().__init__(economics, bounds)
        self._target = target
        self._metric_s = self._busy_s = self._cooldown_s = 0.0
        self._high = self._low = 0

    def _at_first(self, seen: Seen) -> int:
        return max(1, seen.servers)

    def _wanted(self, demand: float, for_s: float, seen: Seen) -> int:
        # The metric of a server ends at 1, so that a large jump takes several steps, as on AWS.
        self._busy_s += min(1.0, demand / max(1, seen.servers_ready)) * for_s
        self._metric_s += for_s
        self._cooldown_s = max(0.0, self._cooldown_s - for_s)
        if self._metric_s < METRIC_S - 1e-6:
            return max(1, seen.servers)
        wanted = self._minute(self._busy_s / self._metric_s, seen)
        self._metric_s = self._busy_s = 0.0
        return wanted

    def _minute(self, utilisation: float, seen: Seen) -> int:
        self._high = self._high + 1 if utilisation > self._target else 0
        self._low = self._low + 1 if utilisation < LOW_SHARE * self._target else 0
        # A metric of long steps counts for as many minutes as it has.
        minutes = max(1, round(self._metric_s / METRIC_S))
        ready = max(1, seen.servers_ready)
        wanted = max(1, math.ceil(ready * utilisation / self._target - 1e-9))
        if self._high * minutes >= HIGH_MINUTES and wanted > seen.servers:
            return wanted
        is_quiet = self._low * minutes >= LOW_MINUTES and self._cooldown_s == 0 and seen.servers_starting == 0
        if is_quiet and wanted < seen.servers:
            self._cooldown_s = COOLDOWN_S
            return wanted
        return max(1, seen.servers)

    def _kept(self) -> dict[str, Any]:
        return {
            "metric_s": self._metric_s,
            "busy_s": self._busy_s,
            "cooldown_s": self._cooldown_s,
            "high": self._high,
            "low": self._low,
        }

    def _take(self, kept: Mapping[str, Any]) -> None:
        self._high, self._low = saved.whole(kept, "high"), saved.whole(kept, "low")
        self._metric_s, self._busy_s = saved.number(kept, "metric_s"), saved.number(kept, "busy_s")
        self._cooldown_s = saved.number(kept, "cooldown_s")
