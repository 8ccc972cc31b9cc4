"""All candidates of a case: for each kind the size that is cheapest by sums over the load's levels, then judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from peaker.errors import PriceError
from peaker.plan.by_route import by_route
from peaker.plan.capacity import ServerSize
from peaker.plan.case import Case, Trigger
from peaker.plan.cost import Front
from peaker.plan.judge import judged
from peaker.plan.levels import Load
from peaker.plan.plan import Candidate, Kind
from peaker.plan.sizes import function_memory_mb, server_sizes, task_sizes, worth_trying
from peaker.plan.supply import (
    Baselines,
    SpillPrice,
    Supply,
    baselines,
    fixed,
    functions_only,
    hybrid_controlled,
    hybrid_fixed,
    managed,
    provisioned,
    scaled,
    spill_price,
    usd_for_peak,
)
from peaker.prices import PriceTable

Progress = Callable[[str, int, int], None]
"""Told what is looked at now, how many have been, and how many there are."""


MANAGED_VCPUS_MIN = 2
"""Lambda Managed Instances take types of the C, M and R families from large on (AWS Lambda Developer Guide, 2026)."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search found; `best` are the baselines of the size that the fixed hybrid chose, None without servers."""

    candidates: tuple[Candidate, ...]
    left_out: tuple[str, ...]
    size: ServerSize | None
    best: Baselines | None
    price: SpillPrice | None


def search(case: Case, load: Load, table: PriceTable, progress: Progress | None = None) -> Found:
    """Judge every candidate.

    Raises:
        PriceError: an instance type that was asked for has no price.
    """
    left_out: list[str] = []
    sizes = server_sizes(case, load, table)
    price = _priced(lambda: spill_price(case, table, function_memory_mb(case, table)), "functions", left_out)
    hybrid_size, found = _best_baseline(case, load, sizes, price, table) if price else (None, None)
    makers = dict(_makers(case, load, table, sizes, price, hybrid_size, found))
    candidates: list[Candidate] = []
    for number, (name, make) in enumerate(makers.items()):
        if progress:
            progress(name, number, len(makers))
        supply = _priced(make, name, left_out)
        if supply is not None:
            judge = _priced(partial(judged, case, load, supply, table), name, left_out)
            candidates += [judge] if judge else []
    if hybrid_size is not None and price is not None and case.needs.trigger is Trigger.REQUEST:
        memory_mb = price.memory_mb
        split = _priced(lambda: by_route(case, load, table, memory_mb), Kind.HYBRID_BY_ROUTE.value, left_out)
        candidates += [split] if split else []
    if progress:
        progress("", len(makers), len(makers))
    if not sizes:
        left_out.append("servers: no instance type holds one worker and this load")
    return Found(tuple(candidates), tuple(left_out), hybrid_size, found, price)


_Made = TypeVar("_Made")


def _priced(make: Callable[[], _Made], name: str, left_out: list[str]) -> _Made | None:
    """What it makes, or None and a sentence where it has no price in the region."""
    try:
        return make()
    except PriceError as error:
        left_out.append(f"{name}: {error.what}")
        return None


def _best_baseline(
    case: Case, load: Load, sizes: list[ServerSize], price: SpillPrice, table: PriceTable
) -> tuple[ServerSize | None, Baselines | None]:
    """The size whose best fixed baseline costs least."""
    best: tuple[ServerSize, Baselines] | None = None
    least = float("inf")
    for size in worth_trying(sizes, load):
        found = baselines(case, load, size, price, table)
        usd = float(found.servers_usd[found.best] + found.functions_usd[found.best])
        if usd < least:
            best, least = (size, found), usd
    return best or (None, None)


def _makers(  # noqa: PLR0917 - what all of them are made from
    case: Case,
    load: Load,
    table: PriceTable,
    sizes: list[ServerSize],
    price: SpillPrice | None,
    hybrid_size: ServerSize | None,
    found: Baselines | None,
) -> Iterator[tuple[str, Callable[[], Supply]]]:
    """A name and a maker for each candidate; what cannot be made for want of a size or a price does not appear."""
    asked = case.needs.trigger is Trigger.REQUEST
    if sizes:
        peak = min(worth_trying(sizes, load), key=lambda size: usd_for_peak(case, load, size))
        yield "servers for the peak", lambda: fixed(case, load, peak, is_task=False)
        if asked:
            yield "servers, auto scaled", lambda: scaled(case, load, _fine(sizes, load), is_task=False)
    if asked:
        yield "Fargate for the peak", lambda: _task(case, load, table, is_fixed=True)
        yield "Fargate, auto scaled", lambda: _task(case, load, table, is_fixed=False)
    if price is None:
        return
    front = Front.FUNCTION_URL if asked else Front.NONE
    for each in (Front.FUNCTION_URL, Front.HTTP_API, Front.ALB) if asked else (Front.NONE,):
        yield f"functions, {each.value}", partial(functions_only, price.memory_mb, each)
    if asked:
        yield "functions, provisioned", lambda: provisioned(case, load, price, front)
        manageable = [size for size in sizes if size.baseline_share == 1 and size.vcpus >= MANAGED_VCPUS_MIN]
        if manageable:
            yield "functions on managed instances", lambda: managed(case, load, _fine(manageable, load), front)
    if hybrid_size is not None and found is not None and asked:
        yield "hybrid, fixed baseline", lambda: hybrid_fixed(case, load, hybrid_size, found, price)
        yield "hybrid, controlled baseline", lambda: hybrid_controlled(case, load, hybrid_size, price)


def _fine(sizes: list[ServerSize], load: Load) -> ServerSize:
    """For scaling: among the cheapest when busy, one of which the mean load needs a few, so that steps are small."""
    near = [size for size in sizes if size.usd_per_million <= sizes[0].usd_per_million * 1.1]
    few = [size for size in near if load.mean_per_s / size.requests_per_s >= 2]
    return max(few, key=lambda size: size.requests_per_s) if few else min(near, key=lambda size: size.usd_per_hour)


def _task(case: Case, load: Load, table: PriceTable, *, is_fixed: bool) -> Supply:
    sizes = task_sizes(case, load, table)
    if not sizes:
        raise PriceError("no size of a Fargate task holds one worker and this load")
    if is_fixed:
        size = min(sizes, key=lambda size: usd_for_peak(case, load, size))
        return fixed(case, load, size, is_task=True)
    cheapest = sorted(sizes, key=lambda size: size.usd_per_million)
    return scaled(case, load, _fine(cheapest, load), is_task=True)
