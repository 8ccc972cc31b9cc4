"""For every demand: the default policy's bound over break-even, its state through JSON, bounds, odd input."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peaker.policy.baseline import DEFAULT, NAMES, Bounds, Economics, Seen, make_baseline
from peaker.policy.break_even import starting_time_s
from peaker.policy.paper_fleet import PaperFleet
from peaker.policy.provision import Baseline
from peaker.simulate.provisioning import Course, cost_of, followed, judged, optimum_of

SERVER_USD = 0.04


def economics_of(price_ratio: float, start_steps: int) -> Economics:
    return Economics(
        server_usd_per_hour=SERVER_USD,
        function_usd_per_server_hour=SERVER_USD * price_ratio,
        server_start_s=30.0 * start_steps,
        step_s=30.0,
    )


def course_of(name: str, demand: list[float], economics: Economics) -> Course:
    return followed(make_baseline(name, economics), np.array(demand), economics, begin_s=1e9)


def require_within_bound(demand: list[float], economics: Economics) -> None:
    """After every step, not only after the last: the bound is kept at any time."""
    own, even = (course_of(name, demand, economics) for name in (DEFAULT, "break-even"))
    start_usd = economics.server_start_s / 3600 * SERVER_USD
    spent, line = (cumulative_usd(course, economics) for course in (own, even))
    assert np.all(spent <= 1.01 * line + start_usd + 1e-9)


def cumulative_usd(course: Course, economics: Economics) -> np.ndarray:
    servers = (course.ready + course.starting) * economics.server_usd_per_hour
    functions = course.spilled_servers * economics.function_usd_per_server_hour
    return np.asarray(np.cumsum(servers + functions) * economics.step_s / 3600)


DEMANDS = st.lists(
    st.one_of(st.just(0.0), st.floats(0, 12), st.sampled_from([0.5, 1.0, 3.0, 8.0])), min_size=1, max_size=80
)
RUNS = st.lists(st.tuples(st.floats(0, 12), st.integers(1, 40)), min_size=1, max_size=10)


@given(demand=DEMANDS, price_ratio=st.floats(0.5, 50), start_steps=st.integers(0, 6))
@example(demand=[5.0] + [0.0] * 40 + [5.0] * 3 + [0.0] * 10, price_ratio=33.0, start_steps=3)
@settings(max_examples=60, deadline=None)
def test_no_demand_makes_the_default_policy_cost_more_than_its_bound(
    demand: list[float], price_ratio: float, start_steps: int
) -> None:
    require_within_bound(demand, economics_of(price_ratio, start_steps))


@given(runs=RUNS, price_ratio=st.floats(1.1, 50), start_steps=st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_no_demand_that_stays_and_jumps_makes_it_cost_more_than_its_bound(
    runs: list[tuple[float, int]], price_ratio: float, start_steps: int
) -> None:
    demand = [value for value, steps in runs for _ in range(steps)]
    require_within_bound(demand, economics_of(price_ratio, start_steps))


def spiteful(fleet: PaperFleet, step: int) -> float:
    """Nothing while servers are ready, and more than all of them while they are not."""
    return 6.0 if fleet.ready < 2 + step % 3 else 0.0


def baiting(fleet: PaperFleet, step: int) -> float:
    """A long calm teaches the policies one thing; then comes the other."""
    return 4.0 if step % 200 < 150 else (8.0 if fleet.ready <= 4 else 0.0)


def just_above(fleet: PaperFleet, step: int) -> float:
    """Always a little more than there is, so that each server comes too late."""
    return min(fleet.servers + 0.9, 15.0) if step % 60 < 45 else 0.0


@pytest.mark.parametrize("adversary", [spiteful, baiting, just_above])
@pytest.mark.parametrize(("price_ratio", "start_steps"), [(2.3, 3), (33.0, 3), (8.0, 0)])
def test_no_demand_that_watches_its_decisions_makes_it_cost_more_than_its_bound(
    adversary: Callable[[PaperFleet, int], float], price_ratio: float, start_steps: int
) -> None:
    economics = economics_of(price_ratio, start_steps)
    require_within_bound(answered(DEFAULT, economics, adversary), economics)


def answered(name: str, economics: Economics, adversary: Callable[[PaperFleet, int], float]) -> list[float]:
    """The demand of an adversary that sees the servers after each decision."""
    baseline, fleet = make_baseline(name, economics), PaperFleet()
    demand: list[float] = []
    for step in range(800):
        seen = Seen(
            now_s=1e9 + 30 * step,
            demand_servers=demand[-1] if demand else None,
            servers_ready=fleet.ready,
            servers_starting=fleet.servers - fleet.ready,
        )
        fleet.order(baseline.decide(seen).servers, starting_time_s(economics))
        demand.append(adversary(fleet, step))
        fleet.pass_time(30)
    return demand


def require_factor(demand: list[float], economics: Economics) -> None:
    """Break-even against the clairvoyant optimum, in dollars; one round for each level comes on top."""
    ratio, steps = economics.price_ratio, max(1, economics.start_steps)
    levels = math.ceil(max(demand))
    round_usd = levels * (2 * steps + ratio * (steps + 1)) * economics.step_s / 3600 * SERVER_USD
    cost = cost_of(course_of("break-even", demand, economics), economics).usd
    limit = 3 + ratio * (steps + 1) / steps
    assert cost <= limit * optimum_of(np.array(demand), economics) + round_usd + 1e-9


@given(demand=DEMANDS, price_ratio=st.floats(1.01, 50), start_steps=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_break_even_keeps_its_factor_over_the_clairvoyant_optimum(
    demand: list[float], price_ratio: float, start_steps: int
) -> None:
    require_factor(demand, economics_of(price_ratio, start_steps))


@pytest.mark.parametrize(("price_ratio", "start_steps"), [(2.3, 3), (33.0, 3), (33.0, 1), (8.0, 0)])
def test_break_even_keeps_its_factor_where_load_goes_as_soon_as_a_server_is_ready(
    price_ratio: float, start_steps: int
) -> None:
    economics = economics_of(price_ratio, start_steps)
    require_factor(answered("break-even", economics, lambda fleet, _: 0.0 if fleet.ready else 1.0), economics)


@pytest.mark.parametrize("name", [each for each in NAMES if each != "fixed"])
@given(runs=RUNS, cut=st.integers(1, 60))
@settings(max_examples=12, deadline=None)
def test_a_restart_from_json_changes_no_decision(name: str, runs: list[tuple[float, int]], cut: int) -> None:
    economics = economics_of(8.0, 3)
    demand = [value for value, steps in runs for _ in range(steps)]
    whole = decisions(make_baseline(name, economics), demand, 0, len(demand))
    first = make_baseline(name, economics)
    before = decisions(first, demand, 0, min(cut, len(demand)))
    second = make_baseline(name, economics, state=json.loads(json.dumps(first.state())))
    assert before + decisions(second, demand, min(cut, len(demand)), len(demand)) == whole


def decisions(baseline: Baseline, demand: list[float], begin: int, end: int) -> list[int]:
    """What it decides if nobody acts on it, but for servers that are there at once."""
    servers, found = 3, []
    for step in range(begin, end):
        last = demand[step - 1] if step else None
        found.append(baseline.decide(Seen(now_s=30.0 * step, demand_servers=last, servers_ready=servers)).servers)
    return found


ODD_DEMAND = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1e12), st.just(-1.0))
ODD_STEPS = st.lists(
    st.tuples(ODD_DEMAND, st.floats(-1e6, 1e6), st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=40
)


@pytest.mark.parametrize("name", [each for each in NAMES if each != "fixed"])
@given(steps=ODD_STEPS, least=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_odd_observations_and_clocks_crash_nothing_and_break_no_bound(
    name: str, steps: list[tuple[float | None, float, int, int]], least: int
) -> None:
    baseline = make_baseline(name, economics_of(16.0, 3), Bounds(servers_min=least, servers_max=20))
    now_s = 1.7e9
    for demand, jump_s, ready, starting in steps:
        now_s += jump_s
        seen = Seen(now_s=now_s, demand_servers=demand, servers_ready=ready, servers_starting=starting)
        decision = baseline.decide(seen)
        assert least <= decision.servers <= 20
        assert math.isfinite(decision.reason.functions_usd)
    json.dumps(baseline.state(), allow_nan=False)


def test_the_share_of_the_bound_is_what_the_command_tells() -> None:
    economics, demand = economics_of(16.0, 3), [4.0] * 50 + [0.0] * 50
    own, even = (course_of(name, demand, economics) for name in (DEFAULT, "break-even"))
    told = judged(own, economics, break_even=even)
    assert told.bound_usd == pytest.approx(1.01 * cost_of(even, economics).usd + 90 / 3600 * SERVER_USD)
    assert told.cost.usd <= told.bound_usd
