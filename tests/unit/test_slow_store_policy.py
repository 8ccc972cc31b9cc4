"""Is the server full, or is what stands behind it slow?"""

import pytest

from peaker.policy.estimate import Times
from peaker.policy.slow_store import (
    PROBES_MAX,
    SPILLS_MAX,
    TRICKLE_MAX,
    Cause,
    InFlight,
    Suspicion,
    cause,
    look_at_function,
    look_at_server,
)

ORDINARY_S = 0.05
FUNCTION_S = 0.06
IDLE = InFlight()


def times(recent_s: float, baseline_s: float = ORDINARY_S, spread_s: float = 0.005) -> Times:
    return Times(samples=1000, recent_s=recent_s, spread_s=spread_s, baseline_s=baseline_s)


def risen(at_s: float = 10.0) -> Suspicion:
    return look_at_server(Suspicion(), times(0.5), IDLE, at_s)


def test_ordinary_times_raise_no_suspicion_and_no_limit() -> None:
    suspicion = look_at_server(Suspicion(), times(0.09), IDLE, 10.0)
    assert not suspicion.is_risen
    assert SPILLS_MAX[cause(suspicion, times(0.09), FUNCTION_S, 0.0)] is None


def test_a_rise_allows_only_probes_until_a_function_has_answered() -> None:
    found = cause(risen(), times(0.5), FUNCTION_S, 0.0)
    assert found is Cause.UNKNOWN
    assert SPILLS_MAX[found] == PROBES_MAX


def test_both_slow_is_the_store() -> None:
    suspicion = look_at_function(risen(), 0.52, 10.5, FUNCTION_S)
    found = cause(suspicion, times(0.5), FUNCTION_S, 0.0)
    assert found is Cause.STORE
    assert SPILLS_MAX[found] == TRICKLE_MAX


def test_a_quick_function_means_that_requests_queue_inside_the_server() -> None:
    suspicion = look_at_function(risen(), 0.062, 10.5, FUNCTION_S)
    assert cause(suspicion, times(0.5), FUNCTION_S, 0.0) is Cause.SERVER


def test_loop_lag_explains_a_rise_but_not_against_a_slow_function() -> None:
    assert cause(risen(), times(0.5), FUNCTION_S, 0.2) is Cause.SERVER
    assert cause(risen(), times(0.5), FUNCTION_S, 0.01) is Cause.UNKNOWN
    suspicion = look_at_function(risen(), 0.52, 10.5, FUNCTION_S)
    assert cause(suspicion, times(0.5), FUNCTION_S, 0.2) is Cause.STORE


def test_a_run_begun_before_the_rise_counts_only_if_it_was_slow() -> None:
    assert look_at_function(risen(10.0), 0.06, 9.99, FUNCTION_S).function_s is None
    assert look_at_function(risen(10.0), 0.3, 9.99, FUNCTION_S).function_s == 0.3


def test_what_is_in_flight_tells_of_a_stalled_store_before_anything_comes_back() -> None:
    assert look_at_server(Suspicion(), times(0.05), InFlight(running=8, mean_age_s=0.1), 10.0).is_risen
    assert not look_at_server(Suspicion(), times(0.05), InFlight(running=8, mean_age_s=0.05), 10.0).is_risen
    assert not look_at_server(Suspicion(), times(0.05), InFlight(running=2, mean_age_s=0.4), 10.0).is_risen


def test_the_suspicion_ends_when_the_server_is_quick_again() -> None:
    suspicion = look_at_function(risen(), 0.52, 10.5, FUNCTION_S)
    assert look_at_server(suspicion, times(0.09), IDLE, 20.0).is_risen, "between the two thresholds it stays"
    assert not look_at_server(suspicion, times(0.07), IDLE, 20.0).is_risen


def test_the_trickle_alone_finds_out_that_the_store_is_well() -> None:
    suspicion = look_at_function(risen(), 0.52, 10.5, FUNCTION_S)
    runs = 0
    while cause(suspicion, times(0.5), FUNCTION_S, 0.0) is Cause.STORE:
        runs += 1
        suspicion = look_at_function(suspicion, 0.06, 11.0 + runs, FUNCTION_S)
    assert runs <= 8, "eight runs of 60 ms, one after the other, are half a second"


def test_a_later_slow_store_is_found_though_functions_were_quick_at_first() -> None:
    suspicion = look_at_function(risen(), 0.06, 10.5, FUNCTION_S)
    assert cause(suspicion, times(0.5), FUNCTION_S, 0.0) is Cause.SERVER
    for at_s in range(11, 14):
        suspicion = look_at_function(suspicion, 0.6, float(at_s), FUNCTION_S)
    assert cause(suspicion, times(0.5), FUNCTION_S, 0.0) is Cause.STORE


@pytest.mark.parametrize("recent_s", [0.0, 0.002, 0.0105])
def test_a_route_of_a_millisecond_is_not_suspected_for_its_jitter(recent_s: float) -> None:
    assert not look_at_server(Suspicion(), times(recent_s, baseline_s=0.001), IDLE, 1.0).is_risen


def test_nothing_is_suspected_before_anything_has_been_learned() -> None:
    assert not look_at_server(Suspicion(), Times(), InFlight(running=50, mean_age_s=9.0), 1.0).is_risen
