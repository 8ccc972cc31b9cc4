"""What a simulation found: frozen values of plain numbers, to be printed, saved and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from peaker.plan.workload import require

BINS_PER_OCTAVE = 128
"""A latency is known to within 1/128 of itself; between bin edges quantiles are interpolated."""

OCTAVE_MIN = -20
OCTAVE_MAX = 20
BINS = (OCTAVE_MAX - OCTAVE_MIN) * BINS_PER_OCTAVE
"""From 2^-20 s (1 us) to 2^20 s (12 days); what lies outside counts in the first or the last bin."""


def bin_edge_s(index: int) -> float:
    """Lower edge of a bin: each octave is cut into equal parts."""
    octave, part = divmod(index, BINS_PER_OCTAVE)
    return math.ldexp(1 + part / BINS_PER_OCTAVE, OCTAVE_MIN + octave)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Latencies in bins that grow with the latency: `counts[i]` is of bin `first + i`. Weighted counts are allowed."""

    first: int = 0
    counts: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """How many latencies there are."""
        return math.fsum(self.counts)

    def quantile_s(self, probability: float) -> float:
        """The latency that this share stays within, in seconds; 0 where there are none.

        Raises:
            PlanError: the probability is not within 0..1.
        """
        require(0 <= probability <= 1, "probability", probability, "within 0..1")
        wanted, below = probability * self.total, 0.0
        for offset, count in enumerate(self.counts):
            if count and below + count >= wanted:
                low, high = bin_edge_s(self.first + offset), bin_edge_s(self.first + offset + 1)
                return low + (high - low) * max(0.0, wanted - below) / count
            below += count
        return 0.0

    def share_within(self, latency_s: float) -> float:
        """The share of latencies up to this one, linear within its bin; 1 where there are none."""
        if not self.total:
            return 1.0
        below = 0.0
        for offset, count in enumerate(self.counts):
            low, high = bin_edge_s(self.first + offset), bin_edge_s(self.first + offset + 1)
            below += count * min(1.0, max(0.0, (latency_s - low) / (high - low)))
        return below / self.total


def histogram_of(bins: Sequence[float]) -> Histogram:
    """A histogram of all bins, without the empty ones at both ends."""
    used = [index for index, count in enumerate(bins) if count]
    return Histogram(used[0], tuple(bins[used[0] : used[-1] + 1])) if used else Histogram()


def merged(histograms: Sequence[Histogram], weights: Sequence[float] | None = None) -> Histogram:
    """The weighted sum of histograms."""
    bins = [0.0] * BINS
    for histogram, weight in zip(histograms, weights or [1.0] * len(histograms), strict=True):
        for offset, count in enumerate(histogram.counts):
            bins[histogram.first + offset] += weight * count
    return histogram_of(bins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One simulated trace.

    Each request has one end: `served` at once on a server, `waited` and then served there, `spilled` to a function,
    `refused` at once, or `timed_out`: refused after it had waited. Latencies of those answered are in `server_latency`
    (served and waited) and `function_latency`. `billed_run_ms` and `billed_init_ms` are rounded up for each invocation,
    as the bill does it. `instance_s` counts instances while they start, run and idle, `worker_s` the workers that were
    ready. `utilisation` is the share of slot time in use; with a `cpu_share`, `core_utilisation` is that of the cores.
    `throttled` counts looks at a request that would have run on a function, had one been free to start. `waited_s` is
    what requests waited in all. `spilled_by_step` and `refused_by_step` (timed out included) count by the step of
    arrival, where asked for.
    """

    requests: int
    served: int
    waited: int
    spilled: int
    refused: int
    timed_out: int
    within_objective: int
    cold_starts: int
    throttled: int
    billed_run_ms: int
    billed_init_ms: int
    instance_s: float
    instances_max: int
    worker_s: float
    utilisation: float
    core_utilisation: float
    queue_peak: int
    waited_s: float
    server_latency: Histogram
    function_latency: Histogram
    spilled_by_step: tuple[int, ...] = field(default=(), repr=False)
    refused_by_step: tuple[int, ...] = field(default=(), repr=False)

    @property
    def latency(self) -> Histogram:
        """Of all that were answered."""
        return merged((self.server_latency, self.function_latency))

    @property
    def spilled_share(self) -> float:
        """Share of the requests that ran on functions."""
        return self.spilled / self.requests if self.requests else 0.0

    @property
    def refused_share(self) -> float:
        """Share of the requests that were not answered."""
        return (self.refused + self.timed_out) / self.requests if self.requests else 0.0

    @property
    def objective_share(self) -> float:
        """Share of the requests that were answered within the objective; who is refused is not."""
        return self.within_objective / self.requests if self.requests else 1.0
