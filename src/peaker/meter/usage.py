"""Counters and latency histograms that every worker writes and control, ops and the command line read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from peaker.shared_table import SharedTable


class Ran(IntEnum):
    """Where a request was answered."""

    SERVER = 0
    SIBLING = 1
    FUNCTION = 2
    REFUSED = 3


COUNTERS = (
    "requests",
    "on_server",
    "on_sibling",
    "on_function",
    "refused",
    "waited",
    "client_gone",
    "failed",
    "cold_starts",
    "function_errors",
    "throttled",
    "spill_denied_spend",
    "spill_denied_slow_store",
    "spill_billed_ms",
    "spend_microusd",
    "websockets",
    "spilled",
    "cpu_us",
)

# Log-linear buckets: sixteen to the octave is a width of 4.4 %, from 64 us to 2^30 us (18 minutes).
_BUCKETS_PER_OCTAVE = 16
_FIRST_OCTAVE = 6
_LAST_OCTAVE = 30
BUCKETS = (_LAST_OCTAVE - _FIRST_OCTAVE) * _BUCKETS_PER_OCTAVE
HISTOGRAMS = (Ran.SERVER, Ran.SIBLING, Ran.FUNCTION)
COLUMNS = COUNTERS + tuple(f"latency_{ran.name.lower()}_{bucket}" for ran in HISTOGRAMS for bucket in range(BUCKETS))
COUNTER_INDEX = {name: index for index, name in enumerate(COUNTERS)}

_log2 = math.log2


def bucket_of(latency_s: float) -> int:
    """Index of the bucket that holds this latency; the ends take what lies beyond them."""
    latency_us = latency_s * 1e6
    if latency_us < 1 << _FIRST_OCTAVE:
        return 0
    return min(int((_log2(latency_us) - _FIRST_OCTAVE) * _BUCKETS_PER_OCTAVE), BUCKETS - 1)


def bucket_end_s(bucket: int) -> float:
    """Upper end of a bucket in seconds."""
    return float(2.0 ** (_FIRST_OCTAVE + (bucket + 1) / _BUCKETS_PER_OCTAVE) / 1e6)


class UsageRow:
    """One worker's counters; `add` and `latency` are on the request path."""

    __slots__ = ("_cells", "_histogram_start", "_start")

    def __init__(self, table: SharedTable, row: int) -> None:
        self._cells = table.cells
        self._start = row * table.width
        self._histogram_start = self._start + len(COUNTERS)

    def add(self, counter: int, amount: int = 1) -> None:
        """Add to a counter, named by its place in COUNTERS (`COUNTER_INDEX`)."""
        self._cells[self._start + counter] += amount

    def latency(self, ran: Ran, latency_s: float) -> None:
        """Count one finished request in the histogram of where it ran."""
        self._cells[self._histogram_start + ran * BUCKETS + bucket_of(latency_s)] += 1

    def latencies(self, ran: Ran, latencies_s: Iterable[float], times: int) -> None:
        """Count many finished requests in the histogram of where they ran, each `times` over."""
        cells, start = self._cells, self._histogram_start + ran * BUCKETS
        for latency_s in latencies_s:
            cells[start + bucket_of(latency_s)] += times


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of all workers together at one moment; subtract an earlier one to see what came between."""

    counters: dict[str, int]
    histograms: dict[Ran, tuple[int, ...]]

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            {name: count - earlier.counters[name] for name, count in self.counters.items()},
            {
                ran: tuple(now - then for now, then in zip(counts, earlier.histograms[ran], strict=True))
                for ran, counts in self.histograms.items()
            },
        )

    def percentile_s(self, fraction: float, rans: Iterable[Ran] = HISTOGRAMS) -> float | None:
        """Latency that this fraction of requests stayed within, to the upper end of its bucket; None without any."""
        counts = [sum(column) for column in zip(*(self.histograms[ran] for ran in rans), strict=True)]
        total = sum(counts)
        if not total:
            return None
        wanted, seen = fraction * total, 0
        for bucket, count in enumerate(counts):
            seen += count
            if seen >= wanted:
                return bucket_end_s(bucket)
        return bucket_end_s(BUCKETS - 1)


def create_usage_table(path: Path, workers_max: int) -> SharedTable:
    """One row a worker. A worker goes on in the row of the one before it, so that totals never fall."""
    return SharedTable.create(path, COLUMNS, workers_max)


def open_usage_table(path: Path) -> SharedTable:
    """Map the table made by the supervisor; raises StateError where it cannot be."""
    return SharedTable.open(path, COLUMNS)


def read_usage(table: SharedTable) -> Usage:
    """Sum over all rows."""
    width = table.width
    snapshot = table.cells.tolist()
    totals = [sum(snapshot[column::width]) for column in range(width)]
    histograms = {}
    for ran in HISTOGRAMS:
        start = len(COUNTERS) + ran * BUCKETS
        histograms[ran] = tuple(totals[start : start + BUCKETS])
    return Usage(dict(zip(COUNTERS, totals, strict=False)), histograms)
