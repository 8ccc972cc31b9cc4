"""The simulation of servers and functions: deterministic, bounded, and true in cases that can be worked by hand."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from peaker.plan.fluid import spilled_by_step
from peaker.plan.outcome import Outcome
from peaker.plan.quick import simulate, simulate_times
from peaker.plan.workload import FunctionPool, PlanError, Rules, ServerPool, Workload, exponential_quantiles
from peaker.policy.placement import Placement

CONSTANT = Workload(service_quantiles_s=(1.0,), cold_start_quantiles_s=(0.25,))
POOL = ServerPool(slots=2)
FUNCTIONS = FunctionPool(keep_alive_s=10.0)
RULES = Rules(objective_s=10.0, queue_wait_s_max=0)
FUNCTIONS_ONLY = dataclasses.replace(RULES, placement=Placement.FUNCTIONS)
WEB = Workload(service_quantiles_s=exponential_quantiles(0.1, 101), cold_start_quantiles_s=(0.1, 0.2, 0.5))

SMALL_CASES = """
import numpy as np
from peaker.plan.quick import simulate
from peaker.plan.workload import *
counts = np.random.default_rng(1).poisson(80, 20)
servers = np.array([1] * 8 + [0] * 2 + [2] * 10)
for share in (0.0, 0.5):
    work = Workload(service_quantiles_s=exponential_quantiles(0.1, 101), cold_start_quantiles_s=(0.1, 0.4),
                    cpu_share=share, spillable_share=0.8)
    print(simulate(counts, 1.0, servers, work, ServerPool(slots=3, workers=2), FunctionPool(concurrency_max=5),
                   Rules(objective_s=0.3, queue_wait_s_max=1.0), seed=3, by_step=True))
"""


def _printed(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SMALL_CASES],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return done.stdout


def test_the_same_seed_gives_the_same_answer_compiled_or_not() -> None:
    compiled = _printed()
    assert "spilled=" in compiled
    assert compiled == _printed()
    assert compiled == _printed(NUMBA_DISABLE_JIT="1")


def _accounted(outcome: Outcome) -> int:
    return outcome.served + outcome.waited + outcome.spilled + outcome.refused + outcome.timed_out


@pytest.mark.parametrize("cpu_share", [0.0, 0.4])
@pytest.mark.parametrize("placement", list(Placement))
def test_every_request_has_one_end_and_every_answer_a_latency(placement: Placement, cpu_share: float) -> None:
    counts = np.random.default_rng(2).poisson(300, 60)
    servers = np.arange(60) // 20
    outcome = simulate(
        counts,
        1.0,
        servers,
        dataclasses.replace(WEB, cpu_share=cpu_share, spillable_share=0.7),
        ServerPool(slots=6, workers=2),
        FunctionPool(concurrency_max=15),
        Rules(objective_s=0.3, queue_wait_s_max=2.0, queue_max=20, placement=placement),
        seed=1,
        by_step=True,
    )
    assert _accounted(outcome) == outcome.requests == counts.sum()
    assert outcome.server_latency.total == outcome.served + outcome.waited
    assert outcome.function_latency.total == outcome.spilled == sum(outcome.spilled_by_step)
    assert outcome.refused + outcome.timed_out == sum(outcome.refused_by_step)
    assert outcome.instances_max <= 15
    assert outcome.queue_peak <= 20 * 4
    assert outcome.utilisation <= 1.2  # Who began before a server went counts to the end.


def test_what_finds_no_slot_runs_on_an_instance_and_is_billed() -> None:
    """Two slots of one second; the third starts an instance, the fourth finds it idle at 2 s, others find it ended."""
    outcome = simulate_times([0.0, 0.1, 0.2, 2.0, 2.1, 2.2, 30.0], 1, CONSTANT, POOL, FUNCTIONS, RULES, seed=1)
    assert (outcome.served, outcome.spilled, outcome.cold_starts) == (5, 2, 1)
    assert (outcome.billed_run_ms, outcome.billed_init_ms, outcome.instances_max) == (2000, 250, 1)
    # Starts and runs 1.25 s, idles from 1.45 to 2.2 s, runs to 3.2 s, and is kept for ten seconds more.
    assert outcome.instance_s == pytest.approx(1.25 + 0.75 + 1.0 + 10.0)
    assert outcome.function_latency.quantile_s(0.0) == pytest.approx(1.0, rel=0.01)
    assert outcome.function_latency.quantile_s(1.0) == pytest.approx(1.25, rel=0.01)


def test_instances_are_started_no_faster_than_the_limit() -> None:
    pool = FunctionPool(starts_burst=3, starts_per_s=1.0)
    outcome = simulate_times([0.0] * 5 + [0.5] * 2 + [2.0] * 5, 0, CONSTANT, POOL, pool, FUNCTIONS_ONLY, seed=1)
    # Three at once; at 0.5 s half a start has come back; at 2 s two more, and the first three are idle again.
    assert (outcome.cold_starts, outcome.spilled, outcome.refused) == (5, 8, 4)


def test_a_request_waits_for_a_slot_that_comes_in_time_and_not_for_one_that_does_not() -> None:
    waits = Rules(objective_s=10.0, queue_wait_s_max=0.5, spill=False)
    outcome = simulate_times([0.0, 0.0, 0.6, 1.2, 1.2], 1, CONSTANT, POOL, FUNCTIONS, waits, seed=1)
    # At 0.6 s two run until 1 s: it waits 0.4 s. At 1.2 s one is free; the last would wait until 1.6 s.
    assert (outcome.served, outcome.waited, outcome.timed_out) == (3, 1, 1)
    assert outcome.waited_s == pytest.approx(0.4)


def test_a_worker_behind_by_more_than_the_lag_takes_nothing_new() -> None:
    busy = dataclasses.replace(CONSTANT, cpu_share=1.0)
    pool = ServerPool(slots=10, lag_s_max=0.5)
    outcome = simulate_times([0.0, 0.1, 0.6, 0.7], 1, busy, pool, FUNCTIONS, RULES, seed=1)
    # The core is behind by 1 s, 0.9 s, 0.4 s (taken, and then by 1.4 s) and 1.3 s.
    assert (outcome.served, outcome.spilled) == (2, 2)


def test_servers_that_come_take_over_and_those_that_go_finish_their_work() -> None:
    counts, servers = [2, 2, 2], [0, 1, 0]
    outcome = simulate(counts, 2.0, servers, CONSTANT, POOL, FUNCTIONS, RULES, seed=1, by_step=True, spacing="even")
    assert outcome.spilled_by_step == (2, 0, 2)
    assert outcome.worker_s == 2.0


@pytest.mark.parametrize("step_s", [1, 60])
@pytest.mark.parametrize(("objective_s", "rate", "slots"), [(0.3, 65, 8), (0.6, 300, 16), (0.15, 1000, 16)])
def test_the_sum_by_steps_spills_what_the_simulation_spills(
    step_s: int, objective_s: float, rate: int, slots: int
) -> None:
    at = np.arange(3600)
    rates = rate * (1 + 0.4 * np.sin(at / 3600 * 2 * np.pi))
    rates[1500:1800] *= 2.5
    counts = np.random.default_rng(3).poisson(rates).reshape(-1, step_s).sum(axis=1)
    servers, rules = max(1, round(rate * 0.11 / slots)), Rules(objective_s=objective_s)
    pool, functions = ServerPool(slots=slots), FunctionPool(overhead_s=0.015)
    seen = simulate(counts, step_s, servers, WEB, pool, functions, rules, seed=1).spilled_share
    assert 0.05 < seen < 0.5
    assert spilled_by_step(counts, step_s, servers, WEB, pool, functions, rules).share == pytest.approx(seen, abs=0.01)


@pytest.mark.parametrize(
    ("counts", "servers", "named"),
    [([], 1, "counts"), ([1.5], 1, "counts"), ([-1], 1, "counts"), ([1], -1, "servers"), ([1, 2], [1], "servers")],
)
def test_bad_traffic_is_refused_by_name(counts: list[float], servers: object, named: str) -> None:
    with pytest.raises(PlanError, match=named):
        simulate(counts, 1.0, servers, CONSTANT, POOL, FUNCTIONS, RULES, seed=1)  # type: ignore[arg-type]
