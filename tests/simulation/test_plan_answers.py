"""The whole plan on small traffic: the answer follows from the sums, and turns with the number that decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plan_cases import case, crowds, given, poisson, work

from peaker.plan.case import Case, Choices, Needs, Objective, Operations, Origin, Purchase, Resource, Times, Trigger
from peaker.plan.make import make_plan
from peaker.plan.plan import Architecture, Candidate, Kind, Plan, from_json, to_json
from peaker.plan.workload import PlanError
from peaker.prices import load

TABLE = load()
FIVE_MINUTES = 300


def plan(asked: Case) -> Plan:
    return make_plan(asked, TABLE)


def answer(asked: Case) -> Candidate:
    found = plan(asked).answer
    assert found is not None
    return found


def test_a_site_that_is_idle_between_bursts_belongs_on_functions() -> None:
    at = np.arange(14_400)
    assert answer(case(poisson(np.where(at < FIVE_MINUTES, 10.0, 0.0)))).architecture is Architecture.FUNCTIONS


def test_a_baseline_with_launches_above_it_is_hybrid() -> None:
    found = answer(case(crowds(60, 10)))
    assert found.architecture is Architecture.HYBRID
    assert found.holds
    assert 0 < found.spilled_share < 0.5


def test_with_flat_peaks_the_same_baseline_needs_servers_alone() -> None:
    busy = case(poisson(np.full(7200, 300.0)))
    assert answer(busy).architecture is Architecture.SERVERS


def test_work_that_keeps_state_stays_on_servers_whatever_it_costs() -> None:
    at = np.arange(14_400)
    idle = case(poisson(np.where(at < FIVE_MINUTES, 10.0, 0.0)), needs=Needs(state=True))
    found = plan(idle)
    assert found.answer is not None
    assert found.answer.architecture is Architecture.SERVERS
    assert any("keeps state" in reason for reason in found.reasons)


def test_people_s_hours_turn_a_small_service_to_functions() -> None:
    small = case(poisson(np.full(7200, 6.0)))
    assert answer(small).architecture is not Architecture.FUNCTIONS
    operations = Operations(servers_h=4, functions_h=0.5, usd_per_h=60)
    assert answer(replace(small, choices=Choices(operations=operations))).architecture is Architecture.FUNCTIONS


def test_an_event_needs_no_front_and_no_objective() -> None:
    uploads = case(poisson(np.full(1440, 0.3)), 60.0, needs=Needs(trigger=Trigger.EVENT))
    found = answer(uploads)
    assert found.architecture is Architecture.FUNCTIONS
    assert found.front == "none"


def test_a_job_of_half_an_hour_runs_on_servers() -> None:
    jobs = case(
        poisson(np.full(200, 0.3)),
        300.0,
        work=work(1800.0, cpu_share=given(0.9)),
        needs=Needs(trigger=Trigger.JOB, longest_s=2700),
        objective=Objective(latency_s=7200),
    )
    assert answer(jobs).architecture is Architecture.SERVERS


def test_an_objective_that_nothing_meets_gets_the_closest_and_what_would_be_met() -> None:
    found = plan(case(crowds(20, 10), objective=Objective(latency_s=0.01)))
    assert found.recommended is None
    assert "comes closest" in found.reasons[0]
    assert any("it would be met at" in reason for reason in found.reasons)


def test_the_same_case_gives_the_same_plan_and_a_saved_plan_is_read_back_equal() -> None:
    asked = case(crowds(20, 10, seconds=3600))
    first, again = plan(asked), plan(asked)
    assert to_json(first) == to_json(again)
    assert from_json(to_json(first)) == first


def test_every_dollar_of_a_candidate_is_a_line_of_its_bill_with_a_source() -> None:
    for candidate in plan(case(crowds(20, 10, seconds=3600))).candidates:
        assert candidate.usd_per_month == pytest.approx(sum(line.usd for line in candidate.bill))
        assert all(line.source for line in candidate.bill)


def test_what_has_no_price_in_a_region_is_left_out_by_name() -> None:
    found = plan(case(crowds(20, 10, seconds=3600), choices=Choices(region="ap-southeast-1")))
    assert any("provisioned" in sentence and "ap-southeast-1" in sentence for sentence in found.left_out)
    assert Kind.PROVISIONED not in {each.kind for each in found.candidates}


def test_what_was_assumed_is_said() -> None:
    guessed = work(service=Times((0.1,), Origin.ASSUMED))
    found = plan(case(crowds(20, 10, seconds=3600), work=guessed))
    assert any("nobody told the time of a request" in sentence for sentence in found.sureness)


def test_no_load_is_no_plan() -> None:
    with pytest.raises(PlanError, match="load = 0"):
        plan(case(np.zeros(100)))


def test_a_commitment_is_paid_for_servers_that_always_run_and_a_missing_rate_is_said() -> None:
    asked = case(crowds(20, 10, seconds=3600), needs=Needs(state=True))
    known = replace(asked, choices=Choices(instance_types=("m7g.large",)))
    committed = replace(known, choices=replace(known.choices, purchase=Purchase.ONE_YEAR))
    plain, bound = answer(known), answer(committed)
    (line,) = [line for line in bound.bill if line.usd < 0]
    assert "1 year" in line.item
    assert line.source
    assert bound.usd_per_month == pytest.approx(plain.usd_per_month + line.usd)
    unknown = replace(asked, choices=Choices(instance_types=("c7g.large",), purchase=Purchase.THREE_YEARS))
    assert any("no rate of 3 years is known for c7g.large" in note for note in answer(unknown).notes)


def test_spot_capacity_is_cheaper_and_says_that_it_may_be_taken_away() -> None:
    asked = case(crowds(20, 10, seconds=3600), needs=Needs(state=True))
    spot = answer(replace(asked, choices=Choices(instance_types=("c7g.large",), purchase=Purchase.SPOT)))
    on_demand = answer(replace(asked, choices=Choices(instance_types=("c7g.large",))))
    assert spot.usd_per_month < on_demand.usd_per_month
    assert any("taken away" in note for note in spot.notes)


def test_a_database_that_functions_would_overbook_keeps_the_peaks_on_servers() -> None:
    launches = case(crowds(60, 10))
    assert answer(launches).architecture is Architecture.HYBRID
    few = replace(launches, needs=Needs(resources=(Resource(name="db", connections_max=60),)))
    found = plan(few)
    assert found.answer is None or found.answer.architecture is Architecture.SERVERS
    hybrid = next(each for each in found.candidates if each.kind is Kind.HYBRID_FIXED)
    assert any("connections to db, which takes 60" in reason for reason in hybrid.breaks)


def test_no_candidate_costs_less_than_the_clairvoyant_optimum() -> None:
    found = plan(case(crowds(60, 10)))
    assert found.optimum_usd_per_month > 0
    hybrids = [each for each in found.candidates if each.architecture is Architecture.HYBRID]
    assert all(each.usd_per_month > found.optimum_usd_per_month for each in hybrids)
    assert any("clairvoyant optimum" in reason for reason in found.reasons)


def test_nor_where_the_log_is_shorter_than_a_server_takes_to_start() -> None:
    found = plan(case(poisson(np.full(50, 200.0))))
    assert found.optimum_usd_per_month > 0
    assert min(each.usd_per_month for each in found.candidates) > found.optimum_usd_per_month
