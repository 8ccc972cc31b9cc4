"""The search for the rate that a worker holds, on curves whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaker.policy.knee import (
    HALVINGS_MAX,
    RESOLUTION,
    TRIES_MAX,
    Capacity,
    Step,
    Verdict,
    capacity,
    knee_per_s,
    next_rate_per_s,
    verdict,
)

OBJECTIVE_S = 0.2


def step(rate: float, p95_s: float | None = 0.01, **changed: object) -> Step:
    plain = Step(rate_per_s=rate, requests=1000, failed=0, achieved_per_s=rate, p50_s=p95_s, p95_s=p95_s, p99_s=p95_s)
    return replace(plain, **changed)  # type: ignore[arg-type]


def one_core(served_per_s: float) -> Callable[[float], Step]:
    """M/M/1: time in the system is exponential with mean 1 / (mu - rate), so its p95 is ln(20) times that."""

    def offer(rate: float) -> Step:
        if rate >= served_per_s:
            return step(rate, 10.0, achieved_per_s=served_per_s)
        return step(rate, math.log(20) / (served_per_s - rate))

    return offer


def searched(
    offer: Callable[[float], Step],
    *,
    first: float = 1.0,
    rate_max: float = 1e9,
    objective_s: float | None = OBJECTIVE_S,
) -> list[Step]:
    steps: list[Step] = []
    while len(steps) < 200:
        rate = next_rate_per_s(steps, objective_s=objective_s, first_per_s=first, rate_max_per_s=rate_max)
        if rate is None:
            return steps
        steps.append(offer(rate))
    raise AssertionError("the search does not end")


@given(served=st.floats(20, 50_000), first=st.floats(0.01, 1.0))
def test_the_capacity_of_one_core_is_found_within_the_resolution(served: float, first: float) -> None:
    exact = served - math.log(20) / OBJECTIVE_S
    found = capacity(searched(one_core(served), first=first * exact), OBJECTIVE_S)
    assert found.held_per_s is not None
    assert found.missed_per_s is not None
    # Doubling may come to the exact rate itself, where the last bit decides.
    assert found.held_per_s <= exact * (1 + 1e-9)
    assert found.missed_per_s >= exact * (1 - 1e-9)
    assert found.missed_per_s <= found.held_per_s * RESOLUTION
    assert not found.is_bound_by_generator


def test_the_search_takes_few_steps() -> None:
    assert len(searched(one_core(1000), first=50)) <= 12


def test_a_first_rate_above_the_capacity_is_halved_down() -> None:
    found = capacity(searched(one_core(100), first=5000), OBJECTIVE_S)
    assert found.held_per_s is not None
    assert 100 - math.log(20) / OBJECTIVE_S >= found.held_per_s > 70


def test_an_app_that_holds_nothing_is_given_up_on() -> None:
    steps = searched(lambda rate: step(rate, 5.0), first=1000)
    assert capacity(steps, OBJECTIVE_S).held_per_s is None
    assert min(each.rate_per_s for each in steps) >= 1000 / 2 ** (HALVINGS_MAX + 1)


def test_one_narrow_miss_is_tried_again_and_forgotten_when_it_then_holds() -> None:
    missed = step(10, 1.5 * OBJECTIVE_S)
    assert next_rate_per_s([missed], objective_s=OBJECTIVE_S, first_per_s=10, rate_max_per_s=1e6) == 10
    both = [missed, step(10)]
    assert capacity(both, OBJECTIVE_S) == Capacity(held_per_s=10, missed_per_s=None, is_bound_by_generator=True)
    assert next_rate_per_s(both, objective_s=OBJECTIVE_S, first_per_s=10, rate_max_per_s=1e6) == 20


@pytest.mark.parametrize(
    "clear", [step(10, 3 * OBJECTIVE_S), step(10, None), step(10, failed=20)], ids=["far off", "no rank", "failures"]
)
def test_a_clear_miss_is_believed_at_once(clear: Step) -> None:
    assert next_rate_per_s([clear], objective_s=OBJECTIVE_S, first_per_s=10, rate_max_per_s=1e6) == 5


def test_a_generator_that_is_late_makes_no_rate_missed_by_the_worker() -> None:
    def offer(rate: float) -> Step:
        return step(rate, is_void=rate > 100)

    steps = searched(offer, first=60)
    found = capacity(steps, OBJECTIVE_S)
    assert found.is_bound_by_generator
    assert found.held_per_s is not None
    assert 100 / RESOLUTION <= found.held_per_s <= 100
    assert sum(each.rate_per_s == 120 for each in steps) == TRIES_MAX


def test_the_search_ends_at_the_highest_rate_allowed() -> None:
    steps = searched(step, first=10, rate_max=100)
    assert [each.rate_per_s for each in steps] == [10, 20, 40, 80, 100]
    assert capacity(steps, OBJECTIVE_S) == Capacity(held_per_s=100, missed_per_s=None, is_bound_by_generator=True)


def test_without_an_objective_a_growing_queue_is_what_misses() -> None:
    found = capacity(searched(one_core(100), objective_s=None), None)
    assert found.held_per_s is not None
    # Ten in a hundred may be missing before it is called falling behind.
    assert 100 / RESOLUTION <= found.held_per_s <= 112


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Verdict.HELD),
        ({"p95_s": OBJECTIVE_S}, Verdict.HELD),
        ({"p95_s": OBJECTIVE_S * 1.001}, Verdict.MISSED),
        ({"failed": 10}, Verdict.HELD),
        ({"failed": 11}, Verdict.MISSED),
        ({"achieved_per_s": 91.0}, Verdict.HELD),
        ({"achieved_per_s": 89.0}, Verdict.MISSED),
        ({"is_void": True, "failed": 500}, Verdict.VOID),
        ({"requests": 0}, Verdict.VOID),
    ],
)
def test_what_a_step_says(changed: dict[str, object], expected: Verdict) -> None:
    assert verdict(step(100, **changed), OBJECTIVE_S) is expected


def test_the_knee_of_one_core_is_where_half_of_it_is_used() -> None:
    """Kleinrock's own result: the power of M/M/1 is highest at a load of one half."""
    steps = [one_core(1000)(rate) for rate in range(50, 1000, 50)]
    assert knee_per_s(steps) == 500


def test_two_rates_tell_of_no_knee() -> None:
    assert knee_per_s([step(1), step(2), step(2), step(4, is_void=True)]) is None
