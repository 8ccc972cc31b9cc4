"""The three forecasts of demand, each on traffic that it is made for, and the trailing maximum."""

import json
import random

import pytest

from peaker.policy.forecast import DAY_S, DayCycle, Growth, Quantiles, price_quantile
from peaker.policy.windows import TrailingMax

NOON_S = 20_000 * DAY_S + DAY_S / 2


def test_the_quantile_is_where_a_server_is_worth_its_price() -> None:
    assert price_quantile(4.0) == 0.75
    assert price_quantile(0.5) == 0.0


def test_the_days_cycle_tells_what_the_same_time_had_on_seven_days() -> None:
    cycle = DayCycle(30.0)
    for day in range(9):
        for step in range(2880):
            at_s = (20_000 + day) * DAY_S + (step + 1) * 30.0
            cycle.add(at_s, 30.0, 10.0 + day if 1440 <= step < 1450 else 1.0)
    now_s = 20_009 * DAY_S + DAY_S / 2 - 60.0
    assert cycle.around(now_s, 120.0) == [18.0, 17.0, 16.0, 15.0, 14.0, 13.0, 12.0]
    assert cycle.around(now_s - 3600, 120.0) == [1.0] * 7


def test_an_unknown_day_counts_as_nothing_and_a_clock_that_jumps_spoils_one_day_at_most() -> None:
    cycle = DayCycle(30.0)
    cycle.add(NOON_S, 30.0, 5.0)
    cycle.add(NOON_S + 500 * DAY_S, 30.0, 99.0)
    cycle.add(NOON_S, 30.0, 6.0)
    assert cycle.around(NOON_S + DAY_S, 60.0) == [6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_growth_learns_how_a_crowd_goes_on() -> None:
    """Each jump to 2 is followed by 8 two steps later; quiet demand stays."""
    growth, chance = Growth(back=1, ahead=2), random.Random(1)
    found = {}
    for step in range(4000):
        phase = step % 40
        demand = {20: 2.0, 21: 4.0}.get(phase, 8.0 if 22 <= phase < 30 else 1.0)
        found[phase] = growth.add(demand * chance.uniform(0.98, 1.02), 30.0, 0.9)
    assert found[20] == pytest.approx(8.0, rel=0.15)
    assert found[10] == pytest.approx(1.0, rel=0.15)


def test_quantiles_follow_the_distribution_and_forget_it() -> None:
    quantiles, chance = Quantiles(memory_s=36_000.0), random.Random(2)
    for _ in range(2400):
        found = quantiles.add(chance.uniform(0.0, 10.0), 30.0, 0.9)
    assert found == pytest.approx(9.0, rel=0.06)
    for _ in range(7200):
        found = quantiles.add(1.0, 30.0, 0.9)
    assert found == pytest.approx(1.0, rel=0.06)


def test_no_load_has_no_quantile() -> None:
    assert Quantiles(memory_s=3600.0).add(0.0, 30.0, 0.9) == 0.0


def test_a_trailing_maximum_is_exact_while_its_blocks_are_steps() -> None:
    window, chance = TrailingMax(300.0, 30.0), random.Random(3)
    values = [chance.random() for _ in range(200)]
    for step, value in enumerate(values):
        assert window.add(value, 30.0) == max(values[max(0, step - 9) : step + 1])


def test_a_long_trailing_maximum_covers_at_least_fifteen_sixteenths_of_its_window() -> None:
    window, chance = TrailingMax(4800.0, 30.0), random.Random(4)
    values = [chance.random() for _ in range(1000)]
    for step, value in enumerate(values):
        found = window.add(value, 30.0)
        assert max(values[max(0, step - 149) : step + 1]) <= found <= max(values[max(0, step - 160) : step + 1])
    assert len(json.dumps(window.state())) < 1000
