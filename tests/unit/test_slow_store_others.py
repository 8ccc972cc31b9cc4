"""Routes that show nothing on the server go by those that do."""

from peaker.policy.estimate import Times
from peaker.policy.slow_store import (
    AGED_IN_FLIGHT_MIN,
    Cause,
    InFlight,
    Suspicion,
    cause,
    hear_of_others,
    look_at_function,
    look_at_server,
)

ORDINARY_S = 0.05
FUNCTION_S = 0.06
IDLE = InFlight()


def times(recent_s: float = ORDINARY_S, samples: int = 100) -> Times:
    return Times(samples=samples, recent_s=recent_s, spread_s=0.005, baseline_s=ORDINARY_S)


def heard() -> Suspicion:
    return hear_of_others(Suspicion(), times(), IDLE, 10.0, answers_at_rise=100)


def test_a_silent_route_takes_over_the_suspicion_and_only_probes() -> None:
    assert cause(heard(), times(), FUNCTION_S, 0.0) is Cause.UNKNOWN


def test_its_own_functions_decide_whether_it_uses_what_is_slow() -> None:
    slow = look_at_function(heard(), 0.5, 10.1, FUNCTION_S)
    assert cause(slow, times(), FUNCTION_S, 0.0) is Cause.STORE
    quick = look_at_function(heard(), 0.06, 10.1, FUNCTION_S)
    assert cause(quick, times(), FUNCTION_S, 0.0) is Cause.SERVER


def test_old_times_of_the_server_do_not_end_what_was_heard() -> None:
    slow = look_at_function(heard(), 0.5, 10.1, FUNCTION_S)
    assert look_at_server(slow, times(), IDLE, 11.0) == slow


def test_a_new_answer_here_ends_it_or_makes_it_the_routes_own() -> None:
    assert not look_at_server(heard(), times(samples=101), IDLE, 11.0).is_risen
    own = look_at_server(heard(), times(recent_s=0.2, samples=101), IDLE, 11.0)
    assert own.is_risen
    assert own.heard_at is None


def test_it_ends_with_the_rise_of_the_others() -> None:
    assert hear_of_others(heard(), times(), IDLE, 12.0, answers_at_rise=None) == Suspicion()
    own = look_at_server(Suspicion(), times(recent_s=0.5), IDLE, 10.0)
    assert hear_of_others(own, times(recent_s=0.5), IDLE, 12.0, answers_at_rise=None) == own


def test_a_route_that_answered_here_since_then_or_has_enough_in_flight_speaks_for_itself() -> None:
    assert not hear_of_others(Suspicion(), times(samples=101), IDLE, 10.0, answers_at_rise=100).is_risen
    busy = InFlight(running=AGED_IN_FLIGHT_MIN, mean_age_s=0.01)
    assert not hear_of_others(Suspicion(), times(), busy, 10.0, answers_at_rise=100).is_risen


def test_lag_explains_only_its_share_of_a_rise_seen_in_flight() -> None:
    """Eight requests 100 ms old, which take 50 ms otherwise: 5 ms of lag are not what holds them up."""
    suspicion = look_at_server(Suspicion(), times(), InFlight(running=8, mean_age_s=0.1), 10.0)
    assert cause(suspicion, times(), FUNCTION_S, 0.005) is Cause.UNKNOWN
    assert cause(suspicion, times(), FUNCTION_S, 0.020) is Cause.SERVER
