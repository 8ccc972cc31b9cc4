"""Routes on functions: which are chosen, what that costs beside spilling whatever comes, and what is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plan_cases import case, crowds, given, work

from peaker.plan.by_route import by_route, splits
from peaker.plan.case import Case, Needs, Objective, Origin, Route, Times, Trigger
from peaker.plan.levels import load_of
from peaker.plan.make import make_plan
from peaker.plan.plan import Architecture, Kind, from_json, to_json
from peaker.prices import load

TABLE = load()
MEMORY_MB = 512


def route(pattern: str, share: float, service_s: float, **changes: object) -> Route:
    made = Route(
        pattern=pattern,
        share=share,
        service=Times((0.5 * service_s, service_s, 1.5 * service_s), Origin.LOG),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


QUICK, SLOW = route("/titles/{}", 0.98, 0.004), route("/export", 0.02, 0.5)


def of_routes(*routes: Route, **changes: object) -> Case:
    """A launch every two hours on a steady load; the work is that of the routes together."""
    mean_s = sum(each.share * each.service.mean_s for each in routes)
    return replace(
        case(crowds(400, 6), work=work(mean_s, cpu_share=given(0.8)), routes=routes),
        **changes,  # type: ignore[arg-type]
    )


def test_the_route_that_saves_most_server_time_for_its_price_moves_first() -> None:
    moved = [tuple(each.pattern for each in split.routes) for split in splits(of_routes(QUICK, SLOW), TABLE, MEMORY_MB)]
    assert moved == [("/export",)], "and never all of them: then it is functions alone"


def test_a_route_that_waits_for_others_is_dear_on_a_function() -> None:
    waits = route("/report", 0.01, 0.5, cpu_share=given(0.02))
    computes = route("/export", 0.01, 0.5, cpu_share=given(1.0))
    first = next(splits(of_routes(QUICK, waits, computes), TABLE, MEMORY_MB))
    assert [each.pattern for each in first.routes] == ["/export"]


def test_what_is_split_is_all_of_it() -> None:
    whole = of_routes(QUICK, SLOW, route("/search", 0.5, 0.02))
    cpu_s = whole.work.cpu_s
    for split in splits(whole, TABLE, MEMORY_MB):
        both = (split.left, 1 - split.share), (split.moved, split.share)
        total = sum(each.share for each in whole.routes)
        assert sum(float(np.sum(part.counts)) for part, _ in both) == pytest.approx(float(np.sum(whole.counts)))
        assert sum(part.work.cpu_s * share for part, share in both) == pytest.approx(cpu_s / total)


def test_computing_on_functions_and_waiting_on_servers_costs_less_than_spilling_whatever_comes() -> None:
    """A feed waits a second for others, an export computes half a second: a function is paid for the second alike."""
    feed = route("/feed", 0.98, 1.0, cpu_share=given(0.01))
    export = route("/export", 0.02, 0.5, cpu_share=given(1.0))
    asked = replace(
        of_routes(feed, export, objective=Objective(latency_s=3.0)),
        counts=crowds(5, 20, lasts_s=120),
        work=work(0.99, cpu_share=given(0.02)),
    )
    found = make_plan(asked, TABLE)
    by_kind = {each.kind: each for each in found.candidates}
    split, spilling = by_kind[Kind.HYBRID_BY_ROUTE], by_kind[Kind.HYBRID_FIXED]
    assert split.function_routes == ("/export",)
    assert split.architecture is Architecture.HYBRID
    assert split.holds
    assert split.usd_per_month < 0.8 * spilling.usd_per_month
    assert split.spilled_share == pytest.approx(0.02, abs=0.002)
    assert found.answer is split
    assert from_json(to_json(found)) == found


def test_where_routes_are_alike_moving_one_saves_nothing() -> None:
    alike = [route(f"/{name}", 1 / 3, 0.1, cpu_share=given(0.3)) for name in "abc"]
    asked = replace(case(crowds(60, 10)), routes=tuple(alike))
    found = make_plan(asked, TABLE)
    by_kind = {each.kind: each for each in found.candidates}
    assert by_kind[Kind.HYBRID_BY_ROUTE].usd_per_month > by_kind[Kind.HYBRID_FIXED].usd_per_month
    assert found.answer is not None
    assert found.answer.kind is not Kind.HYBRID_BY_ROUTE


@pytest.mark.parametrize(
    "asked",
    [
        case(crowds(60, 10)),
        of_routes(replace(QUICK, may_leave=False), replace(SLOW, may_leave=False)),
        of_routes(QUICK, SLOW, needs=Needs(spillable_share=0.0)),
        of_routes(replace(QUICK, share=1.0)),
    ],
    ids=["no routes", "none may leave", "nothing may leave", "one route"],
)
def test_there_is_no_such_candidate_without_a_choice(asked: Case) -> None:
    assert by_route(asked, load_of(asked), TABLE, MEMORY_MB) is None


def test_events_have_no_routes() -> None:
    asked = of_routes(QUICK, SLOW, needs=Needs(trigger=Trigger.EVENT))
    assert not [each for each in make_plan(asked, TABLE).candidates if each.kind is Kind.HYBRID_BY_ROUTE]


def test_what_must_stay_is_left_on_the_servers() -> None:
    asked = of_routes(replace(QUICK, may_leave=False), SLOW, needs=Needs(spillable_share=0.02))
    split = next(splits(asked, TABLE, MEMORY_MB))
    assert split.left.needs.spillable_share == pytest.approx(0)
    assert split.moved.needs.spillable_share == 1
