"""What a worker sees of its siblings in the slot table."""

from __future__ import annotations

from peaker.clock import Clock
from peaker.gate.slots import HEARTBEAT_MS_MAX, WorkerStatus
from peaker.policy.sharing import Neighbour
from peaker.shared_table import SharedTable


class Neighbourhood:
    """Reads the rows of the other workers of the same generation.

    The table has room for every worker there may ever be, and most rows are empty: `refresh` notes the few that are
    not, every 10 ms, and `ready` visits only those (about a microsecond each).
    """

    def __init__(self, table: SharedTable, *, row: int, generation: int, clock: Clock, lag_ms_max: float) -> None:
        self._cells = table.cells
        self._width = table.width
        self._own_row = row
        self._generation = generation
        self._now_s = clock.now_s
        self._lag_us_max = lag_ms_max * 1000
        columns = table.columns
        self._status = columns["status"]
        self._generation_column = columns["generation"]
        self._in_flight = columns["in_flight"]
        self._slots = columns["slots"]
        self._lag = columns["lag_us"]
        self._heartbeat = columns["heartbeat_ms"]
        self._connections = columns["connections"]
        self._starts: list[tuple[int, int]] = []
        self.refresh()

    def refresh(self) -> None:
        """Note which rows belong to siblings of this generation."""
        width = self._width
        generations = self._cells[self._generation_column :: width].tolist()
        statuses = self._cells[self._status :: width].tolist()
        self._starts = [
            (row, row * width)
            for row, status in enumerate(statuses)
            if status and generations[row] == self._generation and row != self._own_row
        ]

    def ready(self) -> list[Neighbour]:
        """Siblings that serve and whose loop has beaten of late."""
        cells = self._cells
        beaten_ms_min = self._now_s() * 1000 - HEARTBEAT_MS_MAX
        found = []
        for row, start in self._starts:
            if (
                cells[start + self._status] == WorkerStatus.READY
                and cells[start + self._generation_column] == self._generation
                and cells[start + self._heartbeat] >= beaten_ms_min
            ):
                lags = cells[start + self._lag] > self._lag_us_max
                free = 0 if lags else cells[start + self._slots] - cells[start + self._in_flight]
                found.append(Neighbour(row, max(0, free), cells[start + self._connections]))
        return found
