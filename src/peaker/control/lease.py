"""The spend ledger of the running app: reads what functions were billed for, writes leases, keeps the day on disk.

Each run of a function is counted once, by whom it was run: the function host counts every invocation it runs, whoever
asked (a gate, boto3, an event). What gates reckon themselves is only how they keep within their leases.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from peaker.clock import Clock
from peaker.engines.local.state_dir import write_private
from peaker.errors import StateError
from peaker.gate.slots import WorkerStatus
from peaker.meter.function_usage import read_functions
from peaker.meter.price import Prices
from peaker.meter.usage import read_usage
from peaker.policy.lease import Holding, Ledger, count_spend, is_used_up, share_out
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory

TICK_S = 1.0
_DAY_S = 86_400


class Spend:
    """Ticks once a second; everything it decides is in `policy/lease.py`.

    `spent_microusd` reads the running total of the tables that were made at `run` (`SharedTable.made_ns`).
    """

    def __init__(
        self,
        state: StateDirectory,
        *,
        run: int,
        slots: SharedTable,
        spent_microusd: Callable[[], int],
        limit_microusd: int | None,
        clock: Clock,
    ) -> None:
        self._state = state
        self._run = run
        self._slots = slots
        self._spent_microusd = spent_microusd
        self._limit_microusd = limit_microusd
        self._clock = clock
        self._ledger = read_ledger(state)

    @property
    def ledger(self) -> Ledger:
        """As of the last tick."""
        return self._ledger

    @property
    def is_within(self) -> bool:
        """The day's spend is not used up, as of the last tick."""
        return not is_used_up(self._ledger, len(self._holdings()), self._limit_microusd)

    def tick(self) -> None:
        """Count, keep, lease: in this order, so that a restart never finds more leased than was counted.

        Raises:
            OSError: the ledger could not be written; nothing was leased.
        """
        owners = [self._slots.get(row, "pid") for row in range(self._slots.rows)]
        # Before the total: a run is in the total before its gate takes it out of its lease, so that what falls between
        # the two readings is in both and not in neither.
        holdings = self._holdings()
        ledger = count_spend(
            self._ledger,
            day=int(self._clock.epoch_s() // _DAY_S),
            run=self._run,
            total_microusd=self._spent_microusd(),
        )
        if ledger != self._ledger:
            write_private(self._state.spend, json.dumps(asdict(ledger)) + "\n")
            self._ledger = ledger
        for row, lease in share_out(ledger, holdings, self._limit_microusd).items():
            # A row that has changed hands meanwhile begins at 0; its new owner may not have the old one's lease.
            if self._slots.get(row, "pid") == owners[row]:
                self._slots.set(row, "lease_microusd", lease)

    def _holdings(self) -> dict[int, Holding]:
        return {
            row: Holding(
                lease_microusd=self._slots.get(row, "lease_microusd"),
                spent_microusd=self._slots.get(row, "spent_microusd"),
            )
            for row in range(self._slots.rows)
            if self._slots.get(row, "status") != WorkerStatus.EMPTY
        }


def spent_by_gates_microusd(usage: SharedTable) -> int:
    """What gates have reckoned since the run began: all there is where the function is on AWS, which keeps no table."""
    return read_usage(usage).counters["spend_microusd"]


def billed_by_host_microusd(functions: SharedTable, prices: Prices) -> int:
    """What the function host has counted since the run began."""
    usd = sum(
        prices.functions_usd(row.invocations, row.billed_mb_ms, row.architecture) for row in read_functions(functions)
    )
    return round(usd * 1e6)


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
