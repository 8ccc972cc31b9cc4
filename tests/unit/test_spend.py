"""The spend ledger over real tables and a real file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from peaker.clock import VirtualClock
from peaker.control.lease import Spend, billed_by_host_microusd, read_ledger
from peaker.errors import StateError
from peaker.gate.slots import WorkerStatus, create_slot_table
from peaker.meter.function_usage import Caller, FunctionMeter, create_function_table
from peaker.meter.price import prices_of
from peaker.policy.lease import UNLIMITED_MICROUSD
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory

LIMIT = 1_600_000
DAY_S = 86_400


@dataclass
class Till:
    """Two workers' rows, the running total of what functions were billed, and the files beside them."""

    state: StateDirectory
    slots: SharedTable
    clock: VirtualClock
    total: int = 0

    def control(self, *, run: int = 1, limit: int | None = LIMIT) -> Spend:
        return Spend(
            self.state,
            run=run,
            slots=self.slots,
            spent_microusd=lambda: self.total,
            limit_microusd=limit,
            clock=self.clock,
        )

    def spend(self, row: int, microusd: int) -> None:
        self.total += microusd
        self.slots.set(row, "spent_microusd", self.slots.get(row, "spent_microusd") + microusd)

    def leases(self) -> list[int]:
        return [self.slots.get(row, "lease_microusd") for row in range(3)]


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    state = StateDirectory(tmp_path)
    made = Till(state, create_slot_table(state.slots, 3), VirtualClock())
    for row in range(2):
        made.slots.set(row, "pid", 100 + row)
        made.slots.set(row, "status", WorkerStatus.READY)
    yield made
    made.slots.close()


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
    till.total = 0
    third = till.control(run=2)
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


def test_invocations_that_no_gate_asked_for_leave_less_for_the_gates(till: Till) -> None:
    """Direct calls and events are in the total, and in no gate's lease."""
    control = till.control(limit=1_000_000)
    control.tick()
    till.total += 999_000
    control.tick()
    till.spend(0, till.leases()[0])
    control.tick()
    assert control.ledger.spent_microusd == 999_000 + 1_000_000 // 32
    assert till.leases() == [1_000_000 // 32, 1_000_000 // 32, 0], "nothing more is given"


def test_every_invocation_is_spent_once_whoever_asked_for_it(tmp_path: Path) -> None:
    """100 ms at 512 MB is 0.05 GB-s x $0.0000133334 + $0.0000002 = $0.00000086667; a thousand of three kinds."""
    table = create_function_table(tmp_path / "functions.table")
    meter = FunctionMeter(tmp_path / "functions.table", "arm64")
    for _ in range(1000):
        for caller in Caller:
            meter.ended("shop-web", caller, memory_mb=512, billed_ms=100, duration_ms=99.5)
    assert billed_by_host_microusd(table, prices_of(Settings())) == round(3 * 866.67)
    table.close()
