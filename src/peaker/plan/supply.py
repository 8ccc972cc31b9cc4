"""What a candidate consists of: servers over time, the functions above them, and what stands in front.

Here the counts are chosen, by sums over the load's levels. How fast the result is, is found by simulation afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peaker.meter.bill import HOURS_PER_MONTH
from peaker.plan.capacity import ServerSize, function_stretch, surplus_usd
from peaker.plan.case import Case, Trigger
from peaker.plan.cost import ALB_ADDRESSES, GIB, LOG_BYTES_PER_INVOCATION, Front
from peaker.plan.levels import Load, loss_by_slots, wait_by_slots
from peaker.plan.plan import Architecture, Kind
from peaker.plan.scaling import Counts, rent_or_buy, target_tracking, ticks
from peaker.prices import PriceTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BILLED_ROUNDING_S = 0.0005
"""Runs are billed in whole milliseconds, rounded up: half of one on average."""

TARGETS = (0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Utilisations that target tracking is tried with; people lower it until their peaks are held."""

MANAGED_INSTANCES_MIN = 3
"""Lambda Managed Instances keep three instances by default (AWS Lambda Developer Guide, 2026)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Supply:
    """One candidate before it is judged. `ready` are servers, one number or by tick of `tick_s`."""

    kind: Kind
    architecture: Architecture
    title: str
    front: Front = Front.NONE
    size: ServerSize | None = None
    is_task: bool = False
    ready: int | NDArray[np.int64] = 0
    tick_s: float = 60.0
    server_hours: float = 0.0
    memory_mb: int = 0
    provisioned: int = 0
    spilled_share: float = 0.0
    """By the load's levels; 0 where the simulation alone tells it."""

    @property
    def servers_least(self) -> int:
        """Servers that are always there."""
        return int(np.min(self.ready))

    @property
    def servers_most(self) -> int:
        """Servers at the most."""
        return int(np.max(self.ready))


@dataclass(frozen=True, slots=True)
class SpillPrice:
    """What one request costs on a function of `memory_mb`, in dollars, and how long it is billed, in seconds."""

    usd: float
    billed_s: float
    memory_mb: int


def spill_price(case: Case, table: PriceTable, memory_mb: int) -> SpillPrice:
    """The price of one spilled request, without its cold start.

    Raises:
        PriceError: functions have no price in the region.
    """
    region, arch = case.choices.region, "arm" if case.choices.architecture == "arm64" else "x86"
    billed_s = case.work.service.mean_s * function_stretch(case.work, memory_mb, case.choices.speed) + BILLED_ROUNDING_S
    usd = (
        table.price(region, "lambda.request").usd
        + billed_s * memory_mb / 1024 * table.price(region, f"lambda.gb_second.{arch}").usd
        + LOG_BYTES_PER_INVOCATION / GIB * table.price(region, "cloudwatch.logs_gb").usd
    )
    return SpillPrice(usd, billed_s, memory_mb)


def held_s(size: ServerSize) -> float:
    """How long a request holds a slot of a full server."""
    return size.pool.slots_per_server / size.requests_per_s


def servers_for_peak(case: Case, load: Load, size: ServerSize) -> int:
    """The smallest number of servers whose queue keeps the objective over the whole load, and holds its peak.

    By Erlang's C for the load of each level: P(wait > t) = C exp(-(c - a) t / s). At most half of the requests that
    may be slower than the objective may owe that to the queue.
    """
    per_server = size.pool.slots_per_server
    held = held_s(size)
    offered = load.levels * held
    least = max(case.choices.servers_min, 1, math.ceil(load.peak_per_s / size.requests_per_s))
    most = least * 2 + 2
    losses = loss_by_slots(offered, most * per_server, per_server)
    tail_s = _quantile_s(case, 0.5 * (1 + case.objective.percentile))
    slack_s = max(0.0, case.objective.latency_s - tail_s)
    weights = load.levels * load.hours / float(np.sum(load.levels * load.hours))
    allowed = (1 - case.objective.percentile) / 2
    for servers in range(least, most + 1):
        slots = servers * per_server
        wait = wait_by_slots(losses[servers], offered, slots)
        late = wait * np.exp(-np.maximum(0.0, slots - offered) * slack_s / held)
        if float(np.sum(weights * late)) <= allowed:
            return servers
    return most


def usd_for_peak(case: Case, load: Load, size: ServerSize) -> float:
    """Dollars a month of servers of this size for the peak, with what a burstable one charges for its CPU."""
    servers = servers_for_peak(case, load, size)
    extra = surplus_usd(size, case.work, case.choices, load.requests, servers * load.hours_known)
    return HOURS_PER_MONTH * (servers * size.usd_per_hour + extra / load.hours_known)


def fixed(case: Case, load: Load, size: ServerSize, *, is_task: bool) -> Supply:
    """Servers for the peak, always."""
    servers = servers_for_peak(case, load, size)
    return Supply(
        kind=Kind.TASKS_FIXED if is_task else Kind.SERVERS_FIXED,
        architecture=Architecture.SERVERS,
        title=f"{servers} {size.name}",
        front=front_of_servers(case, servers),
        size=size,
        is_task=is_task,
        ready=servers,
        server_hours=servers * load.hours_known,
    )


def scaled(case: Case, load: Load, size: ServerSize, *, is_task: bool) -> Supply:
    """Servers under target tracking, with the highest target at which the load finds its servers often enough."""
    rates, tick_s = ticks(load.rates, load.step_s)
    demand = rates / size.requests_per_s
    start_s = case.choices.task_start_s if is_task else case.choices.server_start_s
    servers_min = max(1, case.choices.servers_min)
    for target in TARGETS:
        counts = target_tracking(demand, tick_s, start_s=start_s, servers_min=servers_min, target=target)
        if _short_share(demand, counts) <= min(1 - case.objective.percentile, 10 * case.objective.refused_share_max):
            break
    hours = counts.server_hours * load.hours_known / (len(demand) * tick_s / 3600)
    return Supply(
        kind=Kind.TASKS_SCALED if is_task else Kind.SERVERS_SCALED,
        architecture=Architecture.SERVERS,
        title=f"{_range(counts)} {size.name}, target {target:.0%}",
        front=front_of_servers(case, 2),
        size=size,
        is_task=is_task,
        ready=counts.ready,
        tick_s=tick_s,
        server_hours=hours,
    )


def _short_share(demand: Floats, counts: Counts) -> float:
    """Share of the work that came while more was asked than the ready servers hold."""
    short = np.maximum(0.0, demand - counts.ready)
    return float(short.sum() / max(1e-12, demand.sum()))


def functions_only(memory_mb: int, front: Front) -> Supply:
    """All on functions."""
    return Supply(
        kind=Kind.FUNCTIONS,
        architecture=Architecture.FUNCTIONS,
        title=f"functions of {memory_mb} MB" + (f" behind {_an(front)}" if front is not Front.NONE else ""),
        front=front,
        memory_mb=memory_mb,
        spilled_share=1.0,
    )


def provisioned(case: Case, load: Load, price: SpillPrice, front: Front) -> Supply:
    """Functions of which as many are held ready that cold starts leave the objective alone."""
    offered = load.levels * price.billed_s
    weights = load.levels * load.hours / float(np.sum(load.levels * load.hours))
    most = max(1, math.ceil(float(offered[-1]) + 4 * math.sqrt(float(offered[-1]))))
    losses = loss_by_slots(offered, min(most, 10_000), 1)
    over = losses @ weights
    enough = np.flatnonzero(over <= (1 - case.objective.percentile) / 2)
    count = int(enough[0]) if enough.size else len(over) - 1
    return Supply(
        kind=Kind.PROVISIONED,
        architecture=Architecture.FUNCTIONS,
        title=f"functions of {price.memory_mb} MB, {max(1, count)} held ready",
        front=front,
        memory_mb=price.memory_mb,
        provisioned=max(1, count),
        spilled_share=1.0,
    )


def managed(case: Case, load: Load, size: ServerSize, front: Front) -> Supply:
    """Lambda Managed Instances: EC2 instances that Lambda scales by their CPU, many requests in each."""
    rates, tick_s = ticks(load.rates, load.step_s)
    counts = target_tracking(
        rates / size.requests_per_s,
        tick_s,
        start_s=case.choices.server_start_s,
        servers_min=MANAGED_INSTANCES_MIN,
        target=0.5,
    )
    hours = counts.server_hours * load.hours_known / (len(rates) * tick_s / 3600)
    return Supply(
        kind=Kind.MANAGED,
        architecture=Architecture.FUNCTIONS,
        title=f"functions on {_range(counts)} managed {size.name}",
        front=front,
        size=size,
        ready=counts.ready,
        tick_s=tick_s,
        server_hours=hours,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """What hybrids with 0, 1, 2, ... fixed servers spill (share of the requests) and cost a month.

    `servers_usd` is infinite where there must be more servers; it holds the load balancer that more than one needs.
    """

    spilled_shares: Floats
    servers_usd: Floats
    functions_usd: Floats

    @property
    def best(self) -> int:
        """The cheapest number of servers."""
        return int(np.argmin(self.servers_usd + self.functions_usd))


def baselines(case: Case, load: Load, size: ServerSize, price: SpillPrice, table: PriceTable) -> Baselines:
    """All hybrids of one size: server n is worth its price where functions would cost more for what it takes.

    Spilled at a level is Erlang's loss of the slots at that level's load; what may not be spilled stays.
    """
    per_server = size.pool.slots_per_server
    most = max(1, case.choices.servers_min, math.ceil(load.peak_per_s / size.requests_per_s) + 1)
    losses = loss_by_slots(load.levels * held_s(size), most * per_server, per_server)
    weights = load.levels * load.hours
    shares = (losses @ weights) / float(weights.sum()) * case.needs.spillable_share
    month = HOURS_PER_MONTH / load.hours_known
    servers_usd: Floats = np.arange(most + 1, dtype=np.float64) * (size.usd_per_hour * HOURS_PER_MONTH)
    if case.needs.trigger is Trigger.REQUEST:
        addresses = ALB_ADDRESSES * table.price(case.choices.region, "ipv4.hour").usd
        servers_usd[2:] += (table.price(case.choices.region, "alb.hour").usd + addresses) * HOURS_PER_MONTH
    for servers in range(1, most + 1):
        hours = servers * load.hours_known
        servers_usd[servers] += month * surplus_usd(
            size, case.work, case.choices, load.requests * (1 - float(shares[servers])), hours
        )
    functions_usd = shares * load.requests * month * price.usd
    floor = max(case.choices.servers_min, 1, _servers_for_the_rest(case, load, size))
    servers_usd[:floor] = math.inf
    return Baselines(shares, servers_usd, np.asarray(functions_usd, dtype=np.float64))


def _servers_for_the_rest(case: Case, load: Load, size: ServerSize) -> int:
    """Servers that hold, at the peak, what may not leave them."""
    return math.ceil(load.peak_per_s * (1 - case.needs.spillable_share) / size.requests_per_s - 1e-9)


def hybrid_fixed(case: Case, load: Load, size: ServerSize, found: Baselines, price: SpillPrice) -> Supply:
    """A baseline that never changes, and functions above it."""
    servers = found.best
    return Supply(
        kind=Kind.HYBRID_FIXED,
        architecture=Architecture.HYBRID,
        title=f"{servers} {size.name} + functions of {price.memory_mb} MB",
        front=front_of_servers(case, servers),
        size=size,
        ready=servers,
        server_hours=servers * load.hours_known,
        memory_mb=price.memory_mb,
        spilled_share=float(found.spilled_shares[servers]),
    )


def hybrid_controlled(case: Case, load: Load, size: ServerSize, price: SpillPrice) -> Supply:
    """A baseline that follows the traffic by the rent-or-buy rule, and functions above it."""
    rates, tick_s = ticks(load.rates, load.step_s)
    counts = rent_or_buy(
        rates / size.requests_per_s,
        tick_s,
        start_s=case.choices.server_start_s,
        servers_min=max(1, case.choices.servers_min, _servers_for_the_rest(case, load, size)),
        server_usd_per_hour=size.usd_per_hour,
        function_usd_per_server_hour=size.requests_per_s * 3600 * price.usd,
    )
    return Supply(
        kind=Kind.HYBRID_CONTROLLED,
        architecture=Architecture.HYBRID,
        title=f"{_range(counts)} {size.name} + functions of {price.memory_mb} MB",
        front=front_of_servers(case, int(counts.ready.max())),
        size=size,
        ready=counts.ready,
        tick_s=tick_s,
        server_hours=counts.server_hours * load.hours_known / (len(rates) * tick_s / 3600),
        memory_mb=price.memory_mb,
    )


def by_step(supply: Supply, steps: int, step_s: float) -> NDArray[np.int64]:
    """Ready servers at each step of the trace."""
    if isinstance(supply.ready, int):
        return np.full(steps, supply.ready, np.int64)
    index = np.minimum((np.arange(steps) * step_s / supply.tick_s).astype(np.int64), len(supply.ready) - 1)
    return np.asarray(supply.ready[index], dtype=np.int64)


def front_of_servers(case: Case, most: int) -> Front:
    """More than one server needs a load balancer; events and jobs come from a queue."""
    return Front.ALB if most > 1 and case.needs.trigger is Trigger.REQUEST else Front.NONE


def _range(counts: Counts) -> str:
    least, most = int(counts.ready.min()), int(counts.ready.max())
    return f"{least}" if least == most else f"{least} to {most}"


def _an(front: Front) -> str:
    return f"an {front.value}" if front is Front.HTTP_API else f"a {front.value}"


def _quantile_s(case: Case, probability: float) -> float:
    quantiles = case.work.service.quantiles_s
    return (
        float(np.interp(probability, np.linspace(0, 1, len(quantiles)), quantiles))
        if len(quantiles) > 1
        else quantiles[0]
    )
