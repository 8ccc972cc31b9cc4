"""What one server holds, and what is possible at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plan_cases import case, given, work

from peaker.plan.capacity import function_stretch, server_on, surplus_usd, task_of
from peaker.plan.case import Choices, Needs, Origin, Times, Trigger
from peaker.plan.possible import (
    why_cold_start_breaks,
    why_not_behind_alb,
    why_not_on_functions,
    why_not_on_functions_alone,
)
from peaker.plan.workload import PlanError
from peaker.prices import load

ONE = np.ones(10)


def test_a_server_is_filled_to_the_share_of_its_cpu_that_may_be_used() -> None:
    size = server_on(load().instance("us-east-1", "c7g.large"), work(), Choices())
    assert size is not None
    # 30 ms of CPU in each request, 0.7 of two cores: 46.7 a second, and 2.33 requests in flight on each core.
    assert size.pool.workers == 2
    assert size.pool.slots == 2
    assert size.requests_per_s == pytest.approx(2 * 2 / 0.1)


def test_a_work_that_waits_has_more_slots_and_no_more_cpu() -> None:
    waits = work(cpu_share=given(0.01))
    size = server_on(load().instance("us-east-1", "c7g.large"), waits, Choices())
    assert size is not None
    assert size.pool.slots == 64
    assert size.requests_per_s == pytest.approx(2 * 64 / 0.1)


def test_memory_bounds_the_workers_and_what_does_not_fit_is_no_server() -> None:
    small = load().instance("us-east-1", "t4g.small")
    one = server_on(small, work(worker_memory_mb=given(1000)), Choices())
    assert one is not None
    assert one.pool.workers == 1
    assert server_on(small, work(worker_memory_mb=given(2000)), Choices()) is None


def test_a_task_of_a_quarter_vcpu_computes_four_times_as_long() -> None:
    task = task_of(0.25, 0.5, 0.01, "list", work(), Choices())
    assert task is not None
    # One slot, held for 70 ms of waiting and 120 of computing: a second would use more than 70 % of the quarter.
    assert task.pool.slots == 1
    assert task.requests_per_s == pytest.approx(1 / 0.19)


def test_a_burstable_server_pays_for_cpu_above_its_share_of_the_whole_time() -> None:
    size = server_on(load().instance("us-east-1", "t4g.small"), work(), Choices())
    assert size is not None
    # Two vCPUs, 20 % each: 0.4 vCPU-hours an hour are included. 24,000 requests an hour use 0.2, 96,000 use 0.8.
    assert surplus_usd(size, work(), Choices(), requests=24_000, server_hours=1) == 0
    assert surplus_usd(size, work(), Choices(), requests=96_000, server_hours=1) == pytest.approx(0.4 * 0.04)


def test_a_function_of_less_than_a_vcpu_stretches_only_the_computing() -> None:
    assert function_stretch(work(), 1769) == pytest.approx(1.0)
    assert function_stretch(work(), 3538) == pytest.approx(1.0)
    assert function_stretch(work(), 884) == pytest.approx(0.7 + 0.3 * 1769 / 884)


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        (Needs(longest_s=1800), "stopped after 900 s"),
        (Needs(connections=True), "connections open"),
        (Needs(state=True), "state in its process"),
        (Needs(response_bytes_max=5e6), "6 MB"),
        (Needs(request_bytes_max=5e6), "6 MB"),
    ],
)
def test_each_need_that_no_function_meets_is_named(needs: Needs, reason: str) -> None:
    (why,) = why_not_on_functions(case(ONE, needs=needs))
    assert reason in why


def test_a_part_that_needs_servers_rules_out_functions_alone_and_nothing_else() -> None:
    beside = case(ONE, needs=Needs(servers_also_for=("/live: WebSockets",)))
    assert why_not_on_functions(beside) == ()
    assert why_not_on_functions_alone(beside) == ("/live: WebSockets",)


def test_a_load_balancer_hands_a_function_no_more_than_a_megabyte() -> None:
    assert why_not_behind_alb(case(ONE, needs=Needs(response_bytes_max=2e6)))
    assert not why_not_behind_alb(case(ONE, needs=Needs(response_bytes_max=5e5)))


def test_cold_starts_break_an_objective_only_where_more_meet_one_than_may_be_slow() -> None:
    asked = case(ONE)
    assert why_cold_start_breaks(asked, cold_share=0.04) == ""
    assert "6.0% of the requests wait for a cold start" in why_cold_start_breaks(asked, cold_share=0.06)
    nobody_waits = replace(asked, needs=Needs(trigger=Trigger.EVENT))
    assert why_cold_start_breaks(nobody_waits, cold_share=1.0) == ""


def test_a_figure_out_of_range_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match=r"cpu_share = 1\.5"):
        work(cpu_share=given(1.5))
    with pytest.raises(PlanError, match="mean service time = 0"):
        work(service=Times((0.0,), Origin.GIVEN))
    with pytest.raises(PlanError, match="speed = 0"):
        Choices(speed=0)
