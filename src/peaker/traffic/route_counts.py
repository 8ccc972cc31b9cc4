"""Counts and histograms by route in arrays that grow to ROUTES_HELD_MAX rows; the smallest are folded then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peaker.traffic.histogram import BINS, Histogram, bins_of
from peaker.traffic.requests import OTHER, ROUTES_MAX
from peaker.traffic.route_names import folded

ROUTES_HELD_MAX = 2000
_ROWS_AT_FIRST = 16
_CLASSES = 10
_METHODS = 9


class HistogramRows:
    """One histogram a route, as rows of one array."""

    def __init__(self, rows: int) -> None:
        self.counts = np.zeros((rows, BINS), np.int64)
        self.total = np.zeros(rows)
        self.smallest = np.full(rows, np.inf)
        self.largest = np.zeros(rows)

    def add(self, rows: NDArray[np.intp], values: NDArray[np.float64]) -> None:
        """Count each value in its row; nan is not counted."""
        told = ~np.isnan(values)
        rows, values = rows[told], values[told]
        np.add.at(self.counts.reshape(-1), rows * BINS + bins_of(values), 1)
        np.add.at(self.total, rows, values)
        np.minimum.at(self.smallest, rows, values)
        np.maximum.at(self.largest, rows, values)

    def histogram(self, row: int) -> Histogram:
        """That of one row, its own copy."""
        return Histogram(
            self.counts[row].copy(), float(self.total[row]), float(self.smallest[row]), float(self.largest[row])
        )

    def put(self, row: int, histogram: Histogram) -> None:
        """Merge one into a row."""
        self.counts[row] += histogram.counts
        self.total[row] += histogram.total
        self.smallest[row] = min(self.smallest[row], histogram.smallest)
        self.largest[row] = max(self.largest[row], histogram.largest)

    def resized(self, rows: int) -> HistogramRows:
        """The same with more or fewer rows."""
        made = HistogramRows(rows)
        keep = min(rows, len(self.total))
        for name in ("counts", "total", "smallest", "largest"):
            getattr(made, name)[:keep] = getattr(self, name)[:keep]
        return made


class RouteCounts:
    """What is kept of each route."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self._status = np.zeros((_ROWS_AT_FIRST, _CLASSES), np.int64)
        self._methods = np.zeros((_ROWS_AT_FIRST, _METHODS), np.int64)
        self._histograms: dict[str, HistogramRows] = {}

    def add(
        self,
        routes: Sequence[str],
        *,
        methods: NDArray[np.int64],
        status_class: NDArray[np.int16],
        service_s: NDArray[np.float64] | None,
        request_bytes: NDArray[np.float64] | None,
        response_bytes: NDArray[np.float64] | None,
    ) -> None:
        """Count a block of requests, each with its route's name."""
        known = self.rows
        for name in set(routes).difference(known):
            known[name] = len(known)
        self._grow(len(known))
        rows = np.fromiter(map(known.__getitem__, routes), np.intp, len(routes))
        np.add.at(self._status, (rows, status_class), 1)
        np.add.at(self._methods, (rows, methods), 1)
        for name, values in (("service", service_s), ("request", request_bytes), ("response", response_bytes)):
            if values is not None:
                self._rows_of(name).add(rows, values)
        if len(known) > ROUTES_HELD_MAX:
            self.fold(ROUTES_HELD_MAX // 2)

    def _rows_of(self, name: str) -> HistogramRows:
        if name not in self._histograms:
            self._histograms[name] = HistogramRows(len(self._status))
        return self._histograms[name]

    def _grow(self, needed: int) -> None:
        size = len(self._status)
        if needed <= size:
            return
        self._resize(max(needed, 2 * size))

    def _resize(self, size: int) -> None:
        keep = min(size, len(self._status))
        status, methods = np.zeros((size, _CLASSES), np.int64), np.zeros((size, _METHODS), np.int64)
        status[:keep], methods[:keep] = self._status[:keep], self._methods[:keep]
        self._status, self._methods = status, methods
        self._histograms = {name: held.resized(size) for name, held in self._histograms.items()}

    def count(self, name: str) -> int:
        """Requests of a route."""
        return int(self._status[self.rows[name]].sum())

    def status_classes(self, name: str) -> Counter[int]:
        """Of one route, by hundred."""
        return Counter({place: int(count) for place, count in enumerate(self._status[self.rows[name]]) if count})

    def methods(self, name: str) -> Counter[int]:
        """Of one route, by the method's number."""
        return Counter({place: int(count) for place, count in enumerate(self._methods[self.rows[name]]) if count})

    def histogram(self, name: str, of: str) -> Histogram | None:
        """Of one route: `service`, `request` or `response`; None where the log has none of it."""
        return self._histograms[of].histogram(self.rows[name]) if of in self._histograms else None

    def merge(self, other: RouteCounts) -> None:
        """Add the other's routes."""
        self._merge_as(other, {name: name for name in other.rows})
        if len(self.rows) > ROUTES_HELD_MAX:
            self.fold(ROUTES_HELD_MAX // 2)

    def _merge_as(self, other: RouteCounts, names: dict[str, str]) -> None:
        for name in names.values():
            self.rows.setdefault(name, len(self.rows))
        self._grow(len(self.rows))
        for name, row in other.rows.items():
            mine = self.rows[names[name]]
            self._status[mine] += other._status[row]
            self._methods[mine] += other._methods[row]
            for kind, held in other._histograms.items():
                self._rows_of(kind).put(mine, held.histogram(row))

    def fold(self, routes_max: int = ROUTES_MAX) -> None:
        """Make of crowded places parameters, then of all but the largest `routes_max - 1` one route, OTHER."""
        if len(self.rows) <= routes_max:
            return
        self._become(folded({name: self.count(name) for name in self.rows}))
        if len(self.rows) > routes_max:
            by_count = sorted(self.rows, key=lambda name: (name != OTHER, self.count(name)), reverse=True)
            keep = set(by_count[: routes_max - 1])
            self._become({name: name if name in keep else OTHER for name in self.rows})

    def _become(self, names: dict[str, str]) -> None:
        made = RouteCounts()
        made._merge_as(self, names)
        self.rows, self._status, self._methods = made.rows, made._status, made._methods
        self._histograms = made._histograms

    def __getstate__(self) -> dict[str, Any]:
        """Without the rows that are not in use: it crosses between processes."""
        self._resize(max(1, len(self.rows)))
        return dict(self.__dict__)
