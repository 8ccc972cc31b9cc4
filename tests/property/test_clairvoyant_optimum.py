"""The optimum by levels against every possible schedule of small traces."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peaker.plan.optimum import ServerCost, clairvoyant, duration_curve, fixed, screening
from peaker.plan.workload import PlanError

STEP_S = 30.0

demands = st.lists(st.floats(0, 2, allow_nan=False).map(lambda value: round(value, 2)), min_size=1, max_size=7)


def _costs(billed_s_min: list[float]) -> st.SearchStrategy[ServerCost]:
    return st.builds(
        ServerCost,
        server_usd=st.just(1.0),
        function_usd=st.sampled_from([0.5, 1.7, 2.3, 4.6, 16.0]),
        start_s=st.sampled_from([0.0, 20.0, 60.0, 90.0]),
        billed_s_min=st.sampled_from(billed_s_min),
    )


any_costs = _costs([0.0, 60.0, 120.0])


def _schedules(steps: int, start: int, least: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways of one server to be paid: runs of at least `least` steps, of which the first `start` only start.

    Two runs may touch: the server is let go, and another starts at once. A run may be cut by the end of the trace.
    """
    found = []
    for marks in itertools.product((0, 1, 2), repeat=steps):  # 0 is off, 1 is paid on, 2 begins a run.
        paid, ready, age, is_whole = [0] * steps, [0] * steps, -1, True
        for step, mark in enumerate(marks):
            ends = mark != 1
            if ends and 0 <= age < least - 1:
                is_whole = False
            if mark == 0:
                age = -1
                continue
            if mark == 1 and age < 0:
                is_whole = False
            age = 0 if mark == 2 else age + 1
            paid[step], ready[step] = 1, int(age >= start)
        if is_whole:
            found.append((tuple(paid), tuple(ready)))
    return sorted(set(found))


def _cheapest_usd(wanted: np.ndarray, cost: ServerCost, servers: int) -> float:
    """By trying every schedule of every server."""
    schedules = [(np.array(paid), np.array(ready)) for paid, ready in _schedules(len(wanted), *cost.steps(STEP_S))]
    best = math.inf
    for chosen in itertools.combinations_with_replacement(schedules, servers):
        spilled = np.maximum(0, wanted - sum(ready for _, ready in chosen)).sum()
        best = min(best, sum(paid.sum() for paid, _ in chosen) * cost.server_usd + spilled * cost.function_usd)
    return best * STEP_S / 3600


@settings(max_examples=60, deadline=None)
@given(demands, _costs([0.0]))
def test_no_schedules_of_two_servers_are_cheaper(demand: list[float], cost: ServerCost) -> None:
    wanted = np.array(demand[:5])
    assert clairvoyant(wanted, STEP_S, cost).usd == pytest.approx(_cheapest_usd(wanted, cost, 2), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(demands, any_costs)
def test_no_schedule_of_one_server_is_cheaper_with_a_least_billing_either(
    demand: list[float], cost: ServerCost
) -> None:
    wanted = np.minimum(demand, 1.0)
    assert clairvoyant(wanted, STEP_S, cost).usd == pytest.approx(_cheapest_usd(wanted, cost, 1), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), any_costs)
def test_the_optimum_is_at_most_any_fixed_number_and_at_least_the_cheaper_price(
    demand: list[float], cost: ServerCost
) -> None:
    optimum = clairvoyant(demand, STEP_S, cost)
    assert optimum.usd == pytest.approx(optimum.server_usd + optimum.function_usd)
    assert np.all(optimum.paid >= optimum.ready)
    least_usd = sum(demand) * min(cost.server_usd, cost.function_usd) * STEP_S / 3600
    assert optimum.usd >= least_usd - 1e-9
    with_head_start = clairvoyant(demand, STEP_S, cost, servers_at_first=10)
    for servers in range(11):
        assert with_head_start.usd <= fixed(demand, servers, STEP_S, cost).usd + 1e-9


@settings(deadline=None)
@given(st.lists(st.floats(0, 9), min_size=1, max_size=40), st.sampled_from([0.5, 1.7, 4.6, 16.0]))
def test_the_screening_curve_finds_the_cheapest_fixed_number(demand: list[float], function_usd: float) -> None:
    cost = ServerCost(server_usd=1.0, function_usd=function_usd)
    best = min(fixed(demand, servers, STEP_S, cost).usd for servers in range(11))
    assert fixed(demand, screening(demand, cost), STEP_S, cost).usd == pytest.approx(best, abs=1e-9)


def test_the_load_duration_curve_counts_the_work_of_each_level() -> None:
    assert duration_curve([0.5, 2.25, 1.0, 3.0], 4).tolist() == [3.5, 2.0, 1.25, 0.0]
    assert duration_curve([5.0, 5.0], 2).tolist() == [2.0, 2.0]


def test_without_a_start_a_server_is_there_when_it_saves_and_else_is_not() -> None:
    cost = ServerCost(server_usd=1.0, function_usd=2.0)
    assert clairvoyant([0.4, 0.6, 0.5, 1.7], STEP_S, cost).ready.tolist() == [0, 1, 0, 2]


def test_a_server_bridges_a_gap_that_is_cheaper_than_a_start() -> None:
    cost = ServerCost(server_usd=1.0, function_usd=10.0, start_s=90)
    short = clairvoyant([1.0] * 10 + [0.0] * 2 + [1.0] * 10, STEP_S, cost, servers_at_first=1)
    long = clairvoyant([1.0] * 10 + [0.0] * 5 + [1.0] * 10, STEP_S, cost, servers_at_first=1)
    assert short.paid.tolist() == [1] * 22
    assert long.paid.tolist() == [1] * 10 + [0] * 2 + [1] * 13
    assert long.ready.tolist() == [1] * 10 + [0] * 5 + [1] * 10


@pytest.mark.parametrize("demand", [[], [-1.0], [math.nan], [[1.0]]])
def test_a_demand_that_is_none_is_refused(demand: list[float]) -> None:
    with pytest.raises(PlanError, match="demand"):
        clairvoyant(demand, STEP_S, ServerCost(server_usd=1.0, function_usd=2.0))
