"""The supervisor's side of the shared tables: which worker has which row."""

from __future__ import annotations

from collections.abc import Collection

from peaker.gate.slots import create_slot_table, open_slot_table
from peaker.meter.function_usage import create_function_table
from peaker.meter.route_usage import create_route_table
from peaker.meter.usage import Usage, create_usage_table, open_usage_table, read_usage
from peaker.meter.work import create_work_table
from peaker.policy.supervision import free_row, table_rows
from peaker.settings import Settings
from peaker.state import StateDirectory


class Rows:
    """Rows of the slot and the usage table; `is_fresh` makes both anew.

    Raises:
        StateError: tables of a running app cannot be opened.
    """

    def __init__(self, state: StateDirectory, settings: Settings, workers_per_server: int, *, is_fresh: bool) -> None:
        workers_max = settings.servers.count_max * workers_per_server
        rows = table_rows(workers_max, workers_per_server)
        self._slots = create_slot_table(state.slots, rows) if is_fresh else open_slot_table(state.slots)
        self._usage = create_usage_table(state.usage, rows) if is_fresh else open_usage_table(state.usage)
        if is_fresh:
            create_function_table(state.function_usage).close()
            create_route_table(state.route_usage, rows).close()
            create_work_table(state.work).close()
        # Connections of a [[resource]] are counted for workers_max processes, and one that drains still holds its own.
        self._at_once = workers_max if settings.resource else self._slots.rows

    def free(self, taken: Collection[int]) -> int | None:
        """A row for one more worker; None while as many as there may be are there."""
        return None if len(taken) >= self._at_once else free_row(self._slots.rows, taken)

    def clear(self, row: int) -> None:
        """The worker of this row is gone, its slots are nobody's; its counts stay, and the next one adds to them."""
        self._slots.clear(row)

    def clear_all_but(self, taken: Collection[int]) -> None:
        """Clear what workers left that died while nobody watched."""
        for row in range(self._slots.rows):
            if row not in taken and self._slots.get(row, "pid"):
                self.clear(row)

    def usage(self) -> Usage:
        """Counts of all workers since the start, the dead included."""
        return read_usage(self._usage)

    def close(self) -> None:
        """Unmap the tables."""
        self._slots.close()
        self._usage.close()
