"""The spend ledger over real tables and a real file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from peaker.clock import VirtualClock
from peaker.control.lease import Spend, read_ledger
from peaker.errors import StateError
from peaker.gate.slots import WorkerStatus, create_slot_table
from peaker.meter.usage import create_usage_table, fold_into_past
from peaker.policy.lease import UNLIMITED_MICROUSD
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory

LIMIT = 1_600_000
DAY_S = 86_400


@dataclass
class Till:
    """Two workers' rows, and the files beside them."""

    state: StateDirectory
    slots: SharedTable
    usage: SharedTable
    clock: VirtualClock

    def control(self, *, generation: int = 1, limit: int | None = LIMIT) -> Spend:
        return Spend(
            self.state,
            generation=generation,
            slots=self.slots,
            usage=self.usage,
            limit_microusd=limit,
            clock=self.clock,
        )

    def spend(self, row: int, microusd: int) -> None:
        self.usage.set(row, "spend_microusd", self.usage.get(row, "spend_microusd") + microusd)
        self.slots.set(row, "spent_microusd", self.usage.get(row, "spend_microusd"))

    def leases(self) -> list[int]:
        return [self.slots.get(row, "lease_microusd") for row in range(3)]


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    state = StateDirectory(tmp_path)
    made = Till(state, create_slot_table(state.slots, 3), create_usage_table(state.usage, 3), VirtualClock())
    for row in range(2):
        made.slots.set(row, "pid", 100 + row)
        made.slots.set(row, "status", WorkerStatus.READY)
    yield made
    made.slots.close()
    made.usage.close()


def test_living_rows_get_a_share_and_empty_ones_nothing(till: Till) -> None:
    till.control().tick()
    assert till.leases() == [LIMIT // 32, LIMIT // 32, 0]


def test_without_a_limit_a_gate_may_spend_without_asking(till: Till) -> None:
    till.control(limit=None).tick()
    assert till.leases() == [UNLIMITED_MICROUSD, UNLIMITED_MICROUSD, 0]


def test_the_day_survives_control_and_the_whole_app(till: Till) -> None:
    first = till.control()
    first.tick()
    till.spend(0, 40_000)
    first.tick()
    assert read_ledger(till.state).spent_microusd == 40_000
    second = till.control()
    till.spend(0, 1_000)
    second.tick()
    assert second.ledger.spent_microusd == 41_000
    # A new start of the app makes the tables anew; the day goes on.
    till.usage.clear(0)
    third = till.control(generation=2)
    till.spend(0, 500)
    third.tick()
    assert third.ledger.spent_microusd == 41_500


def test_midnight_utc_begins_a_new_day(till: Till) -> None:
    control = till.control()
    control.tick()
    till.spend(1, 40_000)
    control.tick()
    till.clock.advance(DAY_S)
    control.tick()
    assert control.ledger.spent_microusd == 0
    assert json.loads(till.state.spend.read_text())["day"] == control.ledger.day


def test_what_a_dead_worker_spent_stays_spent(till: Till) -> None:
    control = till.control()
    control.tick()
    till.spend(0, 30_000)
    fold_into_past(till.usage, 0)
    till.slots.clear(0)
    control.tick()
    assert control.ledger.spent_microusd == 30_000
    assert till.leases()[0] == 0


def test_nothing_is_leased_that_cannot_be_recorded(till: Till) -> None:
    control = till.control()
    control.tick()
    before = till.leases()
    till.spend(0, 40_000)
    till.state.spend.unlink()
    till.state.spend.mkdir()
    with pytest.raises(OSError, match="spend"):
        control.tick()
    assert till.leases() == before


def test_a_ledger_that_cannot_be_read_is_not_taken_for_an_empty_day(till: Till) -> None:
    till.state.spend.write_text("{")
    with pytest.raises(StateError, match="Remove the file to begin the day at 0"):
        till.control()
