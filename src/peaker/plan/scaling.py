"""Server counts over time as an auto scaler would have set them, from what it could see at the time.

Target tracking is what AWS sets up by default for EC2 Auto Scaling and ECS services: it looks at one-minute averages,
adds servers in proportion once they are above the target, and takes them away slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peaker.plan.workload import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRIC_S = 60.0
"""CloudWatch's default period of a load balancer's and a service's metrics."""

HIGH_MINUTES = 3
LOW_MINUTES = 15
LOW_SHARE = 0.9
"""The alarms that target tracking makes: out after 3 minutes above the target, in after 15 below 90 % of it
(Application Auto Scaling User Guide, "How target tracking works"; the alarms are seen in any account)."""

COOLDOWN_S = 300.0
"""Default time after a scaling in which no more servers are taken away (the same guide, "Define cooldown periods")."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Servers by minute: `ready` serve, `paid` are ready or starting."""

    ready: NDArray[np.int64]
    paid: NDArray[np.int64]

    @property
    def server_hours(self) -> float:
        """Hours paid."""
        return float(self.paid.sum()) * METRIC_S / 3600


def per_minute(rates_per_s: NDArray[np.float64], step_s: float) -> NDArray[np.float64]:
    """Mean rates by minute; steps longer than a minute are repeated, shorter ones averaged."""
    if step_s >= METRIC_S:
        return np.repeat(rates_per_s, max(1, round(step_s / METRIC_S)))
    each = round(METRIC_S / step_s)
    missing = -len(rates_per_s) % each
    padded = np.concatenate([rates_per_s, np.full(missing, rates_per_s[-1])]) if missing else rates_per_s
    means: NDArray[np.float64] = padded.reshape(-1, each).mean(axis=1)
    return means


def target_tracking(
    demand_servers: NDArray[np.float64], *, start_s: float, servers_min: int, target: float = 0.6
) -> Counts:
    """Counts by minute for a demand in servers by minute: 1.0 is what one server carries when it is full.

    The alarm sees the utilisation of the ready servers; more than all of it does not show, since what is full answers
    no faster: the metric ends at 1, so that a large jump takes several steps, as on AWS.

    Raises:
        PlanError: a parameter is out of range.
    """
    require(0.05 <= target <= 1, "target", target, "within 0.05..1")
    require(start_s >= 0, "start_s", start_s, "0 or more")
    require(servers_min >= 1, "servers_min", servers_min, "1 or more")
    delay = math.ceil(start_s / METRIC_S)
    minutes = len(demand_servers)
    ready, paid = np.empty(minutes, np.int64), np.empty(minutes, np.int64)
    # It begins as if the first minute had lasted for long.
    wanted = max(servers_min, math.ceil(float(demand_servers[0]) / target)) if minutes else servers_min
    coming: list[tuple[int, int]] = []
    up, high, low, quiet_from = wanted, 0, 0, 0
    for minute in range(minutes):
        while coming and coming[0][0] <= minute:
            up += coming.pop(0)[1]
        ready[minute] = up
        paid[minute] = up + sum(count for _, count in coming)
        utilisation = min(1.0, float(demand_servers[minute]) / up)
        high = high + 1 if utilisation > target else 0
        low = low + 1 if utilisation < LOW_SHARE * target else 0
        wanted = max(servers_min, math.ceil(up * utilisation / target))
        if high >= HIGH_MINUTES and wanted > paid[minute]:
            coming.append((minute + 1 + delay, wanted - int(paid[minute])))
        elif low >= LOW_MINUTES and minute >= quiet_from and wanted < up and not coming:
            up = wanted
            quiet_from = minute + round(COOLDOWN_S / METRIC_S)
    return Counts(ready, paid)
