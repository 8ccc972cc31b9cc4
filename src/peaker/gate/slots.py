"""The free-slot table: what each worker of this machine has room for, seen by all of them."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from peaker.shared_table import SharedTable

COLUMNS = (
    "pid",
    "status",
    "generation",
    "in_flight",
    "slots",
    "lag_us",
    "heartbeat_ms",
    "connections",
    "websockets",
    "waiting",
    "spilling",
    "lease_microusd",
    "spent_microusd",
)

HEARTBEAT_MS_MAX = 250
"""A worker whose heartbeat is older has a stuck loop; nothing is handed to it. Workers beat every 10 ms."""


class WorkerStatus(IntEnum):
    """The life of a worker; rows of workers that are gone are EMPTY again."""

    EMPTY = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


def create_slot_table(path: Path, workers_max: int) -> SharedTable:
    """Made by the supervisor: one row for each worker there may ever be at once."""
    return SharedTable.create(path, COLUMNS, workers_max)


def open_slot_table(path: Path) -> SharedTable:
    """Map the table made by the supervisor; raises StateError where it cannot be."""
    return SharedTable.open(path, COLUMNS)
