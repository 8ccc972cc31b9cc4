"""The day's spend limit holds, whatever workers spend, when they die, and when control is away."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from peaker.policy.lease import (
    RUN_MICROUSD,
    SHARE_DIVISOR,
    UNLIMITED_MICROUSD,
    Holding,
    Ledger,
    count_spend,
    is_used_up,
    share_out,
)

LIMIT = 1_000_000


@dataclass
class World:
    """Workers that spend as much as they are let, and control that ticks when it is there."""

    limit: int
    leases: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(4), 0))
    spent: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(4), 0))
    past: int = 0
    day: int = 1
    ledger: Ledger = field(default_factory=Ledger)
    spent_on: dict[int, int] = field(default_factory=dict[int, int])

    def spend(self, row: int, wish: int) -> None:
        amount = min(wish, self.leases[row] - self.spent[row])
        self.spent[row] += amount
        self.spent_on[self.day] = self.spent_on.get(self.day, 0) + amount

    def die(self, row: int) -> None:
        self.past += self.spent[row]
        self.leases[row] = self.spent[row] = 0

    def tick(self) -> None:
        total = self.past + sum(self.spent.values())
        self.ledger = count_spend(self.ledger, day=self.day, run=1, total_microusd=total)
        holdings = {
            row: Holding(lease_microusd=self.leases[row], spent_microusd=self.spent[row]) for row in self.leases
        }
        self.leases |= share_out(self.ledger, holdings, self.limit)


ROWS = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("spend"), ROWS, st.integers(0, 2 * LIMIT)),
        st.tuples(st.just("die"), ROWS, st.just(0)),
        st.tuples(st.just("tick"), st.just(0), st.just(0)),
        st.tuples(st.just("midnight"), st.just(0), st.just(0)),
        st.tuples(st.just("restart control"), st.just(0), st.just(0)),
    ),
    max_size=80,
)


@given(steps=STEPS, limit=st.integers(0, LIMIT))
def test_no_day_costs_more_than_the_limit(steps: list[tuple[str, int, int]], limit: int) -> None:
    world = World(limit)
    for what, row, amount in steps:
        if what == "spend":
            world.spend(row, amount)
        elif what == "die":
            world.die(row)
        elif what == "midnight":
            world.day += 1
        else:
            # A restarted control knows only the ledger, which is all that `tick` uses.
            world.tick()
        assert all(spent <= limit for spent in world.spent_on.values()), world


@given(limit=st.integers(10_000, 10**9), busy=ROWS)
def test_one_busy_worker_can_use_nearly_the_whole_limit_beside_idle_ones(limit: int, busy: int) -> None:
    world = World(limit)
    for _ in range(2000):
        world.tick()
        world.spend(busy, 10**12)
    assert world.spent_on[1] >= limit * (1 - 1 / SHARE_DIVISOR) - 4 * SHARE_DIVISOR * 4


@given(limit=st.integers(100_000, 10**9))
def test_a_new_day_begins_with_the_whole_limit(limit: int) -> None:
    world = World(limit)
    for _ in range(500):
        world.tick()
        world.spend(0, 10**12)
    world.day += 1
    for _ in range(500):
        world.tick()
        world.spend(0, 10**12)
    assert world.spent_on[2] >= limit * 0.8
    assert world.spent_on[2] <= limit


def test_a_clock_that_is_set_back_does_not_give_the_budget_twice() -> None:
    ledger = count_spend(Ledger(), day=5, run=1, total_microusd=700)
    assert count_spend(ledger, day=4, run=1, total_microusd=900).spent_microusd == 900
    assert count_spend(ledger, day=6, run=1, total_microusd=900).spent_microusd == 200


def test_a_new_run_counts_from_zero_within_the_same_day() -> None:
    ledger = count_spend(Ledger(), day=5, run=1, total_microusd=700)
    assert count_spend(ledger, day=5, run=2, total_microusd=50).spent_microusd == 750


@given(
    totals=st.lists(st.integers(0, 1000), min_size=1),
)
def test_a_total_that_falls_while_a_row_is_folded_is_counted_once(totals: list[int]) -> None:
    ledger = Ledger()
    for total in totals:
        ledger = count_spend(ledger, day=1, run=1, total_microusd=total)
    assert ledger.spent_microusd == max(totals)


def test_without_a_limit_every_gate_may_spend_and_is_told_once() -> None:
    fresh = {0: Holding(lease_microusd=0, spent_microusd=0)}
    leases = share_out(Ledger(), fresh, None)
    assert leases == {0: UNLIMITED_MICROUSD}
    assert share_out(Ledger(), {0: Holding(lease_microusd=UNLIMITED_MICROUSD, spent_microusd=9)}, None) == {}


@given(st.integers(1, 10**9), st.integers(1, 64), st.integers(0, 10**9))
def test_a_day_counts_as_used_up_before_shares_are_too_small_for_a_run(limit: int, gates: int, spent: int) -> None:
    ledger = Ledger(spent_microusd=spent)
    fresh = {row: Holding(lease_microusd=0, spent_microusd=0) for row in range(gates)}
    leases = share_out(ledger, fresh, limit)
    if not is_used_up(ledger, gates, limit):
        assert all(lease >= RUN_MICROUSD for lease in leases.values())
        assert len(leases) == gates
    if spent >= limit:
        assert is_used_up(ledger, gates, limit)
    assert not is_used_up(ledger, gates, None)
