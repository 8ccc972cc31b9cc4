"""The latency gradient."""

import pytest

from peaker.policy.limit import SLOTS_AT_START, Window, next_limit


def after(limit: float, windows: int, slowness: object, outer_max: int = 256) -> float:
    """The limit after some windows; `slowness` is a function of the limit, which is always used up."""
    for _ in range(windows):
        window = Window(succeeded=50, dropped=0, slowness=slowness(limit), in_flight_max=int(limit))  # type: ignore[operator]
        limit = next_limit(limit, window, outer_max)
    return limit


def test_a_worker_that_only_waits_grows_to_its_outer_limit() -> None:
    assert after(SLOTS_AT_START, 60, lambda _: 1.0) == 256


def test_a_worker_with_one_busy_core_comes_to_rest_at_four() -> None:
    assert after(SLOTS_AT_START, 60, lambda limit: max(1.0, limit)) == pytest.approx(4, abs=0.1)


def test_a_pool_of_forty_threads_is_found() -> None:
    assert 40 < after(SLOTS_AT_START, 200, lambda limit: max(1.0, limit / 40)) < 80


def test_the_limit_is_never_below_one_nor_above_the_outer_limit() -> None:
    assert after(1, 50, lambda _: 1000.0) >= 1
    assert next_limit(1.0, Window(succeeded=0, dropped=5, slowness=1.0, in_flight_max=1), 256) == 1
    assert after(200, 50, lambda _: 1.0, outer_max=100) == 100


def test_what_was_not_asked_for_is_not_learned() -> None:
    idle = Window(succeeded=50, dropped=0, slowness=1.0, in_flight_max=3)
    assert next_limit(20.0, idle, 256) == 20.0


def test_a_slow_window_lowers_the_limit_even_when_it_was_not_used_up() -> None:
    slow = Window(succeeded=50, dropped=0, slowness=10.0, in_flight_max=3)
    assert next_limit(20.0, slow, 256) < 20.0


def test_a_window_of_ignored_requests_changes_nothing_and_a_dropped_one_takes_a_tenth() -> None:
    assert next_limit(20.0, Window(succeeded=0, dropped=0, slowness=1.0, in_flight_max=20), 256) == 20.0
    assert next_limit(20.0, Window(succeeded=9, dropped=1, slowness=1.0, in_flight_max=20), 256) == pytest.approx(18)


def test_a_little_noise_does_not_lower_the_limit() -> None:
    window = Window(succeeded=50, dropped=0, slowness=1.4, in_flight_max=20)
    assert next_limit(20.0, window, 256) > 20.0
