"""Times and sizes counted in bins 4 % wide: any number of them in 7 KB, merged by adding.

A value is told as the geometric middle of its bin, so it is off by at most sqrt(1.04) - 1 = 1.98 %. The mean is kept
exactly, as sum and count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BIN_WIDTH = 1.04
LOWEST = 1e-6
HIGHEST = 1e9
"""As seconds 1 us to 31 years, as bytes up to 1 GB. Beyond lies in the first and the last bin."""

_LOG_WIDTH = math.log(BIN_WIDTH)
BINS = math.ceil(math.log(HIGHEST / LOWEST) / _LOG_WIDTH) + 1
"""Bin 0 holds all up to LOWEST, zero too; bin i holds (LOWEST * 1.04^(i-1), LOWEST * 1.04^i]."""

_MIDDLES = LOWEST * BIN_WIDTH ** (np.arange(BINS) - 0.5)
_MIDDLES[0] = LOWEST / 2


def bins_of(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each value; values must not be nan."""
    logs: NDArray[np.float64] = np.log(np.maximum(values, LOWEST) / LOWEST)
    # The tolerance keeps a value that is a bin's edge, not exact in binary, out of the bin above.
    index = np.ceil(logs / _LOG_WIDTH - 1e-9).astype(np.intp)
    clipped: NDArray[np.intp] = np.clip(index, 0, BINS - 1)
    return clipped


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bin, with count, sum, smallest and largest of the values themselves."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    total: float = 0.0
    smallest: float = math.inf
    largest: float = 0.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Histogram:
        """The histogram of values of 0 or more.

        Raises:
            ValueError: a value is negative or nan.
        """
        if not values.size:
            return cls()
        if not np.all(values >= 0):
            raise ValueError("a histogram holds values of 0 or more")
        counts = np.bincount(bins_of(values), minlength=BINS).astype(np.int64)
        return cls(counts, float(values.sum()), float(values.min()), float(values.max()))

    @property
    def count(self) -> int:
        """How many values."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Exact; nan where there is no value."""
        count = self.count
        return self.total / count if count else math.nan

    def quantile(self, q: float) -> float:
        """The value that a share `q` of all lies at or below (nearest rank), within 2 %; nan where there is none."""
        if not 0 <= q <= 1:
            raise ValueError(f"q = {q:g} is not allowed; allowed: 0 to 1")
        count = self.count
        if not count:
            return math.nan
        rank = max(1, math.ceil(q * count))
        index = int(np.searchsorted(np.cumsum(self.counts), rank))
        return self._bounded(float(_MIDDLES[index]))

    def sample_points(self, n: int) -> NDArray[np.float64]:
        """`n` values, rising, each standing for as many of the whole: the quantiles (i + 1/2) / n."""
        if n < 1:
            raise ValueError(f"n = {n} is not allowed; allowed: 1 or more")
        count = self.count
        if not count:
            return np.empty(0)
        ranks = np.maximum(1, np.ceil((np.arange(n) + 0.5) / n * count))
        index = np.searchsorted(np.cumsum(self.counts), ranks)
        points: NDArray[np.float64] = np.clip(_MIDDLES[index], self.smallest, self.largest)
        return points

    def merge(self, other: Histogram) -> Histogram:
        """Both together."""
        return Histogram(
            self.counts + other.counts,
            self.total + other.total,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
        )

    def summary(self) -> dict[str, Any]:
        """Count, mean, quantiles and largest, for reports."""
        if not self.count:
            return {"count": 0}
        quantiles = {f"p{q * 100:g}": self.quantile(q) for q in (0.5, 0.9, 0.95, 0.99)}
        return {"count": self.count, "mean": self.mean, **quantiles, "max": self.largest}

    def _bounded(self, value: float) -> float:
        return min(max(value, self.smallest), self.largest)
