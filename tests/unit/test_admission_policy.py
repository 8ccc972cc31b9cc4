"""The one decision about a request, as a table."""

import dataclasses

import pytest

from peaker.policy.admission import RECHECK_S, Situation, Step, admit
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
