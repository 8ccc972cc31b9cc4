"""Rules followed through traces: the model of costs worked by hand, and what the default policy reaches.

The traces are made here (`traffic/synthetic.py`); real ones are measured by the benchmark `provisioning`.
"""

import json
import math
import random
import time
from itertools import pairwise

import numpy as np
import pytest

from peaker.errors import TraceError
from peaker.policy.baseline import DEFAULT, Bounds, Economics, Seen, make_baseline
from peaker.simulate.provisioning import Course, Judgement, cost_of, demand_of, followed, judged
from peaker.traffic.synthetic import Burst, Description, counts
from peaker.traffic.trace import GAP, Trace


def economics_of(price_ratio: float, *, start_s: float = 90.0, step_s: float = 30.0) -> Economics:
    return Economics(
        server_usd_per_hour=1.0, function_usd_per_server_hour=price_ratio, server_start_s=start_s, step_s=step_s
    )


def course_of(name: str, demand: np.ndarray, economics: Economics, servers: int | None = None) -> Course:
    return followed(make_baseline(name, economics, servers=servers), demand, economics, begin_s=1.6e9)


def judgement_of(name: str, demand: np.ndarray, economics: Economics) -> Judgement:
    return judged(course_of(name, demand, economics), economics, break_even=course_of("break-even", demand, economics))


def test_ready_and_starting_servers_and_spilled_demand_are_paid_for() -> None:
    demand = np.array([2.5, 2.5, 2.5, 2.5, 2.5])
    economics = economics_of(10.0)
    course = course_of("fixed", demand, economics, servers=2)
    assert course.starting.tolist() == [2, 2, 2, 0, 0]
    assert course.ready.tolist() == [0, 0, 0, 2, 2]
    assert course.spilled_servers.tolist() == [2.5, 2.5, 2.5, 0.5, 0.5]
    cost, hours = cost_of(course, economics), 30 / 3600
    assert cost.starting_usd == pytest.approx(6 * hours)
    assert cost.ready_usd == pytest.approx(4 * hours)
    assert cost.functions_usd == pytest.approx(8.5 * 10 * hours)
    assert (course.started, course.reversals) == (2, 0)


def test_a_policy_decides_before_it_sees_the_demand_of_the_step() -> None:
    demand = np.array([0.0] * 5 + [3.0] + [0.0] * 5)
    course = course_of("break-even", demand, economics_of(33.0))
    assert (course.ready + course.starting).tolist()[:6] == [0] * 6
    assert (course.ready + course.starting)[6] == 3


def test_finer_steps_are_averaged_and_coarser_ones_interpolated_between_their_middles() -> None:
    fine = Trace((1, 3, 5, 7, 100), 15.0)
    assert demand_of(fine, step_s=30.0, servers_mean=4.0).tolist() == [2.0, 6.0]
    coarse = Trace((1, 3), 60.0)
    assert demand_of(coarse, step_s=30.0, servers_mean=2.0).tolist() == [1.0, 1.5, 2.5, 3.0]


def test_steps_that_are_no_multiples_keep_the_work() -> None:
    assert demand_of(Trace((2, 4, 6), 20.0), step_s=30.0, servers_mean=4.0) == pytest.approx([8 / 3, 16 / 3])


def test_gaps_carry_the_last_value_forward() -> None:
    assert demand_of(Trace((GAP, 4, GAP, GAP, 2), 30.0), step_s=30.0, servers_mean=2.8).tolist() == [0, 4, 4, 4, 2]


def test_smoothing_is_a_centred_moving_mean() -> None:
    spiky = Trace((0, 0, 9, 0, 0), 30.0)
    assert demand_of(spiky, step_s=30.0, servers_mean=1.8, smooth_s=90.0) == pytest.approx([0, 3, 3, 3, 0])


@pytest.mark.parametrize(
    ("trace", "given", "message"),
    [
        (Trace((1, 2), 30.0), {"step_s": 0.0}, "step_s = 0 is not allowed; allowed: 0.1 to 86400"),
        (Trace((1, 2), 30.0), {"servers_mean": math.nan}, "servers_mean = nan"),
        (Trace((1, 2), 30.0), {"smooth_s": -1.0}, "smooth_s = -1"),
        (Trace((1, 2), 30.0), {"step_s": 90.0}, "it makes 0 steps of 90 s"),
        (Trace((0, 0, GAP), 30.0), {}, "there is no load in it"),
        (Trace((1, *[0] * 99), 30.0), {"servers_mean": 5000.0}, "its peak is 500,000 servers"),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(trace: Trace, given: dict[str, float], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        demand_of(trace, **{"step_s": 30.0, "servers_mean": 5.0, **given})


QUIET_DAY = Description(days=1, step_s=30, base_per_s=20, day_swing=0.6)
CROWDS_OF_A_DAY = Description(
    days=1, step_s=30, base_per_s=10, bursts=(Burst(per_s=40, every_h=2.1, lasts_min=12, rises_min=1.0),)
)
QUIET_DAYS = Description(days=3, step_s=30, base_per_s=20, day_swing=0.6)
CROWDS = Description(
    days=4, step_s=30, base_per_s=10, bursts=(Burst(per_s=40, every_h=2.1, lasts_min=12, rises_min=1.0),)
)
TIMED_CROWDS = Description(
    days=4, step_s=30, base_per_s=10, bursts=(Burst(per_s=60, every_h=24, lasts_min=25, first_h=5.0, rises_min=0.5),)
)


def demand_from(of: Description, servers_mean: float) -> np.ndarray:
    found = counts(of)
    return np.asarray(found * (servers_mean / found.mean()))


@pytest.mark.parametrize(
    ("of", "servers_mean", "price_ratio", "to_break_even"),
    [
        (QUIET_DAY, 6.0, 33.0, 0.99),
        (CROWDS_OF_A_DAY, 6.0, 16.0, 0.96),
        pytest.param(QUIET_DAYS, 6.0, 4.6, 1.01, marks=pytest.mark.long),
        pytest.param(CROWDS, 40.0, 33.0, 0.85, marks=pytest.mark.long),
        pytest.param(TIMED_CROWDS, 10.0, 33.0, 0.9, marks=pytest.mark.long),
        pytest.param(QUIET_DAYS, 40.0, 33.0, 0.95, marks=pytest.mark.long),
    ],
)
def test_the_default_policy_is_cheaper_than_break_even_and_keeps_its_bound(
    of: Description, servers_mean: float, price_ratio: float, to_break_even: float
) -> None:
    judgement = judgement_of(DEFAULT, demand_from(of, servers_mean), economics_of(price_ratio))
    assert judgement.to_break_even <= to_break_even
    assert judgement.cost.usd <= judgement.bound_usd
    assert judgement.to_optimum >= 1


@pytest.mark.long
def test_a_crowd_at_the_same_time_each_day_finds_servers_from_the_second_day_on() -> None:
    demand = demand_from(TIMED_CROWDS, 10.0)
    course = course_of(DEFAULT, demand, economics_of(33.0))
    first, last = (np.arange(len(demand))[demand > 30][index] for index in (0, -1))
    assert course.ready[first] < 20
    rise = int(last - last % 2880 + 600)  # 5 o'clock of the last day
    assert course.ready[rise : rise + 4].min() >= 25


RUNS = [1, 2, 3, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 60))]


@pytest.mark.parametrize("seed", RUNS)
def test_noise_around_a_constant_load_reverses_at_most_once_in_a_start_up_time(seed: int) -> None:
    """All but a few: where break-even itself goes to and fro, and slack is spent, the bound goes before steadiness."""
    chance = random.Random(seed)
    servers, start_steps = chance.uniform(0.5, 30.0), chance.randint(1, 9)
    noise = np.random.default_rng(seed).poisson(servers * 100, 720) / 100
    economics = economics_of(chance.choice([2.3, 4.6, 16.0, 33.0]), start_s=10.0 * start_steps, step_s=10.0)
    changes = np.diff(
        (course := course_of(DEFAULT, noise, economics)).ready + course.starting,
    )
    when = np.flatnonzero(changes)
    reversals = [int(after) for before, after in pairwise(when) if changes[before] * changes[after] < 0]
    early = sum(after - before < start_steps for before, after in pairwise(reversals))
    assert early <= max(1, len(reversals) // 5)


@pytest.mark.parametrize(("servers", "limit_ms"), [(50.0, 3.0), (1000.0, 12.0)])
def test_a_decision_takes_about_a_millisecond_and_its_state_stays_small(servers: float, limit_ms: float) -> None:
    """The limits are several times what is measured: 0.3 ms and 1 ms on a quiet core."""
    economics = economics_of(16.0, step_s=10.0)
    rule = make_baseline(DEFAULT, economics, Bounds(servers_max=5000))
    chance, took_s, ready = random.Random(1), [], 0
    for step in range(400):
        demand = servers * (1 + 0.5 * math.sin(step / 60)) * chance.uniform(0.9, 1.1)
        seen = Seen(now_s=1.6e9 + 10 * step, demand_servers=demand, servers_ready=ready)
        began_s = time.thread_time()
        ready = rule.decide(seen).servers
        took_s.append(time.thread_time() - began_s)
    assert sorted(took_s)[200] * 1000 < limit_ms
    assert len(json.dumps(rule.state())) < 400_000
