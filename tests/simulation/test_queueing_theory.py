"""The simulation held to what queueing theory proves."""

import math

import numpy as np
import pytest

from peaker.plan.outcome import Outcome
from peaker.plan.quick import simulate
from peaker.plan.theory import erlang_b, erlang_c, mg1_wait_s, mgc_wait_s, mmc_wait_s, mmc_wait_share_over
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, exponential_quantiles

SERVICE_S = 0.001
EXPONENTIAL = Workload(service_quantiles_s=exponential_quantiles(SERVICE_S))
WAITS = Rules(objective_s=1e6, queue_max=1_000_000, queue_wait_s_max=1e5, spill=False)
SPILLS_AT_ONCE = Rules(objective_s=1e6, queue_wait_s_max=0)
ENDLESS = FunctionPool(concurrency_max=100_000, starts_per_s=1e6)

RUNS = 10
T_99 = 3.25
"""Student's t for a two-sided 99 % interval of ten runs."""


def _simulate(load: float, slots: int, rules: Rules, *, workload: Workload, requests: float, seed: int) -> Outcome:
    rate = load / workload.service_mean_s
    counts = np.random.default_rng([seed, slots]).poisson(rate, max(1, round(requests / rate)))
    return simulate(counts, 1.0, 1, workload, ServerPool(slots=slots), ENDLESS, rules, seed=seed)


def _requests_for(expected: float, busy: float = 0.0, slots: int = 1) -> float:
    """Enough for 1 % to be some three standard errors; rare events come in clusters, so they need more.

    Near capacity a queue stays for long what it is, so that neighbours tell little more than one of them does.
    """
    if busy > 0.9:
        return 60e6 if slots < 50 else 400e6
    if expected > 0.25 or expected < 1e-6:
        return 4e6
    return 16e6 if expected > 0.1 else 60e6


def _assert_agrees(seen: list[float], expected: float, requests: float) -> None:
    """Within 1 % where it is over 0.01, else inside the 99 % interval of independent runs."""
    margin = 0.01 * expected if expected > 0.01 else T_99 * float(np.std(seen, ddof=1)) / RUNS**0.5 + 3 / requests
    mean = float(np.mean(seen))
    assert abs(mean - expected) <= margin, f"{mean:.6g}, expected {expected:.6g} +- {margin:.2g}"


def _check_waiting(slots: int, busy: float) -> None:
    expected = erlang_c(slots, busy * slots)
    requests = _requests_for(expected, busy, slots)
    outcomes = [
        _simulate(busy * slots, slots, WAITS, workload=EXPONENTIAL, requests=requests / RUNS, seed=seed)
        for seed in range(RUNS)
    ]
    _assert_agrees([outcome.waited / outcome.requests for outcome in outcomes], expected, requests)


def _check_spilling(slots: int, busy: float, workload: Workload = EXPONENTIAL) -> None:
    expected = erlang_b(slots, busy * slots)
    requests = _requests_for(expected)
    outcomes = [
        _simulate(busy * slots, slots, SPILLS_AT_ONCE, workload=workload, requests=requests / RUNS, seed=seed)
        for seed in range(RUNS)
    ]
    _assert_agrees([outcome.spilled_share for outcome in outcomes], expected, requests)
    assert not any(outcome.waited for outcome in outcomes)


@pytest.mark.parametrize(("slots", "busy"), [(1, 0.5), (2, 0.7), (5, 0.85), (20, 0.3), (100, 0.5)])
def test_the_share_that_waits_is_that_of_erlang_c(slots: int, busy: float) -> None:
    _check_waiting(slots, busy)


@pytest.mark.parametrize(("slots", "busy"), [(1, 0.8), (4, 1.5), (16, 0.2), (64, 1.5), (256, 0.5), (1024, 1.2)])
def test_the_share_that_spills_is_that_of_erlang_b(slots: int, busy: float) -> None:
    _check_spilling(slots, busy)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_waiting_and_spilling_agree_with_theory_over_the_whole_grid() -> None:
    for busy in (0.3, 0.5, 0.7, 0.85, 0.95):
        for slots in (1, 2, 5, 20, 100, 500):
            _check_waiting(slots, busy)
    for busy in (0.5, 0.8, 1.0, 1.5):
        for slots in (1, 4, 16, 64, 256, 1024):
            _check_spilling(slots, busy)


@pytest.mark.parametrize("quantiles", [(0.1,), (0.02, 0.03, 0.05, 0.1, 0.9)])
def test_the_spilled_share_does_not_depend_on_how_service_times_are_spread(quantiles: tuple[float, ...]) -> None:
    _check_spilling(6, 1.3, Workload(service_quantiles_s=quantiles))


@pytest.mark.parametrize("quantiles", [(0.001,), (0.0, 0.002), (0.0001, 0.0002, 0.0005, 0.001, 0.01)])
@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_the_mean_wait_with_one_slot_is_that_of_pollaczek_and_khinchine(
    quantiles: tuple[float, ...], busy: float
) -> None:
    workload = Workload(service_quantiles_s=quantiles)
    outcome = _simulate(busy, 1, WAITS, workload=workload, requests=4e6, seed=4)
    expected_s = mg1_wait_s(busy / workload.service_mean_s, workload.service_mean_s, workload.service_deviation_s)
    assert outcome.waited_s / outcome.requests == pytest.approx(expected_s, rel=0.015)


def test_how_long_requests_wait_is_spread_as_in_theory() -> None:
    slots, rate = 10, 8.0 / SERVICE_S
    outcome = _simulate(8.0, slots, WAITS, workload=EXPONENTIAL, requests=4e6, seed=5)
    assert outcome.waited_s / outcome.requests == pytest.approx(mmc_wait_s(slots, rate, SERVICE_S), rel=0.02)
    # Latency is wait + service, so that in units of the service time, with d = slots - load,
    # P(latency > t) = exp(-t) + C * (exp(-t) - exp(-d * t)) / (d - 1).
    waits, late = erlang_c(slots, 8.0), math.exp(-3.0)
    expected = late + waits * (late - math.exp(-2.0 * 3.0)) / (2.0 - 1)
    assert 1 - outcome.server_latency.share_within(3 * SERVICE_S) == pytest.approx(expected, rel=0.01)
    assert mmc_wait_share_over(slots, rate, SERVICE_S, 0.0) == waits


def test_the_approximation_for_many_slots_is_near_the_simulation() -> None:
    workload = Workload(service_quantiles_s=(0.0002, 0.0005, 0.0008, 0.001, 0.004))
    outcome = _simulate(8.5, 10, WAITS, workload=workload, requests=3e6, seed=6)
    rate = 8.5 / workload.service_mean_s
    guess_s = mgc_wait_s(10, rate, workload.service_mean_s, workload.service_deviation_s)
    assert outcome.waited_s / outcome.requests == pytest.approx(guess_s, rel=0.1)


def test_a_worker_whose_work_all_computes_is_a_queue_for_one_core() -> None:
    workload = Workload(service_quantiles_s=exponential_quantiles(SERVICE_S), cpu_share=1.0)
    pool = ServerPool(slots=1000, lag_s_max=1e6)
    counts = np.random.default_rng(7).poisson(0.7 / SERVICE_S, 2000)
    outcome = simulate(counts, 1.0, 1, workload, pool, ENDLESS, WAITS, seed=7)
    hold_s = outcome.utilisation * outcome.worker_s * pool.slots / outcome.requests
    assert outcome.core_utilisation == pytest.approx(0.7, rel=0.01)
    assert hold_s == pytest.approx(SERVICE_S / (1 - 0.7), rel=0.02)


def test_theory_holds_its_digits_with_ten_thousand_slots() -> None:
    """Halfin and Whitt: with slots = load + b * sqrt(load), Erlang C tends to 1 / (1 + b * cdf(b) / pdf(b))."""
    load, beta = 1_000_000.0, 1.0
    slots = round(load + beta * math.sqrt(load))
    pdf = math.exp(-beta * beta / 2) / math.sqrt(2 * math.pi)
    limit = 1 / (1 + beta * 0.5 * (1 + math.erf(beta / math.sqrt(2))) / pdf)
    assert erlang_c(slots, load) == pytest.approx(limit, rel=2e-3)
    assert erlang_b(10_000, 9_000) == pytest.approx(0.0, abs=1e-20)
    assert erlang_b(10, 5.0) == pytest.approx(0.018384570, rel=1e-7)  # Published Erlang B table.
