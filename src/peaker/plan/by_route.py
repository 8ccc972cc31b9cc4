"""Whole routes on functions, the others on servers with functions above them.

Spilling takes whatever comes while servers are full. Where routes differ it can be cheaper to choose: an invocation
has a price of its own, so a long request costs less on a function for the work it takes off a server than a short
one, and one that waits for others holds an instance and hardly a server. Routes are therefore ranked by what a
function costs for the server time it saves, and the cheapest are moved: one, two, three, five, eight ... of them.

A log's routes are known in all, not step by step, so every route is taken to rise and fall with the whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from peaker.meter.bill import HOURS_PER_MONTH
from peaker.plan.capacity import ServerSize
from peaker.plan.case import Case, Figure, Route, Times, Work
from peaker.plan.cost import Front
from peaker.plan.judge import candidate_of, looked_at, seen_in, used_of
from peaker.plan.levels import Load, load_of
from peaker.plan.look import together
from peaker.plan.plan import Candidate, Kind
from peaker.plan.sizes import server_sizes, worth_trying
from peaker.plan.supply import Baselines, SpillPrice, baselines, functions_only, hybrid_fixed, spill_price
from peaker.prices import PriceTable

MOVED_MOST = 100
ROUTES_TOLD = 3
POINTS = 101


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """A case in two: `left` on servers and spilling, `moved` on functions alone; `share` of the requests moves."""

    routes: tuple[Route, ...]
    share: float
    left: Case
    moved: Case


def splits(case: Case, table: PriceTable, memory_mb: int) -> Iterator[Split]:
    """The cases in two that are worth a sum; none where routes are not told apart."""
    movable = [route for route in case.routes if route.may_leave]
    if not movable or case.needs.spillable_share == 0:
        return

    def usd_for_server_s(route: Route) -> float:
        work = _work(case, [route])
        usd = spill_price(replace(case, work=work), table, memory_mb).usd
        choices = case.choices
        return usd / max(work.cpu_s / choices.utilisation_max, work.service.mean_s / choices.slots_per_worker_max)

    ranked = sorted(movable, key=usd_for_server_s)
    before, count = 1, 1
    while count <= min(len(ranked), MOVED_MOST) and count < len(case.routes):
        yield _split(case, tuple(ranked[:count]))
        before, count = count, before + count


def by_route(case: Case, load: Load, table: PriceTable, memory_mb: int) -> Candidate | None:
    """The cheapest split, judged; None where routes are not told apart, or no server holds what is left.

    Raises:
        PriceError: something it uses has no price in the region.
    """
    sums = [summed for split in splits(case, table, memory_mb) if (summed := _sum(split, table, memory_mb))]
    if not sums:
        return None
    _, split, left_load, size, found, price = min(sums, key=lambda each: each[0])
    rest = hybrid_fixed(split.left, left_load, size, found, price)
    moved = functions_only(memory_mb, Front.NONE)
    moved_load = load_of(split.moved)
    looked = [
        (1 - split.share, looked_at(split.left, left_load, rest)),
        (split.share, looked_at(split.moved, moved_load, moved)),
    ]
    used = used_of(split.left, left_load, rest, table, looked[0][1].spilled_share, looked[0][1].cold_share)
    above = used_of(split.moved, moved_load, moved, table, 1.0, looked[1][1].cold_share)
    used = replace(
        used,
        requests=used.requests + above.requests,
        response_bytes=used.response_bytes + above.response_bytes,
        invocations=used.invocations + above.invocations,
        run_gb_s=used.run_gb_s + above.run_gb_s,
        init_gb_s=used.init_gb_s + above.init_gb_s,
    )
    count = len(split.routes)
    supply = replace(
        rest,
        kind=Kind.HYBRID_BY_ROUTE,
        title=f"{rest.title}, {count} route{'' if count == 1 else 's'} always there",
    )
    made = candidate_of(case, load, supply, seen_in(together(looked)), used, table)
    return replace(
        made,
        function_routes=tuple(route.pattern for route in split.routes),
        notes=(
            *made.notes,
            f"always on functions: {_told(split)}; every route is taken to rise and fall with the whole",
        ),
    )


def _told(split: Split) -> str:
    patterns = [route.pattern for route in split.routes]
    more = f" and {len(patterns) - ROUTES_TOLD} more" if len(patterns) > ROUTES_TOLD else ""
    return f"{', '.join(patterns[:ROUTES_TOLD])}{more} ({split.share:.1%} of the requests)"


_Sum = tuple[float, Split, Load, ServerSize, Baselines, SpillPrice]


def _sum(split: Split, table: PriceTable, memory_mb: int) -> _Sum | None:
    """Dollars a month of a split with its best size and number of servers, by Erlang's formulas."""
    load = load_of(split.left)
    price = spill_price(split.left, table, memory_mb)
    moved_usd = load_of(split.moved).requests * spill_price(split.moved, table, memory_mb).usd
    best: _Sum | None = None
    for size in worth_trying(server_sizes(split.left, load, table), load):
        found = baselines(split.left, load, size, price, table)
        usd = float(found.servers_usd[found.best] + found.functions_usd[found.best])
        usd += moved_usd * HOURS_PER_MONTH / load.hours_known
        if best is None or usd < best[0]:
            best = usd, split, load, size, found, price
    return best


def _split(case: Case, moved: tuple[Route, ...]) -> Split:
    left = tuple(route for route in case.routes if route not in moved)
    total = sum(route.share for route in case.routes)
    share = sum(route.share for route in moved) / total
    must_stay = 1 - case.needs.spillable_share
    return Split(
        routes=moved,
        share=share,
        left=replace(
            case,
            counts=case.counts * (1 - share),
            work=_work(case, left),
            needs=replace(case.needs, spillable_share=max(0.0, 1 - must_stay / (1 - share))),
            routes=left,
        ),
        moved=replace(
            case,
            counts=case.counts * share,
            work=_work(case, moved),
            needs=replace(case.needs, spillable_share=1.0),
            routes=moved,
        ),
    )


def _work(case: Case, routes: Sequence[Route]) -> Work:
    """The work of these routes alone."""
    share = sum(route.share for route in routes)
    mean_s = sum(route.share * route.service.mean_s for route in routes) / share
    cpu_s = sum(route.share * route.service.mean_s * _cpu_share(case, route).value for route in routes) / share
    return replace(
        case.work,
        service=_mixed(routes),
        cpu_share=replace(case.work.cpu_share, value=min(1.0, cpu_s / mean_s)),
    )


def _cpu_share(case: Case, route: Route) -> Figure:
    return route.cpu_share or case.work.cpu_share


def _mixed(routes: Sequence[Route]) -> Times:
    """Times of the mixture, brought to its exact mean."""
    pieces = sorted(
        ((low + high) / 2, route.share / max(1, len(route.service.quantiles_s) - 1))
        for route in routes
        for low, high in _between(route.service.quantiles_s)
    )
    total = sum(weight for _, weight in pieces)
    quantiles: list[float] = []
    upto, at = 0.0, 0
    for point in range(POINTS):
        wanted = point / (POINTS - 1) * total
        while at < len(pieces) - 1 and upto + pieces[at][1] < wanted:
            upto += pieces[at][1]
            at += 1
        quantiles.append(pieces[at][0])
    mean_s = sum(route.share * route.service.mean_s for route in routes) / sum(route.share for route in routes)
    made = Times(tuple(quantiles), routes[0].service.origin)
    return made.scaled(mean_s / made.mean_s)


def _between(quantiles: tuple[float, ...]) -> list[tuple[float, float]]:
    return list(itertools.pairwise(quantiles)) or [(quantiles[0], quantiles[0])]
