"""The one decision about a request, as a table."""

import dataclasses

import pytest

from peaker.policy.admission import (
    LATE_SHARE,
    RECHECK_S,
    Situation,
    Step,
    admit,
    may_start_for_others,
    misses_objective,
    time_missed,
)
from peaker.policy.placement import Placement

FULL = Situation(
    placement=Placement.HYBRID,
    slot_free=False,
    sibling_free=False,
    waited_s=0.0,
    wait_s=0.2,
    service_s=0.05,
    tail_s=0.06,
    baseline_s=0.05,
    function_s=0.06,
    objective_s=0.3,
    no_spill="",
    joinable=True,
    wait_s_max=1.0,
    warm_s=0.06,
    may_start=False,
)


def step_when(**changes: object) -> Step:
    return admit(dataclasses.replace(FULL, **changes)).step  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"slot_free": True}, Step.STAY),
        ({"slot_free": True, "sibling_free": True}, Step.STAY),
        ({"sibling_free": True}, Step.SIBLING),
        ({}, Step.SPILL),
        # A short wait costs nothing: at most one service time, if the objective is kept.
        ({"wait_s": 0.02}, Step.WAIT),
        ({"wait_s": 0.05}, Step.WAIT),
        ({"wait_s": 0.051}, Step.SPILL),
        ({"wait_s": 0.02, "waited_s": 0.04}, Step.SPILL),
        ({"wait_s": 0.02, "objective_s": 0.07}, Step.SPILL),
        ({"wait_s": 0.02, "joinable": False}, Step.SPILL),
        # A function only where it is sooner.
        ({"function_s": 0.3}, Step.WAIT),
        ({"function_s": 0.3, "waited_s": 0.26}, Step.SPILL),
        ({"function_s": 0.24}, Step.SPILL),
        # Or where the other choice is to refuse.
        ({"function_s": 9.0, "joinable": False}, Step.SPILL),
        ({"function_s": 9.0, "waited_s": 1.0}, Step.SPILL),
        # A cold start for others, where warm ones would be sooner than a slot here.
        ({"function_s": 1.0, "may_start": True}, Step.SPILL),
        ({"function_s": 1.0, "may_start": True, "warm_s": 0.25}, Step.WAIT),
        ({"function_s": 1.0, "may_start": True, "no_spill": "no room"}, Step.WAIT),
        ({"function_s": 1.0, "may_start": True, "slot_free": True}, Step.STAY),
        ({"function_s": 1.0, "may_start": True, "wait_s": 0.02}, Step.WAIT),
        # Otherwise wait, then refuse.
        ({"no_spill": "the spend limit is reached"}, Step.WAIT),
        ({"no_spill": "the spend limit is reached", "waited_s": 1.0}, Step.REFUSE),
        ({"no_spill": "the spend limit is reached", "joinable": False}, Step.REFUSE),
        # On functions only: never on a server, whatever is free there.
        ({"placement": Placement.FUNCTIONS, "slot_free": True, "sibling_free": True}, Step.SPILL),
        ({"placement": Placement.FUNCTIONS, "slot_free": True, "no_spill": "no room"}, Step.WAIT),
        ({"placement": Placement.FUNCTIONS, "no_spill": "no room", "waited_s": 1.0}, Step.REFUSE),
        ({"placement": Placement.FUNCTIONS, "function_s": 9.0}, Step.SPILL),
        # Nothing known yet about the route: no short wait, since nothing says how long one is.
        ({"baseline_s": 0.0, "tail_s": 0.0, "service_s": 0.0, "wait_s": 0.1}, Step.SPILL),
    ],
)
def test_each_situation_has_its_step(changes: dict[str, object], step: Step) -> None:
    assert step_when(**changes) is step


def test_a_route_that_misses_its_objective_even_idle_spills_only_above_the_longest_wait() -> None:
    slow = {"baseline_s": 0.4, "service_s": 0.4, "tail_s": 0.5, "function_s": 0.41}
    assert step_when(**slow, wait_s=0.9) is Step.WAIT
    assert step_when(**slow, wait_s=1.1) is Step.SPILL
    assert step_when(**slow, wait_s=0.3, waited_s=0.8) is Step.SPILL


def test_a_short_wait_ends_after_one_service_time_and_a_long_one_is_looked_at_again() -> None:
    short = admit(dataclasses.replace(FULL, wait_s=0.01, waited_s=0.02))
    assert short.wait_s == pytest.approx(0.03)
    long = admit(dataclasses.replace(FULL, no_spill="functions cannot be reached"))
    assert long.wait_s == RECHECK_S


def test_a_refusal_says_what_was_full_and_why_no_function_took_it() -> None:
    decision = admit(dataclasses.replace(FULL, no_spill="the spend limit is reached", joinable=False))
    assert decision.reason == "the queue is full; the spend limit is reached"


def test_what_is_left_of_a_wait_by_rounding_is_not_waited_for() -> None:
    assert step_when(wait_s=0.0, waited_s=0.05 - 1e-17) is Step.SPILL
    assert step_when(function_s=9.0, waited_s=1.0 - 1e-15) is Step.SPILL
    assert step_when(no_spill="no room", waited_s=1.0 - 1e-15) is Step.REFUSE


def test_late_is_by_the_tail_and_by_the_wait_alone_on_a_route_that_is_late_even_idle() -> None:
    assert not misses_objective(0.1, 0.09, 0.1, 0.05, 0.3, 10.0)
    assert misses_objective(0.1, 0.11, 0.1, 0.05, 0.3, 10.0)
    assert not misses_objective(0.1, 0.11, 0.5, 0.4, 0.3, 10.0)
    assert misses_objective(5.0, 5.1, 0.5, 0.4, 0.3, 10.0)


def look(*, late: bool, times: int, missed_s: float = 0.0, gap_s: float = 0.01) -> float:
    for _ in range(times):
        missed_s = time_missed(missed_s, gap_s, late, 1.0)
    return missed_s


def test_time_missed_counts_what_is_above_the_share_that_may_be_late() -> None:
    assert look(late=True, times=50) == pytest.approx(0.5 * (1 - LATE_SHARE))
    assert look(late=False, missed_s=0.5, times=500) == pytest.approx(0.5 - 5 * LATE_SHARE)
    assert look(late=False, missed_s=0.1, times=500) == 0.0
    assert look(late=True, times=1000) == pytest.approx(2.0, abs=0.001)


def test_one_late_request_after_a_long_silence_says_little() -> None:
    assert time_missed(0.0, 3600.0, True, 1.0) == 0.0
    assert time_missed(0.0, 0.5, True, 1.0) == pytest.approx(RECHECK_S - 0.5 * LATE_SHARE)


def test_an_instance_is_started_for_others_when_lateness_has_lasted_as_long_as_its_start() -> None:
    assert may_start_for_others(True, 1.0, 1.0, 0, 1.0)
    assert not may_start_for_others(True, 0.99, 1.0, 0, 1.0)
    assert not may_start_for_others(False, 2.0, 1.0, 0, 1.0)


@pytest.mark.parametrize(("running", "starts"), [(0, 10), (1, 10), (4, 40), (20, 200)])
def test_no_more_are_started_in_the_time_of_a_start_than_run(running: int, starts: int) -> None:
    started, last_s = 0, -1e9
    for tick in range(10_000):  # 10 s, in each millisecond somebody who is late.
        if may_start_for_others(True, 2.0, 1.0, running, tick / 1000 - last_s):
            started, last_s = started + 1, tick / 1000
    assert starts - 4 <= started <= starts + 1
