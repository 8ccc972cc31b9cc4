"""How many servers, by sums over the load's levels."""

from __future__ import annotations

import numpy as np
import pytest
from plan_cases import case, crowds, poisson

from peaker.plan.case import Choices, Needs
from peaker.plan.levels import filled, load_of, loss_by_slots, wait_by_slots
from peaker.plan.optimum import ServerCost, screening
from peaker.plan.sizes import server_sizes
from peaker.plan.supply import baselines, by_step, fixed, hybrid_controlled, spill_price
from peaker.plan.theory import erlang_b, erlang_c
from peaker.prices import load

TABLE = load()


def test_the_levels_of_a_load_keep_its_requests_and_its_hours() -> None:
    counts = crowds(20, 10)
    found = load_of(case(counts))
    assert found.requests == pytest.approx(counts.sum())
    assert float(found.levels @ found.hours) * 3600 == pytest.approx(counts.sum())
    assert found.hours_known == pytest.approx(4.0)
    assert found.peak_per_s == pytest.approx(counts.max(), rel=0.02)


def test_a_gap_is_no_load_and_no_time() -> None:
    counts = np.array([np.nan, 4.0, np.nan, 8.0])
    found = load_of(case(counts, step_s=3600.0))
    assert found.hours_known == pytest.approx(2.0)
    assert found.requests == pytest.approx(12.0)
    assert (found.rates * 3600).tolist() == pytest.approx([4.0, 4.0, 4.0, 8.0])
    assert filled(np.array([1.0, np.nan])).tolist() == [1.0, 1.0]


def test_loss_and_wait_are_those_of_erlang() -> None:
    offered = np.array([0.5, 5.0, 20.0])
    losses = loss_by_slots(offered, 24, 8)
    assert losses.shape == (4, 3)
    for row, slots in enumerate((0, 8, 16, 24)):
        for column, load_ in enumerate(offered):
            assert losses[row, column] == pytest.approx(erlang_b(slots, float(load_)) if slots else 1.0)
    waits = wait_by_slots(losses[2], offered, 16)
    assert waits[1] == pytest.approx(erlang_c(16, 5.0))
    assert waits[2] == 1.0


def test_the_best_baseline_is_that_of_the_load_duration_curve() -> None:
    """With many slots a server, chance within a step hardly matters, and the classic sum gives the same count."""
    asked = case(crowds(200, 3))
    found = load_of(asked)
    (size,) = server_sizes(case(crowds(200, 3), choices=Choices(instance_types=("c7g.xlarge",))), found, TABLE)
    price = spill_price(asked, TABLE, 512)
    best = baselines(asked, found, size, price, TABLE).best
    demand = found.rates / size.requests_per_s
    cost = ServerCost(server_usd=size.usd_per_hour, function_usd=size.requests_per_s * 3600 * price.usd)
    classic = screening(demand, cost)
    assert abs(best - classic) <= 1


def test_servers_for_the_peak_hold_it() -> None:
    asked = case(poisson(np.full(3600, 50.0)))
    found = load_of(asked)
    size = server_sizes(asked, found, TABLE)[0]
    supply = fixed(asked, found, size, is_task=False)
    assert isinstance(supply.ready, int)
    assert supply.ready * size.requests_per_s >= found.peak_per_s


def test_what_may_not_spill_keeps_its_servers() -> None:
    counts = crowds(20, 10)
    free, bound = case(counts), case(counts, needs=Needs(spillable_share=0.5))
    found = load_of(free)
    size = server_sizes(free, found, TABLE)[0]
    price = spill_price(free, TABLE, 512)
    assert baselines(bound, found, size, price, TABLE).best > baselines(free, found, size, price, TABLE).best


def test_a_controlled_baseline_has_a_count_for_every_step() -> None:
    asked = case(crowds(20, 10))
    found = load_of(asked)
    size = server_sizes(asked, found, TABLE)[0]
    supply = hybrid_controlled(asked, found, size, spill_price(asked, TABLE, 512))
    counts = by_step(supply, len(found.rates), 1.0)
    assert len(counts) == len(found.rates)
    assert counts.min() >= 1
