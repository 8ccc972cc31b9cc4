"""A candidate from a supply: simulated for its latency, billed for its month, and held against needs and objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from peaker.plan.capacity import function_stretch, surplus_usd
from peaker.plan.case import Case, Purchase, Trigger
from peaker.plan.cost import Front, Used, bill_of, bought
from peaker.plan.fluid import spilled_by_step
from peaker.plan.levels import Load, loss_by_slots
from peaker.plan.look import Looked, Scene, look
from peaker.plan.plan import Architecture, Candidate, Kind, PlanLine, Servers
from peaker.plan.possible import (
    why_cold_start_breaks,
    why_not_behind_alb,
    why_not_on_functions,
    why_not_on_functions_alone,
    why_resources_break,
)
from peaker.plan.supply import BILLED_ROUNDING_S, Supply, by_step
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload
from peaker.policy.placement import Placement
from peaker.prices import PriceTable
from peaker.units import human_duration

if TYPE_CHECKING:
    from numpy.typing import NDArray

READY_POINTS = 1000
"""Counts over time that a plan keeps for pictures and replay."""

SEED = 1

QUEUE_MAX = 100
"""Requests that one worker lets wait, in every candidate that lets any wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the simulation saw: shares of all requests, times in seconds."""

    p50_s: float
    p95_s: float
    p99_s: float
    objective_share: float
    spilled_share: float
    refused_share: float
    cold_share: float
    utilisation: float
    instances_most: int
    simulated: int


def judged(case: Case, load: Load, supply: Supply, table: PriceTable) -> Candidate:
    """The candidate that a supply makes.

    Raises:
        PriceError: something it uses has no price in the region.
    """
    seen = seen_of(case, load, supply)
    used = used_of(case, load, supply, table, seen.spilled_share, seen.cold_share)
    return candidate_of(case, load, supply, seen, used, table)


def candidate_of(  # noqa: PLR0917 - of what, what it does, what it uses, and at what prices
    case: Case, load: Load, supply: Supply, seen: Seen, used: Used, table: PriceTable
) -> Candidate:
    """The bill of what is used, and the verdict on what was seen.

    Raises:
        PriceError: something it uses has no price in the region.
    """
    bill = bill_of(
        used,
        table,
        case.choices.region,
        case.choices.architecture,
        case.choices.operations,
        free_tier=case.choices.free_tier,
    )
    lines = tuple(
        PlanLine(
            item=line.item,
            quantity=line.quantity,
            unit=line.unit,
            usd=line.usd,
            source=f"{line.source}, {line.published}" if line.published else line.source,
        )
        for line in bill.lines
    )
    return Candidate(
        kind=supply.kind,
        architecture=supply.architecture,
        title=supply.title,
        usd_per_month=bill.usd,
        bill=lines,
        servers=_servers(load, supply),
        memory_mb=supply.memory_mb,
        front=supply.front.value,
        latency_p50_ms=seen.p50_s * 1000,
        latency_p95_ms=seen.p95_s * 1000,
        latency_p99_ms=seen.p99_s * 1000,
        objective_share=seen.objective_share,
        spilled_share=seen.spilled_share,
        refused_share=seen.refused_share,
        cold_share=seen.cold_share,
        utilisation=seen.utilisation,
        simulated=seen.simulated,
        breaks=breaks_of(case, supply, seen),
        notes=_notes(case, supply, table),
    )


def used_of(  # noqa: PLR0917 - what, of what, at what prices, and what came of it
    case: Case, load: Load, supply: Supply, table: PriceTable, spilled_share: float, cold_share: float
) -> Used:
    """What the supply uses over the trace when this share of the requests runs on functions."""
    work, choices = case.work, case.choices
    memory_gb = supply.memory_mb / 1024
    invocations = load.requests * (1.0 if supply.kind is Kind.MANAGED else spilled_share)
    run_gb_s = init_gb_s = held_gb_s = held_run_gb_s = 0.0
    if supply.memory_mb:
        billed_s = work.service.mean_s * function_stretch(work, supply.memory_mb, choices.speed) + BILLED_ROUNDING_S
        run_gb_s = invocations * billed_s * memory_gb
        init_gb_s = load.requests * cold_share * work.cold_start.mean_s * memory_gb
    if supply.provisioned:
        held_gb_s = supply.provisioned * load.hours_known * 3600 * memory_gb
        held_run_gb_s, run_gb_s = run_gb_s * (1 - cold_share), run_gb_s * cold_share
    extra_usd = 0.0
    if supply.size is not None:
        requests = load.requests * (1 - spilled_share)
        extra_usd = surplus_usd(supply.size, work, choices, requests, supply.server_hours)
    operations = choices.operations
    hours = {
        Architecture.SERVERS: operations.servers_h,
        Architecture.FUNCTIONS: operations.functions_h,
        Architecture.HYBRID: operations.servers_h + operations.functions_h,
    }[supply.architecture]
    return Used(
        hours=load.hours_known,
        requests=load.requests if case.needs.trigger is Trigger.REQUEST else 0.0,
        response_bytes=load.requests * work.response_bytes.value if case.needs.trigger is Trigger.REQUEST else 0.0,
        front=supply.front,
        size=supply.size,
        server_hours=supply.server_hours,
        surplus_usd=extra_usd,
        servers_always=supply.servers_least,
        bought=bought(case, supply.size, table, is_task=supply.is_task) if supply.size else None,
        is_task=supply.is_task,
        managed_hours=supply.server_hours if supply.kind is Kind.MANAGED else 0.0,
        invocations=invocations,
        run_gb_s=run_gb_s,
        init_gb_s=init_gb_s,
        provisioned_gb_s=held_gb_s,
        provisioned_run_gb_s=held_run_gb_s,
        operations_h=hours,
    )


def seen_of(case: Case, load: Load, supply: Supply) -> Seen:
    """Simulate the supply."""
    return seen_in(looked_at(case, load, supply), supply.provisioned)


def looked_at(case: Case, load: Load, supply: Supply) -> Looked:
    """Simulate the supply. What spills is summed over the whole trace where only windows of it were simulated."""
    counts = np.rint(load.rates * load.step_s).astype(np.int64)
    scene = Scene(
        counts=counts,
        servers=by_step(supply, len(counts), case.step_s),
        step_s=case.step_s,
        workload=workload_of(case, supply),
        pool=supply.size.pool if supply.size else ServerPool(slots=1),
        functions=pool_of(case, supply),
        rules=rules_of(case, supply),
    )
    looked = look(scene, seed=SEED)
    if supply.architecture is Architecture.HYBRID and not looked.is_whole:
        spilled = spilled_by_step(
            counts, case.step_s, scene.servers, scene.workload, scene.pool, scene.functions, scene.rules
        ).share
        looked = replace(looked, spilled_share=spilled)
    if supply.provisioned:
        cold = _beyond(case, load, supply)
        looked = replace(looked, cold_share=cold, objective_share=looked.objective_share * (1 - cold))
    return looked


def seen_in(looked: Looked, provisioned: int = 0) -> Seen:
    """What a simulation tells of a candidate."""
    return Seen(
        p50_s=looked.latency.quantile_s(0.5),
        p95_s=looked.latency.quantile_s(0.95),
        p99_s=looked.latency.quantile_s(0.99),
        objective_share=looked.objective_share,
        spilled_share=looked.spilled_share,
        refused_share=looked.refused_share,
        cold_share=looked.cold_share,
        utilisation=looked.utilisation,
        instances_most=max(looked.instances_most, provisioned),
        simulated=looked.simulated,
    )


def workload_of(case: Case, supply: Supply) -> Workload:
    """The work as the simulation takes it; what is held ready never starts cold."""
    work, stretch = case.work, _server_stretch(case)
    return Workload(
        service_quantiles_s=tuple(value * stretch for value in work.service.quantiles_s),
        cold_start_quantiles_s=(0.0,) if supply.provisioned else work.cold_start.quantiles_s,
        memory_mb=max(128, supply.memory_mb),
        spillable_share=case.needs.spillable_share,
    )


def _server_stretch(case: Case) -> float:
    """Time on a server of the instance types over time where it was taken: only computing depends on the speed."""
    share = case.work.cpu_share.value
    return 1 - share + share / case.choices.speed


def pool_of(case: Case, supply: Supply) -> FunctionPool:
    """The functions above."""
    memory_mb = max(128, supply.memory_mb)
    return FunctionPool(
        concurrency_max=case.choices.concurrency_max,
        keep_alive_s=case.choices.keep_alive_s,
        factor=function_stretch(case.work, memory_mb, case.choices.speed) / _server_stretch(case),
        overhead_s=case.choices.invoke_overhead_s,
    )


def rules_of(case: Case, supply: Supply) -> Rules:
    """What the gate is told; managed instances take no queue, they throttle."""
    waits = supply.kind is not Kind.MANAGED
    placement = {
        Architecture.FUNCTIONS: Placement.FUNCTIONS if waits else Placement.SERVERS,
        Architecture.SERVERS: Placement.SERVERS,
        Architecture.HYBRID: Placement.HYBRID,
    }[supply.architecture]
    return Rules(
        objective_s=case.objective.latency_s,
        queue_max=QUEUE_MAX if waits else 0,
        queue_wait_s_max=case.choices.queue_wait_s_max if waits else 0.0,
        spill=placement is not Placement.SERVERS,
        placement=placement,
    )


def _beyond(case: Case, load: Load, supply: Supply) -> float:
    """Share of the requests beyond what is held ready: Erlang's loss at each level."""
    billed_s = case.work.service.mean_s * function_stretch(case.work, supply.memory_mb, case.choices.speed)
    losses = loss_by_slots(load.levels * billed_s, supply.provisioned, supply.provisioned)[-1]
    weights = load.levels * load.hours
    return float(losses @ weights / weights.sum())


def breaks_of(case: Case, supply: Supply, seen: Seen) -> tuple[str, ...]:
    """Needs and objectives that it does not meet."""
    breaks: list[str] = []
    if supply.architecture is Architecture.FUNCTIONS:
        breaks += why_not_on_functions_alone(case)
        if supply.front is Front.ALB and (why := why_not_behind_alb(case)):
            breaks.append(why)
    elif supply.architecture is Architecture.HYBRID:
        breaks += why_not_on_functions(case)
    workers = supply.servers_most * supply.size.pool.workers if supply.size else 0
    breaks += why_resources_break(case, workers, seen.instances_most)
    if case.needs.trigger is not Trigger.REQUEST:
        return tuple(breaks)
    objective = case.objective
    if cold := why_cold_start_breaks(case, seen.cold_share):
        breaks.append(cold)
    elif seen.objective_share < objective.percentile:
        breaks.append(
            f"only {seen.objective_share:.1%} of the requests are answered within "
            f"{human_duration(objective.latency_s)}, and {objective.percentile:.0%} should be"
        )
    if seen.refused_share > objective.refused_share_max:
        breaks.append(
            f"{seen.refused_share:.2%} of the requests are refused, more than {objective.refused_share_max:.2%}"
        )
    return tuple(breaks)


def _servers(load: Load, supply: Supply) -> Servers | None:
    if supply.size is None:
        return None
    ready = supply.ready
    return Servers(
        size=supply.size.name,
        usd_per_hour=supply.size.usd_per_hour,
        slots=supply.size.pool.slots_per_server,
        workers=supply.size.pool.workers,
        requests_per_s=supply.size.requests_per_s,
        least=supply.servers_least,
        mean=supply.server_hours / load.hours_known,
        most=supply.servers_most,
        ready=() if isinstance(ready, int) else _thinned(ready),
    )


def _thinned(ready: NDArray[np.int64]) -> tuple[int, ...]:
    if len(ready) <= READY_POINTS:
        return tuple(ready.tolist())
    index = np.linspace(0, len(ready) - 1, READY_POINTS).astype(np.int64)
    return tuple(ready[index].tolist())


def _notes(case: Case, supply: Supply, table: PriceTable) -> tuple[str, ...]:
    purchase = case.choices.purchase
    if (
        supply.size
        and purchase is not Purchase.ON_DEMAND
        and not bought(case, supply.size, table, is_task=supply.is_task)
    ):
        return (f"no rate of {purchase.value} is known for {supply.size.name} in {case.choices.region}: on demand",)
    if supply.size and purchase is Purchase.SPOT and not supply.is_task:
        return ("spot capacity may be taken away within two minutes",)
    if supply.provisioned:
        return ("who comes when all that is held ready is busy waits for a cold start; counted by Erlang's loss",)
    if supply.kind is Kind.MANAGED:
        return ("they do not grow on arrival, and may throttle when traffic doubles within five minutes",)
    return ()
