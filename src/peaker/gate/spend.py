"""What this gate may still spend on functions, and what it has spent."""

from __future__ import annotations

from peaker.meter.price import prices_of
from peaker.meter.usage import COUNTER_INDEX, UsageRow
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.units import billed_ms


class Spend:
    """One row's side of the lease (`gate/slots.py`): spent + reserved never goes above what control has leased.

    A run is reserved at what it is expected to cost and settled at what it did cost, so the gate can go over its lease
    only by the difference, of the runs in flight at that moment.
    """

    def __init__(self, settings: Settings, *, row: int, slots: SharedTable, usage: UsageRow) -> None:
        self._memory_mb = settings.functions.memory_mb
        self._prices = prices_of(settings)
        self._is_limited = settings.objective.spend_usd_per_day_max is not None
        self._cells = slots.cells
        self._lease_cell = row * slots.width + slots.columns["lease_microusd"]
        self._spent_cell = row * slots.width + slots.columns["spent_microusd"]
        self._usage = usage
        self._reserved_microusd = 0.0
        self._fraction_microusd = 0.0
        """Spent, but less than the one microdollar the table can hold."""

    def allows(self, expected_s: float) -> bool:
        """Whether one more run of this duration fits into the lease; without a spend limit, any does."""
        if not self._is_limited:
            return True
        wanted = self._cost_microusd(expected_s) + self._reserved_microusd + self._fraction_microusd
        return self._cells[self._spent_cell] + wanted <= self._cells[self._lease_cell]

    def reserve(self, expected_s: float) -> float:
        """Set aside what a run is expected to cost; returns the sum, for `settle`."""
        reserved = self._cost_microusd(expected_s)
        self._reserved_microusd += reserved
        return reserved

    def settle(self, reserved_microusd: float, billed_s: float) -> None:
        """The run is over; `billed_s` is 0 where it was never started."""
        self._reserved_microusd -= reserved_microusd
        if billed_s <= 0:
            return
        self._fraction_microusd += self._cost_microusd(billed_s)
        whole = int(self._fraction_microusd)
        self._fraction_microusd -= whole
        # The sum before the gate's own: control reads them the other way round, and so never misses what it is told of.
        self._usage.add(_SPEND, whole)
        self._usage.add(_BILLED_MS, billed_ms(billed_s))
        self._cells[self._spent_cell] += whole

    def _cost_microusd(self, duration_s: float) -> float:
        return self._prices.run_microusd(billed_ms(duration_s), self._memory_mb)


_SPEND = COUNTER_INDEX["spend_microusd"]
_BILLED_MS = COUNTER_INDEX["spill_billed_ms"]
