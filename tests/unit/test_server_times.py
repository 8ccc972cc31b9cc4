"""How long servers are paid for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaker.meter.servers import ServerTimes, billed_seconds, with_servers


@pytest.mark.parametrize(
    ("lived_s", "billed_s"), [(0.0, 60), (59.9, 60), (60.0, 60), (60.2, 61), (61.0000001, 61), (3600.0, 3600)]
)
def test_a_launch_is_billed_by_the_second_and_a_minute_at_least(lived_s: float, billed_s: float) -> None:
    assert billed_seconds(lived_s) == billed_s


def test_a_server_is_paid_for_from_its_first_process_until_it_is_gone() -> None:
    """1. Two are there, one of them seen two seconds late. 2. After 100 s one goes. 3. After 200 s both sums stand."""
    times = with_servers(ServerTimes(), {1: 998.0, 2: 1000.0}, 1000.0)
    times = with_servers(times, {1: 998.0}, 1100.0)
    assert times.launches == 2
    assert times.seconds(1200.0) == 202 + 100
    assert times.billed_s(1200.0) == 202 + 100
    assert with_servers(times, {}, 1200.0).seconds(5000.0) == 302


def test_a_server_whose_processes_are_started_again_is_the_same_launch() -> None:
    times = with_servers(ServerTimes(), {1: 0.0}, 0.0)
    assert with_servers(times, {1: 50.0}, 50.0) is times


def test_one_without_a_process_yet_is_paid_for_from_now_on() -> None:
    assert with_servers(ServerTimes(), {1: float("inf")}, 7.0).launched_epoch_s == {"1": 7.0}


STEPS = st.lists(st.tuples(st.floats(0, 500), st.sets(st.integers(1, 4))), max_size=20)


@given(STEPS)
def test_seconds_never_fall_and_the_bill_is_never_below_them(steps: list[tuple[float, set[int]]]) -> None:
    times, now_s, before = ServerTimes(), 1000.0, (0.0, 0.0)
    for wait_s, there in steps:
        now_s += wait_s
        assert (times.seconds(now_s), times.billed_s(now_s)) >= before
        times = with_servers(times, dict.fromkeys(there, now_s), now_s)
        before = (times.seconds(now_s), times.billed_s(now_s))
        assert before[1] >= before[0] - 1e-6
        assert before[1] >= 60 * times.launches
