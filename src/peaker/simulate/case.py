"""What a world is made of: traffic, work, servers, functions, rules, the baseline's policy, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from peaker.plan.workload import FunctionPool, PlanError, Rules, ServerPool, Workload, require
from peaker.policy.placement import Placement
from peaker.settings import (
    AppSection,
    FunctionsSection,
    ObjectiveSection,
    RouteSection,
    ServersSection,
    Settings,
)

SERVERS_MAX = 64
REQUESTS_MAX = 5_000_000
"""Some minutes of one core."""


class FaultKind(StrEnum):
    """What may go wrong."""

    SERVER_DIES = "server dies"
    """All workers of the oldest server; a new one is started in its place."""
    HOST_AWAY = "function host away"
    """Its instances are gone, what runs in them has an unknown effect; it is back after a while."""
    CLOCK_JUMPS = "clock jumps"
    """The calendar, by `size` seconds; the monotonic clock does not."""
    THROTTLED = "throttled"
    """Functions run no more than `size` at once."""
    BLIND = "observations missing"
    """What is seen of the servers' demand does not arrive."""
    LATE = "observations late"
    """What is seen arrives one step later."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, from a moment on, for a while; `size` as its kind says."""

    at_s: float
    kind: FaultKind
    for_s: float = 0.0
    size: float = 0.0

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How the number of servers follows the load.

    Attributes:
        policy: a name that `policy.baseline.make_baseline` knows.
        decide_every_s: one step of it.
        stay_s: an added server stays at least so long.
        servers_min, servers_max: bounds.
    """

    policy: str = "default"
    decide_every_s: float = 10.0
    stay_s: float = 60.0
    servers_min: int = 1
    servers_max: int = 8

    def __post_init__(self) -> None:
        require(0.1 <= self.decide_every_s <= 3600, "decide_every_s", self.decide_every_s, "within 0.1..3600")
        require(self.stay_s >= 0, "stay_s", self.stay_s, ">= 0")
        require(0 <= self.servers_min <= self.servers_max, "servers_min", self.servers_min, "within 0..servers_max")
        require(1 <= self.servers_max <= SERVERS_MAX, "servers_max", self.servers_max, f"within 1..{SERVERS_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One world. The same case and seed give the same journal, byte for byte.

    Attributes:
        counts: requests in each step, that come at times independent and uniform within it.
        step_s: seconds in a step.
        servers: how many are ready at the start.
        server_start_s: what starting one takes.
        scaling: None for a fixed number.
        learned_keep_alive: as `functions.keep_alive_s = "auto"`; `functions.keep_alive_s` then holds until then.
        spend_usd_per_day_max: None for no limit.
        like: "lambda" or "local", by which the gate guesses start times before it has seen one.
        faults: in any order.
    """

    counts: tuple[int, ...]
    step_s: float = 1.0
    workload: Workload
    pool: ServerPool
    functions: FunctionPool
    rules: Rules
    servers: int = 1
    server_start_s: float = 30.0
    scaling: Scaling | None = None
    learned_keep_alive: bool = False
    spend_usd_per_day_max: float | None = None
    like: str = "lambda"
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.counts) > 0 and min(self.counts) >= 0, "counts", "...", "one count or more, each >= 0")
        require(sum(self.counts) <= REQUESTS_MAX, "sum(counts)", sum(self.counts), f"<= {REQUESTS_MAX}")
        require(0 < self.step_s < float("inf"), "step_s", self.step_s, "> 0")
        require(0 <= self.servers <= SERVERS_MAX, "servers", self.servers, f"within 0..{SERVERS_MAX}")
        require(0 <= self.server_start_s < float("inf"), "server_start_s", self.server_start_s, ">= 0")
        require(self.workload.spillable_share in {0.0, 1.0}, "spillable_share", self.workload.spillable_share, "0 or 1")
        if self.rules.placement is Placement.FUNCTIONS and self.servers == 0:
            raise PlanError("servers = 0: a gate runs in a worker, also where all requests go to functions.")

    @property
    def end_s(self) -> float:
        """When the last request may come."""
        return len(self.counts) * self.step_s

    @property
    def servers_max(self) -> int:
        """Servers there may ever be at once."""
        return max(self.servers, self.scaling.servers_max if self.scaling else 0, 1)

    def settings(self) -> Settings:
        """As the gate and the price table read it."""
        rules, functions = self.rules, self.functions
        placement = rules.placement if self.workload.spillable_share else Placement.SERVERS
        return Settings(
            app=AppSection(spill=rules.spill),
            objective=ObjectiveSection(
                latency_p95_ms=rules.objective_s * 1000, spend_usd_per_day_max=self.spend_usd_per_day_max
            ),
            servers=ServersSection(
                count_max=self.servers_max,
                workers=self.pool.workers,
                in_flight_max=self.pool.slots,
                queue_max=rules.queue_max,
                queue_wait_s_max=rules.queue_wait_s_max,
                lag_ms_max=self.pool.lag_s_max * 1000,
            ),
            functions=FunctionsSection(
                memory_mb=self.workload.memory_mb,
                concurrency_max=max(1, functions.concurrency_max),
                keep_alive_s=functions.keep_alive_s,
                like=self.like,
            ),
            route=(RouteSection(path="/", placement=placement.value),),
        )


class Drawn:
    """Draws from a distribution given as quantiles at evenly spaced probabilities, linear between them."""

    __slots__ = ("_chance", "_last", "_quantiles")

    def __init__(self, quantiles_s: tuple[float, ...], chance: Callable[[], float]) -> None:
        self._quantiles = quantiles_s
        self._last = len(quantiles_s) - 1
        self._chance = chance

    def __call__(self) -> float:
        """The next one, in seconds."""
        place = self._chance() * self._last
        low = int(place)
        at_s = self._quantiles[low]
        return at_s if low == self._last else at_s + (self._quantiles[low + 1] - at_s) * (place - low)
