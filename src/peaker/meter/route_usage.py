"""Latency histograms by declared route, coarse ones: what monitoring asks for, in a bounded number.

Routes are those that `[[route]]` declares; requests of all others count as one. Which block of columns belongs to
which route stands in the block itself, so that a worker with other settings, after a reload, mixes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from peaker.meter.usage import BUCKETS, HISTOGRAMS, Ran, bucket_end_s, bucket_of
from peaker.shared_table import SharedTable

ROUTES_MAX = 32
UNDECLARED = "(undeclared)"
OTHERS = "(others)"
"""Declared beyond ROUTES_MAX, or before a reload and not any more."""

_EVERY = 16
EDGES = tuple(bucket for bucket in range(4 * _EVERY - 1, 19 * _EVERY, _EVERY))
"""Last fine bucket of each coarse one: from 1 ms up, each twice the one before, to 33.6 s."""
EDGES_S = tuple(bucket_end_s(bucket) for bucket in EDGES)

_COARSE = len(EDGES) + 1
_FINE_TO_COARSE = [next((n for n, edge in enumerate(EDGES) if bucket <= edge), len(EDGES)) for bucket in range(BUCKETS)]
_CELLS = _COARSE + 1
"""Counts by bucket, and the sum of latencies in microseconds."""
_BLOCK = 1 + len(HISTOGRAMS) * _CELLS
_BLOCKS = ROUTES_MAX + 1
COLUMNS = tuple(f"block_{block}_{cell}" for block in range(_BLOCKS) for cell in range(_BLOCK))


def coarse(counts: Iterable[int]) -> tuple[int, ...]:
    """A histogram of fine buckets in those of `EDGES_S` and one above."""
    found = [0] * _COARSE
    for bucket, count in enumerate(counts):
        found[_FINE_TO_COARSE[bucket]] += count
    return tuple(found)


class RouteRow:
    """One worker's row: a block for each of its declared routes."""

    def __init__(self, table: SharedTable, row: int, paths: Iterable[str]) -> None:
        self._cells = table.cells
        first = row * table.width
        self._blocks = {path: self._claim(first, path) for path in (UNDECLARED, *paths)}

    def _claim(self, first: int, path: str) -> int:
        key = _key(path)
        for block in range(ROUTES_MAX):
            start = first + block * _BLOCK
            if self._cells[start] in (0, key):
                self._cells[start] = key
                return start
        start = first + ROUTES_MAX * _BLOCK
        self._cells[start] = _key(OTHERS)
        return start

    def latency(self, path: str, ran: Ran, latency_s: float, times: int = 1) -> None:
        """Count finished requests of a declared route; `path` as declared, "" for an undeclared one."""
        start = self._blocks.get(path)
        if start is None:
            start = self._blocks[UNDECLARED]
        at = start + 1 + ran * _CELLS
        self._cells[at + _FINE_TO_COARSE[bucket_of(latency_s)]] += times
        self._cells[at + _COARSE] += int(latency_s * 1e6) * times


RouteHistogram = tuple[tuple[int, ...], float]
"""Counts by coarse bucket, and the sum of latencies in seconds."""


def read_routes(table: SharedTable, paths: Iterable[str]) -> dict[tuple[str, Ran], RouteHistogram]:
    """Sum over all workers, for the routes that are declared now; what belongs to none of them is under OTHERS."""
    names = {_key(path): path for path in (UNDECLARED, *paths)}
    cells = table.cells.tolist()
    sums: dict[tuple[str, Ran], list[int]] = {}
    for start in range(0, len(cells), _BLOCK):
        if not cells[start]:
            continue
        name = names.get(cells[start], OTHERS)
        for ran in HISTOGRAMS:
            at = start + 1 + ran * _CELLS
            into = sums.setdefault((name, ran), [0] * _CELLS)
            for cell in range(_CELLS):
                into[cell] += cells[at + cell]
    return {key: (tuple(counts[:_COARSE]), counts[_COARSE] / 1e6) for key, counts in sums.items() if any(counts)}


def create_route_table(path: Path, workers_max: int) -> SharedTable:
    """Made by the supervisor for each run: one row a worker."""
    return SharedTable.create(path, COLUMNS, workers_max)


def open_route_table(path: Path) -> SharedTable:
    """Map the table made by the supervisor; raises StateError where it cannot be."""
    return SharedTable.open(path, COLUMNS)


def _key(path: str) -> int:
    return crc32(path.encode()) + 1
