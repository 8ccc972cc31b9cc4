"""Server counts as auto scalers set them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from peaker.plan.scaling import Counts, rent_or_buy, target_tracking, ticks
from peaker.plan.workload import PlanError


def tracked(demand: NDArray[np.float64], **changes: float) -> Counts:
    return target_tracking(demand, 60.0, start_s=changes.get("start_s", 90), servers_min=1, target=0.6)


def rented(demand: NDArray[np.float64], functions: float = 4.0, servers_min: int = 0) -> Counts:
    return rent_or_buy(
        demand,
        60.0,
        start_s=90,
        servers_min=servers_min,
        server_usd_per_hour=1.0,
        function_usd_per_server_hour=functions,
    )


def test_a_steady_load_keeps_its_servers() -> None:
    counts = tracked(np.full(600, 3.0))
    assert set(counts.ready.tolist()) == {5}
    assert counts.server_hours == pytest.approx(5 * 10)


def test_a_jump_is_answered_after_three_minutes_and_the_start() -> None:
    counts = tracked(np.concatenate([np.full(60, 1.0), np.full(60, 4.0)]))
    grew = int(np.argmax(counts.ready > counts.ready[0]))
    # Above the target in minutes 60, 61 and 62; asked at the end of the third; two minutes to start.
    assert grew == 65
    assert counts.paid[63] > counts.ready[63]


def test_servers_are_taken_away_after_a_quarter_of_an_hour() -> None:
    counts = tracked(np.concatenate([np.full(60, 4.0), np.full(60, 1.0)]))
    shrank = int(np.argmax(counts.ready < counts.ready[0]))
    assert 60 + 14 <= shrank <= 60 + 16
    assert counts.ready[-1] == 2


def test_a_level_that_functions_serve_cheaper_is_never_bought() -> None:
    counts = rented(np.full(600, 0.2))
    assert set(counts.paid.tolist()) == {0}


def test_a_busy_level_is_bought_and_its_start_paid() -> None:
    counts = rented(np.full(600, 1.0))
    assert counts.ready[0] == 0
    assert counts.ready[-1] == 1
    assert counts.paid.sum() > counts.ready.sum()


def test_rent_or_buy_pays_little_more_than_twice_the_best() -> None:
    chance = np.random.default_rng(3)
    for _ in range(20):
        demand = np.repeat(chance.uniform(0, 4, 40), chance.integers(1, 60))
        counts = rented(demand)
        paid = float(counts.paid.sum()) + 4.0 * float(np.maximum(0, demand - counts.ready).sum())
        levels = np.clip(demand[:, None] - np.arange(4), 0, 1)
        # No schedule is cheaper than the cheaper of both in each minute, with starts for nothing.
        least = float(np.minimum(1.0, 4.0 * levels).sum())
        starts = float((np.diff(counts.paid, prepend=0) > 0).sum())
        assert paid <= 2 * least + 3 * 4 * (starts + 4)


def test_the_least_number_is_never_left() -> None:
    assert rented(np.zeros(100), servers_min=2).ready.min() == 2


def test_seconds_become_minutes_and_hours_stay_hours() -> None:
    rates, tick_s = ticks(np.arange(120.0), 1.0)
    assert (rates.tolist(), tick_s) == ([29.5, 89.5], 60.0)
    rates, tick_s = ticks(np.arange(3.0), 3600.0)
    assert (len(rates), tick_s) == (3, 3600.0)


def test_a_target_out_of_range_is_refused() -> None:
    with pytest.raises(PlanError, match="target = 2"):
        target_tracking(np.ones(3), 60.0, start_s=90, servers_min=1, target=2)
