"""Latencies counted in buckets 1 % wide: percentiles of any number of requests in 17 KB."""

from __future__ import annotations

import math
from array import array

BUCKET_WIDTH = 1.01
_LOG_WIDTH = math.log(BUCKET_WIDTH)
_LOWEST_US = 1.0
_HIGHEST_US = 1800e6
_BUCKETS = math.ceil(math.log(_HIGHEST_US / _LOWEST_US) / _LOG_WIDTH) + 1


class Latencies:
    """How many requests took how long, from 1 us to 30 minutes; what lies beyond counts at the end."""

    __slots__ = ("_buckets", "count", "max_s")

    def __init__(self) -> None:
        self._buckets = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.max_s = 0.0

    def add(self, latency_s: float) -> None:
        """Count one."""
        latency_us = latency_s * 1e6
        index = math.ceil(math.log(latency_us) / _LOG_WIDTH) if latency_us > _LOWEST_US else 0
        self._buckets[min(index, _BUCKETS - 1)] += 1
        self.count += 1
        self.max_s = max(self.max_s, latency_s)

    def percentile_s(self, fraction: float, *, failed: int = 0) -> float | None:
        """The latency that `fraction` of all stayed within, at most 1 % too high (nearest rank).

        `failed` counts requests that got no answer: each ranks above every answered one, so a system does not look
        faster for having refused. None where the rank falls on one of those, or nothing was counted.
        """
        rank = max(1, math.ceil(fraction * (self.count + failed)))
        if rank > self.count:
            return None
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= rank:
                return min(_LOWEST_US * BUCKET_WIDTH**index / 1e6, self.max_s)
        return self.max_s
