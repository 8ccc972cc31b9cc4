"""Learned idle times and what is kept because of them, for any traffic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peaker.errors import PeakerError
from peaker.policy.idle_times import BINS, EDGES_S, IdleTimes, Window
from peaker.policy.learned_keep_alive import Kept, LearnedKeepAlive, Levels

STANDARD: tuple[Window, ...] = ((0.0, 600.0),)
IDLE_S = st.floats(0.0, 1e6)


def learned_from(idle_s: list[float]) -> IdleTimes:
    times = IdleTimes()
    for one_s in idle_s:
        times.add(one_s)
    return times


@settings(deadline=None, max_examples=60)
@given(st.lists(IDLE_S, max_size=60), st.floats(0, 1e5))
def test_windows_are_in_order_and_never_negative(idle_s: list[float], worth_s: float) -> None:
    edges = [edge_s for window in learned_from(idle_s).windows(worth_s) for edge_s in window]
    assert edges == sorted(edges)
    assert all(0 <= edge_s <= EDGES_S[-1] for edge_s in edges)
    assert len(edges) <= BINS


@settings(deadline=None, max_examples=60)
@given(st.floats(1.0, 7200.0))
def test_uses_at_a_regular_time_are_met_warm_with_little_idle_time(period_s: float) -> None:
    windows = learned_from([period_s] * 40).windows()
    assert any(from_s <= period_s < to_s for from_s, to_s in windows)
    kept_s = sum(max(0.0, min(period_s, to_s) - from_s) for from_s, to_s in windows)
    assert kept_s <= max(600.0, 0.3 * period_s) if period_s < 600 else kept_s <= 0.3 * period_s


@settings(deadline=None, max_examples=60)
@given(st.lists(IDLE_S, max_size=7))
def test_few_observations_change_nothing(idle_s: list[float]) -> None:
    assert learned_from(idle_s).windows() == STANDARD


def test_old_observations_are_forgotten_and_the_weights_stay_bounded() -> None:
    times = learned_from([3600.0] * 1000 + [60.0] * 10_000)
    assert times.count < 1000
    assert math.isclose(max(times.relative()), times.count, rel_tol=0.01)
    assert all(math.isfinite(weight) for weight in times.weights)


def test_nothing_is_kept_where_a_cold_start_is_worth_nothing() -> None:
    assert learned_from([10.0] * 20).windows(0.0) == ()
    with pytest.raises(PeakerError, match="worth_s = -1"):
        IdleTimes().windows(-1.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0.01, 5000.0)), max_size=80))
def test_never_more_is_kept_than_was_ever_busy(steps: list[tuple[int, float]]) -> None:
    learned, now_s, most = LearnedKeepAlive(), 0.0, 0
    for invocations, step_s in steps:
        learned.demand(invocations, now_s)
        most = max(most, invocations)
        kept = learned.kept(now_s)
        assert 0 <= kept.ahead <= kept.instances <= most - invocations
        next_s = learned.next_change_s(now_s)
        assert next_s is None or next_s > now_s
        now_s += step_s
    learned.demand(0, now_s)
    assert learned.kept(now_s + 2 * EDGES_S[-1]) == Kept(0, 0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 200), IDLE_S), max_size=100))
def test_what_was_learned_survives_its_own_json(seen: list[tuple[int, float]]) -> None:
    before, after = Levels(), Levels()
    for level, idle_s in seen:
        before.add(level, idle_s)
    after.restore(before.to_json())
    assert after.to_json().keys() == before.to_json().keys()
    assert len(before.to_json()) <= 64


@pytest.mark.parametrize("found", [{"0": {}}, {"1": {"999": 1}}, {"1": {"0": -1}}, {"1": {"0": "nan"}}, {"1": 3}])
def test_wrong_json_is_refused_whole(found: dict[str, object]) -> None:
    levels = Levels()
    with pytest.raises(PeakerError, match="no learned idle times"):
        levels.restore(found)
    assert levels.to_json() == {}
