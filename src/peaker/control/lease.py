"""The spend ledger of the running app: reads what workers report, writes leases, keeps the day's sum on disk."""

from __future__ import annotations

import json
from dataclasses import asdict

from peaker.clock import Clock
from peaker.engines.local.state_dir import write_private
from peaker.errors import StateError
from peaker.gate.slots import WorkerStatus
from peaker.meter.usage import COUNTER_INDEX
from peaker.policy.lease import Holding, Ledger, count_spend, share_out
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory

TICK_S = 1.0
_DAY_S = 86_400


class Spend:
    """Ticks once a second; everything it decides is in `policy/lease.py`."""

    def __init__(
        self,
        state: StateDirectory,
        *,
        generation: int,
        slots: SharedTable,
        usage: SharedTable,
        limit_microusd: int | None,
        clock: Clock,
    ) -> None:
        self._state = state
        self._generation = generation
        self._slots = slots
        self._usage = usage
        self._limit_microusd = limit_microusd
        self._clock = clock
        self._ledger = read_ledger(state)

    @property
    def ledger(self) -> Ledger:
        """As of the last tick."""
        return self._ledger

    def tick(self) -> None:
        """Count, keep, lease: in this order, so that a restart never finds more leased than was counted.

        Raises:
            OSError: the ledger could not be written; nothing was leased.
        """
        column = COUNTER_INDEX["spend_microusd"]
        spent = self._usage.cells.tolist()[column :: self._usage.width]
        # Both the total and each gate's own sum come from this one reading: what falls between two readings could
        # be missing in both.
        owners = [self._slots.get(row, "pid") for row in range(self._slots.rows)]
        holdings = self._holdings(spent)
        ledger = count_spend(
            self._ledger,
            day=int(self._clock.epoch_s() // _DAY_S),
            generation=self._generation,
            total_microusd=sum(spent),
        )
        if ledger != self._ledger:
            write_private(self._state.spend, json.dumps(asdict(ledger)) + "\n")
            self._ledger = ledger
        for row, lease in share_out(ledger, holdings, self._limit_microusd).items():
            # A row that has changed hands meanwhile begins at 0; its new owner may not have the old one's lease.
            if self._slots.get(row, "pid") == owners[row]:
                self._slots.set(row, "lease_microusd", lease)

    def _holdings(self, spent: list[int]) -> dict[int, Holding]:
        return {
            row: Holding(
                lease_microusd=self._slots.get(row, "lease_microusd"),
                spent_microusd=spent[row],
            )
            for row in range(self._slots.rows)
            if self._slots.get(row, "status") != WorkerStatus.EMPTY
        }


def read_ledger(state: StateDirectory) -> Ledger:
    """What was kept; raises StateError where it cannot be read, for a lost sum would be spent twice."""
    try:
        return Ledger(**json.loads(state.spend.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Ledger()
    except (ValueError, TypeError) as error:
        raise StateError(
            f"the day's spend cannot be read: {error}.",
            where=str(state.spend),
            remedy="Remove the file to begin the day at 0.",
        ) from error
