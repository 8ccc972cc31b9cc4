"""What functions were billed for, counted by the function host as Lambda would bill it: one row a function and caller.

The table outlives its writers: a new host goes on in the rows of the one before, so totals never fall; while two live
beside each other, during a reload, each has rows of its own. What is lost with a killed host is what ran in it at that
moment.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from peaker.shared_table import SharedTable

ROWS = 256
"""Functions times callers of one run; what comes after that is counted together, as OTHERS."""

OTHERS = "(others)"


class Caller(IntEnum):
    """Who had the function run."""

    GATE = 1
    """A request of the web app: spilled, or on a route that runs on functions."""
    DIRECT = 2
    """A call of the Invoke API."""
    EVENT = 3
    """An event."""


class Architecture(IntEnum):
    """What the function is priced as."""

    ARM64 = 1
    X86_64 = 2


_NAME_WORDS = 10
_NAME_BYTES = _NAME_WORDS * 8
_NAME = struct.Struct(f"<{_NAME_WORDS}q")
_COUNTERS = (
    "invocations",
    "cold_starts",
    "failures",
    "timeouts",
    "throttled",
    "duration_us",
    "init_us",
    "billed_ms",
    "billed_mb_ms",
)
COLUMNS = (*(f"name_{word}" for word in range(_NAME_WORDS)), "caller", "architecture", "owner_pid", *_COUNTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUsage:
    """What one function was used by one kind of caller. `billed_mb_ms` is memory times billed time, exactly."""

    name: str
    caller: Caller
    architecture: Architecture
    invocations: int = 0
    cold_starts: int = 0
    failures: int = 0
    timeouts: int = 0
    throttled: int = 0
    duration_us: int = 0
    init_us: int = 0
    billed_ms: int = 0
    billed_mb_ms: int = 0

    @property
    def gb_seconds(self) -> float:
        """As Lambda counts them: a GB is 1,024 MB."""
        return self.billed_mb_ms / 1024 / 1000


class FunctionMeter:
    """One host's side of the table at `path`; raises StateError where that cannot be opened."""

    def __init__(self, path: Path, architecture: str) -> None:
        self._path = path
        self._table = table = open_function_table(path)
        self._architecture = Architecture[architecture.upper()]
        self._starts: dict[tuple[str, Caller], int] = {}
        self._first_counter = table.columns[_COUNTERS[0]]

    def ended(
        self,
        function: str,
        caller: Caller,
        *,
        memory_mb: int,
        billed_ms: int,
        duration_ms: float,
        init_ms: float | None = None,
        failed: bool = False,
        timed_out: bool = False,
    ) -> None:
        """One invocation is over; `init_ms` is that of a cold start, None for a warm one."""
        cells, start = self._table.cells, self._start(function, caller)
        cells[start] += 1
        cells[start + _COLD] += init_ms is not None
        cells[start + _FAILURES] += failed
        cells[start + _TIMEOUTS] += timed_out
        cells[start + _DURATION] += int(duration_ms * 1000)
        cells[start + _INIT] += int((init_ms or 0.0) * 1000)
        cells[start + _BILLED] += billed_ms
        cells[start + _BILLED_MB] += billed_ms * memory_mb

    def throttled(self, function: str, caller: Caller) -> None:
        """One call was turned away."""
        self._table.cells[self._start(function, caller) + _THROTTLED] += 1

    def _start(self, function: str, caller: Caller) -> int:
        start = self._starts.get((function, caller))
        if start is None:
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # Held for a moment, once for each function and caller.
                start = self._claim(function, caller) * self._table.width + self._first_counter
            self._starts[function, caller] = start
        return start

    def _claim(self, function: str, caller: Caller) -> int:
        """This function's row of a host that is gone, or one more; the last rows of all belong to the others."""
        table, key = self._table, (function, caller, self._architecture)
        own = table.rows - len(Caller) * len(Architecture)
        for row in range(own):
            if not table.get(row, "caller"):
                self._write_key(row, function, caller)
                return row
            if _key_of(table, row) == key and not _lives(table.get(row, "owner_pid")):
                table.set(row, "owner_pid", os.getpid())
                return row
        row = own + (caller - 1) * len(Architecture) + self._architecture - 1
        self._write_key(row, OTHERS, caller)
        return row

    def _write_key(self, row: int, function: str, caller: Caller) -> None:
        for word, value in enumerate(_NAME.unpack(function.encode()[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"))):
            self._table.set(row, f"name_{word}", value)
        self._table.set(row, "architecture", self._architecture)
        self._table.set(row, "owner_pid", os.getpid())
        self._table.set(row, "caller", caller)  # Last: a row with a caller has its name.


def create_function_table(path: Path, rows: int = ROWS) -> SharedTable:
    """Made by the supervisor for each run."""
    return SharedTable.create(path, COLUMNS, rows + len(Caller) * len(Architecture))


def open_function_table(path: Path) -> SharedTable:
    """Map the table made by the supervisor; raises StateError where it cannot be."""
    return SharedTable.open(path, COLUMNS)


def read_functions(table: SharedTable) -> tuple[FunctionUsage, ...]:
    """Each function and caller once, in the order of first use."""
    found: dict[tuple[str, Caller, Architecture], FunctionUsage] = {}
    for row in range(table.rows):
        if not table.get(row, "caller"):
            continue
        key = name, caller, architecture = _key_of(table, row)
        before = found.get(key, FunctionUsage(name=name, caller=caller, architecture=architecture))
        counts = {counter: getattr(before, counter) + table.get(row, counter) for counter in _COUNTERS}
        found[key] = replace(before, **counts)
    return tuple(found.values())


def _lives(pid: int) -> bool:
    return pid != os.getpid() and Path(f"/proc/{pid}").exists()


def _key_of(table: SharedTable, row: int) -> tuple[str, Caller, Architecture]:
    words = [table.get(row, f"name_{word}") for word in range(_NAME_WORDS)]
    name = _NAME.pack(*words).rstrip(b"\0").decode(errors="replace")
    return name, Caller(table.get(row, "caller")), Architecture(table.get(row, "architecture"))


_COLD, _FAILURES, _TIMEOUTS, _THROTTLED, _DURATION, _INIT, _BILLED, _BILLED_MB = range(1, len(_COUNTERS))
