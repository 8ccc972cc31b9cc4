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
    """Servers by tick: `ready` serve, `paid` are ready or starting."""

    ready: NDArray[np.int64]
    paid: NDArray[np.int64]
    tick_s: float

    @property
    def server_hours(self) -> float:
        """Hours paid."""
        return float(self.paid.sum()) * self.tick_s / 3600


def ticks(rates_per_s: NDArray[np.float64], step_s: float) -> tuple[NDArray[np.float64], float]:
    """Mean rates by tick, and how long a tick is: a minute, or a step where steps are longer."""
    if step_s >= METRIC_S:
        return rates_per_s, step_s
    each = max(1, round(METRIC_S / step_s))
    missing = -len(rates_per_s) % each
    padded = np.concatenate([rates_per_s, np.full(missing, rates_per_s[-1])]) if missing else rates_per_s
    means: NDArray[np.float64] = padded.reshape(-1, each).mean(axis=1)
    return means, each * step_s


def target_tracking(
    demand_servers: NDArray[np.float64], tick_s: float, *, start_s: float, servers_min: int, target: float = 0.6
) -> Counts:
    """Counts by tick for a demand in servers: 1.0 is what one server carries when it is full.

    The alarm sees the utilisation of the ready servers; more than all of it does not show: the metric ends at 1, so
    that a large jump takes several steps, as on AWS.

    Raises:
        PlanError: a parameter is out of range.
    """
    require(0.05 <= target <= 1, "target", target, "within 0.05..1")
    require(start_s >= 0, "start_s", start_s, "0 or more")
    require(servers_min >= 1, "servers_min", servers_min, "1 or more")
    delay = round(start_s / tick_s) if tick_s > METRIC_S else math.ceil(start_s / tick_s)
    high_ticks, low_ticks = (max(1, round(minutes * METRIC_S / tick_s)) for minutes in (HIGH_MINUTES, LOW_MINUTES))
    steps = len(demand_servers)
    ready, paid = np.empty(steps, np.int64), np.empty(steps, np.int64)
    # It begins as if the first tick had lasted for long.
    up = max(servers_min, math.ceil(float(demand_servers[0]) / target)) if steps else servers_min
    coming: list[tuple[int, int]] = []
    high, low, quiet_from = 0, 0, 0
    for tick in range(steps):
        while coming and coming[0][0] <= tick:
            up += coming.pop(0)[1]
        ready[tick] = up
        paid[tick] = up + sum(count for _, count in coming)
        utilisation = min(1.0, float(demand_servers[tick]) / up)
        high = high + 1 if utilisation > target else 0
        low = low + 1 if utilisation < LOW_SHARE * target else 0
        wanted = max(servers_min, math.ceil(up * utilisation / target))
        if high >= high_ticks and wanted > paid[tick]:
            coming.append((tick + 1 + delay, wanted - int(paid[tick])))
        elif low >= low_ticks and tick >= quiet_from and wanted < up and not coming:
            up = wanted
            quiet_from = tick + max(1, round(COOLDOWN_S / tick_s))
    return Counts(ready, paid, tick_s)


def rent_or_buy(
    demand_servers: NDArray[np.float64],
    tick_s: float,
    *,
    start_s: float,
    servers_min: int,
    server_usd_per_hour: float,
    function_usd_per_server_hour: float,
) -> Counts:
    """Counts by tick where each level is rented from functions until that has cost what starting a server costs.

    Level n is the demand between n - 1 and n servers. While its server is off, what its demand costs on functions above
    the price of the server is added up; once that sum reaches the price of a start, the server is started. While it is
    on, what it costs above what functions would is added up the same way, and ends it. No level pays much more than
    twice what it had to (the ski rental rule; A. R. Karlin et al., 1988).
    """
    require(servers_min >= 0, "servers_min", servers_min, "0 or more")
    delay = round(start_s / tick_s) if tick_s > METRIC_S else math.ceil(start_s / tick_s)
    hours = tick_s / 3600
    steps = len(demand_servers)
    levels = max(servers_min, math.ceil(float(demand_servers.max()))) if steps else servers_min
    start_usd = server_usd_per_hour * max(start_s, METRIC_S) / 3600
    below = np.arange(levels)
    owed = np.zeros(levels)
    ready_at = np.where(below < servers_min, 0, np.iinfo(np.int64).max)
    ready, paid = np.empty(steps, np.int64), np.empty(steps, np.int64)
    never = np.iinfo(np.int64).max
    for tick in range(steps):
        is_paid = ready_at != never
        is_ready = ready_at <= tick
        ready[tick], paid[tick] = int(is_ready.sum()), int(is_paid.sum())
        busy = np.clip(demand_servers[tick] - below, 0.0, 1.0)
        # What functions cost more than the server does at this level, this tick.
        dearer = (busy * function_usd_per_server_hour - server_usd_per_hour) * hours
        owed = np.maximum(0.0, owed + np.where(is_paid, -dearer, dearer))
        turn = owed >= start_usd
        started, ended = turn & ~is_paid, turn & is_ready & (below >= servers_min)
        ready_at = np.where(started, tick + 1 + delay, np.where(ended, never, ready_at))
        owed = np.where(started | ended, 0.0, owed)
    return Counts(ready, paid, tick_s)
