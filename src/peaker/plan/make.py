"""The whole way from a case to a plan."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from peaker import __version__
from peaker.meter.bill import HOURS_PER_MONTH
from peaker.plan.answer import anchors_of, narrowed, reasons_of, recommend, sureness_of, turns_of
from peaker.plan.case import Case, Choices, Origin, Times
from peaker.plan.levels import Load, load_of
from peaker.plan.optimum import ServerCost, clairvoyant
from peaker.plan.plan import CountCost, CurvePoint, Moment, NamedFigure, Plan, SimulatedWith
from peaker.plan.scaling import ticks
from peaker.plan.search import Found, Progress, search
from peaker.prices import PriceTable
from peaker.units import human_bytes, human_duration

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOMENTS = 1500
"""Stretches that a plan keeps of the traffic, for pictures."""

CURVE_POINTS = 300

DAY_S = 86_400


def make_plan(
    case: Case, table: PriceTable, *, start: datetime | None = None, progress: Progress | None = None
) -> Plan:
    """Judge all candidates of a case and answer.

    Raises:
        PlanError: a figure is out of range, or there is no load.
        PriceError: an instance type or region that was asked for has no price.
    """
    load = load_of(case)
    table.price(case.choices.region, "lambda.request")  # A region without prices is said at once, by name.
    found = search(case, load, table, progress)
    recommended = recommend(case, found.candidates)
    optimum = optimum_usd_per_month(case, load, found)
    narrow = narrowed(case, load, table, found.candidates)
    possible = anchors_of(narrow, table, found.candidates)
    now = None if recommended is None else found.candidates[recommended].architecture
    return Plan(
        name=case.name,
        made_by=f"peaker {__version__}",
        region=case.choices.region,
        prices_published=_published(case, table),
        requests=round(load.requests),
        hours=load.hours_known,
        step_s=case.step_s,
        start=start.isoformat() if start else "",
        objective_ms=case.objective.latency_s * 1000,
        percentile=case.objective.percentile,
        figures=_figures(case),
        candidates=found.candidates,
        recommended=recommended,
        reasons=(*reasons_of(case, load, found.candidates, recommended), *_said(optimum)),
        turns=turns_of(narrow, table, now, possible) if now else (),
        sureness=sureness_of(narrow, table, now, possible) if now else (),
        left_out=found.left_out,
        traffic=_moments(load),
        curve=_curve(load),
        count_costs=_count_costs(found),
        optimum_usd_per_month=optimum,
        simulated_with=_simulated_with(case),
    )


def _simulated_with(case: Case) -> SimulatedWith:
    work, choices = case.work, case.choices
    return SimulatedWith(
        service_s=work.service.quantiles_s,
        cpu_share=work.cpu_share.value,
        cold_start_s=work.cold_start.quantiles_s,
        spillable_share=case.needs.spillable_share,
        speed=choices.speed,
        queue_wait_s_max=choices.queue_wait_s_max,
        keep_alive_s=choices.keep_alive_s,
        invoke_overhead_s=choices.invoke_overhead_s,
        concurrency_max=choices.concurrency_max,
        architecture=choices.architecture,
    )


def optimum_usd_per_month(case: Case, load: Load, found: Found) -> float:
    """The line that no plan can beat: the clairvoyant optimum of the size that the hybrids chose; 0 without one.

    A plan's month is its traffic over and over, so traffic shorter than a day is repeated to one before it is decided:
    else each of its few minutes would pay starts that the month pays once.
    """
    size, price = found.size, found.price
    if size is None or price is None:
        return 0.0
    rates, tick_s = ticks(load.rates, load.step_s)
    rates = np.tile(rates, max(1, math.ceil(DAY_S / (len(rates) * tick_s))))
    cost = ServerCost(
        server_usd=size.usd_per_hour,
        function_usd=size.requests_per_s * 3600 * price.usd,
        start_s=case.choices.server_start_s,
    )
    best = clairvoyant(rates / size.requests_per_s, tick_s, cost)
    return best.usd * HOURS_PER_MONTH / (len(rates) * tick_s / 3600)


def _said(optimum_usd: float) -> tuple[str, ...]:
    if not optimum_usd:
        return ()
    bound = f"servers of one kind and functions could not cost less than ${optimum_usd:,.2f} a month"
    on_top = "load balancer, disks, CPU above a burstable share and data out come on top"
    return (f"{bound} even with the future known (clairvoyant optimum; {on_top})",)


def _published(case: Case, table: PriceTable) -> str:
    dates = [
        tier.published
        for (region, _), tiers in table.services.items()
        if region == case.choices.region
        for tier in tiers
    ]
    return f"{min(dates)} to {max(dates)}" if dates else ""


def _figures(case: Case) -> tuple[NamedFigure, ...]:
    work, choices = case.work, case.choices
    given = Origin.GIVEN.value
    return (
        _times_figure("time of a request on a server", work.service),
        NamedFigure(
            name="share of it that computes",
            value=f"{work.cpu_share.value:.0%}",
            origin=work.cpu_share.origin.value,
            note=work.cpu_share.note,
        ),
        _times_figure("cold start", work.cold_start),
        NamedFigure(
            name="memory of a worker",
            value=f"{work.worker_memory_mb.value:,.0f} MB",
            origin=work.worker_memory_mb.origin.value,
            note=work.worker_memory_mb.note,
        ),
        NamedFigure(
            name="least memory of a function",
            value=f"{work.function_memory_mb.value:,.0f} MB",
            origin=work.function_memory_mb.origin.value,
            note=work.function_memory_mb.note,
        ),
        NamedFigure(
            name="size of an answer",
            value=human_bytes(work.response_bytes.value),
            origin=work.response_bytes.origin.value,
            note=work.response_bytes.note,
        ),
        NamedFigure(
            name="speed of a vCPU against the machine that was measured on",
            value=f"{choices.speed:g}",
            origin=_speed_origin(choices).value,
            note="" if choices.speed_measured is None else "between {:.3g} and {:.3g}".format(*choices.speed_measured),
        ),
        NamedFigure(
            name="people's work a month",
            value=f"servers {choices.operations.servers_h:g} h, functions {choices.operations.functions_h:g} h, "
            f"${choices.operations.usd_per_h:g} an hour",
            origin=given,
            note="" if choices.operations.usd_per_h else "not counted",
        ),
    )


def _speed_origin(choices: Choices) -> Origin:
    if choices.speed_measured is not None:
        return Origin.MEASURED
    return Origin.GIVEN if choices.speed != 1 else Origin.ASSUMED


def _times_figure(name: str, times: Times) -> NamedFigure:
    quantiles = times.quantiles_s
    value = f"mean {human_duration(times.mean_s)}"
    if len(quantiles) > 1:
        at = np.interp((0.5, 0.95), np.linspace(0, 1, len(quantiles)), quantiles)
        value += f", median {human_duration(float(at[0]))}, 95 % within {human_duration(float(at[1]))}"
    return NamedFigure(name=name, value=value, origin=times.origin.value, note=times.note)


def _moments(load: Load) -> tuple[Moment, ...]:
    rates = load.rates
    each = max(1, -(-len(rates) // MOMENTS))
    parts = [rates[first : first + each] for first in range(0, len(rates), each)]
    return tuple(
        Moment(
            start_s=index * each * load.step_s,
            mean_per_s=round(float(part.mean()), 6),
            peak_per_s=round(float(part.max()), 6),
        )
        for index, part in enumerate(parts)
    )


def _curve(load: Load) -> tuple[CurvePoint, ...]:
    """The load-duration curve: levels from the highest, with the share of the time at or above each."""
    levels, hours = load.levels[::-1], load.hours[::-1]
    shares: NDArray[np.float64] = np.cumsum(hours) / load.hours_known
    keep = np.unique(np.linspace(0, len(levels) - 1, CURVE_POINTS).astype(np.int64))
    return tuple(CurvePoint(share=float(shares[i]), requests_per_s=float(levels[i])) for i in keep)


def _count_costs(found: Found) -> tuple[CountCost, ...]:
    if found.best is None:
        return ()
    rows = zip(found.best.servers_usd.tolist(), found.best.functions_usd.tolist(), strict=True)
    return tuple(
        CountCost(servers=count, servers_usd=servers, functions_usd=functions)
        for count, (servers, functions) in enumerate(rows)
        if np.isfinite(servers)
    )
