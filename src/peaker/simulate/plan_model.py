"""The model of a plan's candidate, as the planner simulated it, and the servers it has in a part of the traffic."""

from __future__ import annotations

import math

from peaker.errors import PlanFileError
from peaker.plan.capacity import function_stretch
from peaker.plan.case import Figure, Origin, Times, Work
from peaker.plan.judge import QUEUE_MAX
from peaker.plan.plan import Architecture, Candidate, Kind, Plan, SimulatedWith
from peaker.plan.workload import STARTS_BURST, STARTS_PER_S
from peaker.policy.placement import Placement
from peaker.prices import PriceTable
from peaker.simulate.prediction import Input, Model
from peaker.simulate.project_model import Modelled

NOT_AGAIN = (Kind.PROVISIONED, Kind.MANAGED, Kind.HYBRID_BY_ROUTE)
"""What is held ready, or runs routes apart, is more than one model of requests can say."""

LAG_S_MAX = 0.05

_PLACEMENTS = {
    Architecture.SERVERS: Placement.SERVERS,
    Architecture.FUNCTIONS: Placement.FUNCTIONS,
    Architecture.HYBRID: Placement.HYBRID,
}
_GB_SECONDS = {"arm64": "lambda.gb_second.arm", "x86_64": "lambda.gb_second.x86"}


def candidate_named(plan: Plan, name: str | None, where: str) -> Candidate:
    """The recommended candidate, or the cheapest one of this kind or title.

    Raises:
        PlanFileError: there is none; names those there are.
    """
    kinds = ", ".join(dict.fromkeys(f"{candidate.kind.value!r}" for candidate in plan.candidates))
    if name is None:
        if plan.answer is None:
            raise PlanFileError("it recommends nothing.", where=where, remedy=f"Name one with --candidate: {kinds}.")
        return plan.answer
    found = [candidate for candidate in plan.candidates if name in (candidate.kind.value, candidate.title)]
    if not found:
        raise PlanFileError(f"there is no candidate {name!r} in it; there are: {kinds}.", where=where)
    return min(found, key=lambda candidate: candidate.usd_per_month)


def model_of_plan(plan: Plan, candidate: Candidate, table: PriceTable, *, part: tuple[float, float]) -> Modelled:
    """The model of one candidate over a part of the plan's time, as shares of it from 0 to 1.

    Raises:
        PlanFileError: the plan does not hold its figures, or the candidate is of a kind that is not simulated again.
        PriceError: the table lacks a price of the plan's region.
    """
    given = plan.simulated_with
    if given is None:
        raise PlanFileError(
            "it does not hold the figures it was made with.",
            where=plan.name,
            remedy="An earlier Peaker wrote it: make it again with `peaker plan LOG --save`.",
        )
    if candidate.kind in NOT_AGAIN:
        raise PlanFileError(
            f"{candidate.kind.value!r} is not simulated by requests.",
            where=plan.name,
            remedy="Name another --candidate.",
        )
    memory_mb = max(128, candidate.memory_mb)
    stretch = 1 - given.cpu_share + given.cpu_share / given.speed
    servers = candidate.servers
    gb_second_usd = table.price(plan.region, _GB_SECONDS[given.architecture]).usd
    model = Model(
        service_s=tuple(value * stretch for value in given.service_s),
        cpu_share=0.0,
        function_factor=function_stretch(_work(given), memory_mb, given.speed) / stretch,
        function_overhead_s=given.invoke_overhead_s,
        cold_start_s=given.cold_start_s,
        memory_mb=memory_mb,
        spillable_share=given.spillable_share,
        servers=servers_in(candidate, part),
        workers=servers.workers if servers else 1,
        slots=servers.slots_per_worker if servers else 1,
        lag_s_max=LAG_S_MAX,
        queue_max=QUEUE_MAX,
        queue_wait_s_max=given.queue_wait_s_max,
        objective_s=plan.objective_ms / 1000,
        placement=_PLACEMENTS[candidate.architecture].value,
        concurrency_max=given.concurrency_max,
        keep_alive_s=given.keep_alive_s,
        starts_per_s=STARTS_PER_S,
        starts_burst=STARTS_BURST,
        like="lambda",
        learns_keep_alive=False,
        client_s=0.0,
        server_usd_per_hour=servers.usd_per_hour if servers else 0.0,
        request_usd=table.price(plan.region, "lambda.request").usd,
        gb_second_usd=gb_second_usd,
    )
    notes = ("dollars are those of servers and functions; the plan's bill has what stands around them, by the month.",)
    return Modelled(model=model, inputs=_inputs(plan, candidate, model), notes=notes)


def servers_in(candidate: Candidate, part: tuple[float, float]) -> tuple[int, ...]:
    """The counts of servers in this part of the plan's time."""
    servers = candidate.servers
    if servers is None:
        return (0,)
    ready = servers.ready
    if not ready:
        return (servers.least,)
    first = min(len(ready) - 1, math.floor(part[0] * len(ready) + 1e-9))
    end = max(first + 1, math.ceil(part[1] * len(ready) - 1e-9))
    chosen = ready[first:end]
    return chosen if len(set(chosen)) > 1 else chosen[:1]


def _work(given: SimulatedWith) -> Work:
    """What `function_stretch` needs to know; memory and sizes play no part in it."""
    return Work(
        service=Times(given.service_s, Origin.GIVEN),
        cpu_share=Figure(given.cpu_share, Origin.GIVEN),
        cold_start=Times(given.cold_start_s, Origin.GIVEN),
        worker_memory_mb=Figure(1.0, Origin.GIVEN),
        function_memory_mb=Figure(128.0, Origin.GIVEN),
        response_bytes=Figure(0.0, Origin.GIVEN),
    )


def _inputs(plan: Plan, candidate: Candidate, model: Model) -> tuple[Input, ...]:
    least, most = min(model.servers), max(model.servers)
    count = f"{least}" if least == most else f"{least} to {most}"
    size = f" x {candidate.servers.size}" if candidate.servers else ""
    figures = tuple(Input(name=each.name, value=each.value, origin=each.origin) for each in plan.figures)
    return (
        Input(
            name="servers", value=f"{count}{size}, {model.workers} workers of {model.slots} slots", origin="the plan"
        ),
        Input(name="memory of a function", value=f"{model.memory_mb} MB", origin="the plan"),
        *figures,
    )
