"""The world: the same seed writes the same journal, every request has one end, and queues are those of theory."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_worlds import faulty_world

from peaker.plan.theory import erlang_b, mmc_wait_s
from peaker.plan.workload import FunctionPool, PlanError, Rules, ServerPool, Workload, exponential_quantiles
from peaker.policy.placement import Placement
from peaker.simulate.case import Case, Fault, FaultKind
from peaker.simulate.world import FAILED, FUNCTION, REFUSED, SERVER, WHERE, run_world

APPS = Path(__file__).parents[1] / "apps"
SERVICE_S = 0.1
CASE = Case(
    counts=(60,) * 20,
    workload=Workload(service_quantiles_s=exponential_quantiles(SERVICE_S, 257)),
    pool=ServerPool(slots=8),
    functions=FunctionPool(concurrency_max=100),
    rules=Rules(objective_s=0.5),
    like="local",
)


def test_the_same_seed_writes_the_same_journal_also_in_another_process_with_other_hashes() -> None:
    case = faulty_world(7)
    ran = run_world(case, seed=7)
    assert case.faults
    assert run_world(case, seed=7).journal == ran.journal
    assert run_world(case, seed=8).digest != ran.digest
    program = (
        "from faulty_worlds import faulty_world; from peaker.simulate.world import run_world;"
        "print(run_world(faulty_world(7), seed=7, keep_journal=False).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(APPS)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ran.digest


@pytest.mark.parametrize("seed", [1])
def test_every_request_has_one_end_and_the_journal_tells_each(seed: int) -> None:
    case = faulty_world(seed)
    ran = run_world(case, seed=seed)
    assert len(ran.requests) == sum(case.counts) == ran.outcome.requests
    ends = [line.rsplit(" ", 1)[1] for line in ran.journal.decode().splitlines() if line.rsplit(" ", 1)[1] in WHERE]
    assert [ends.count(where) for where in WHERE] == list(ran.outcome.ends)
    assert all(one.latency_s >= 0 for one in ran.requests)
    assert ran.errors == ()


def test_waiting_on_servers_alone_is_that_of_erlang_c() -> None:
    """M/M/8 at 0.85: the mean time in the system within 5 %, over 10,000 requests."""
    rate = 0.85 * 8 / SERVICE_S
    waits = Rules(objective_s=100.0, queue_max=10_000, queue_wait_s_max=60.0, spill=False)
    ran = run_world(dataclasses.replace(CASE, counts=(10_000,), step_s=10_000 / rate, rules=waits), seed=3)
    mean_s = sum(one.latency_s for one in ran.requests) / len(ran.requests)
    assert mean_s == pytest.approx(SERVICE_S + mmc_wait_s(8, rate, SERVICE_S), rel=0.05)
    assert ran.outcome.ends[SERVER] == len(ran.requests)


def test_spilling_where_nobody_waits_is_that_of_erlang_b() -> None:
    """M/M/8/8: within one point, over 8,000 requests."""
    rate = 80
    at_once = Rules(objective_s=100.0, queue_wait_s_max=0.0)
    ran = run_world(dataclasses.replace(CASE, counts=(8_000,), step_s=8_000 / rate, rules=at_once), seed=5)
    share = ran.outcome.ends[FUNCTION] / len(ran.requests)
    assert share == pytest.approx(erlang_b(8, rate * SERVICE_S), abs=0.01)


def test_a_server_that_dies_loses_what_ran_in_it_and_another_is_started_in_its_place() -> None:
    dies = dataclasses.replace(CASE, faults=(Fault(at_s=10.0, kind=FaultKind.SERVER_DIES),), server_start_s=2.0)
    ran = run_world(dies, seed=1)
    failed = [one for one in ran.requests if one.where == FAILED]
    assert failed
    assert all(one.sent_s + one.latency_s == pytest.approx(10.0) for one in failed)
    refused = [one.sent_s for one in ran.requests if one.where == REFUSED]
    assert 10.0 <= min(refused) < max(refused) <= 12.0
    assert any(one.where == SERVER and one.sent_s > 12 for one in ran.requests)


def test_functions_that_are_away_are_not_used_and_are_used_again_when_they_are_back() -> None:
    away = Fault(at_s=5.0, for_s=6.0, kind=FaultKind.HOST_AWAY)
    busy = dataclasses.replace(CASE, counts=(120,) * 25, faults=(away,))
    ran = run_world(busy, seed=2)
    begun_s = [one.sent_s + one.latency_s for one in ran.requests if one.where == FUNCTION]
    assert any(at_s < 5.0 for at_s in begun_s)
    assert not any(5.0 < at_s < 11.0 for at_s in begun_s)
    assert any(at_s > 11.5 for at_s in begun_s)


def test_without_a_server_no_gate_stands_before_functions() -> None:
    with pytest.raises(PlanError, match="a gate runs in a worker"):
        dataclasses.replace(CASE, servers=0, rules=dataclasses.replace(CASE.rules, placement=Placement.FUNCTIONS))
