"""Latency of a long trace from windows of it, drawn by how loaded they are: seconds of work instead of minutes.

The trace is cut into windows. They are sorted by load (requests for each server that is ready) and divided into
strata, fine ones where load is high, since that is where the tail of the latency comes from. From each stratum some
windows are drawn and simulated request by request, each after a warm-up that is not counted and in which instances
come to be; each stands for its share of the stratum. The interval comes from drawing again among the simulated windows
of each stratum (bootstrap). Where a quantile lies at the knee between requests that wait and those that do not, as with
overloaded servers alone, it may be off by more than 3 %; the interval shows it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peaker.plan.outcome import BINS, BINS_PER_OCTAVE, Histogram, Outcome, bin_edge_s, merged
from peaker.plan.quick import simulate
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, require

STRATA = (*(0.05 * index for index in range(1, 17)), *(0.8 + 0.02 * index for index in range(1, 10)), 0.99, 1.0)
"""Upper edge of each stratum, as a share of the windows in order of load."""

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Window:
    """Steps `first` to `end` of the trace; `weight` says for how many windows it stands."""

    first: int
    end: int
    stratum: int
    weight: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """Simulated windows, each with its outcome."""

    windows: tuple[Window, ...]
    outcomes: tuple[Outcome, ...]
    seed: int

    @property
    def latency(self) -> Histogram:
        """Of all answered requests of the trace, estimated."""
        return merged([outcome.latency for outcome in self.outcomes], [window.weight for window in self.windows])

    @property
    def spilled_share(self) -> float:
        """Share of the requests of the trace that ran on functions, estimated."""
        pairs = [(window.weight, outcome) for window, outcome in zip(self.windows, self.outcomes, strict=True)]
        requests = sum(weight * outcome.requests for weight, outcome in pairs)
        return sum(weight * outcome.spilled for weight, outcome in pairs) / requests if requests else 0.0

    def interval_s(self, probability: float, confidence: float = 0.95) -> tuple[float, float]:
        """Within what the latency quantile lies with this confidence, in seconds.

        Raises:
            PlanError: a value is not within 0..1.
        """
        require(0 < confidence < 1, "confidence", confidence, "within 0..1")
        chance = np.random.default_rng(self.seed)
        bins = np.zeros((len(self.windows), BINS))
        for row, outcome in zip(bins, self.outcomes, strict=True):
            latency = outcome.latency
            row[latency.first : latency.first + len(latency.counts)] = latency.counts
        strata = np.array([window.stratum for window in self.windows])
        members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        weights = np.array([window.weight for window in self.windows])
        found = []
        for _ in range(RESAMPLES):
            drawn = np.concatenate([chance.choice(member, len(member)) for member in members])
            times = np.bincount(drawn, minlength=len(self.windows))
            upto = np.cumsum((times * weights) @ bins)
            found.append(bin_edge_s(int(np.searchsorted(upto, probability * upto[-1]))))
        tail = (1 - confidence) / 2
        # A quantile is known to within its bin.
        return float(np.quantile(found, tail)), float(np.quantile(found, 1 - tail)) * (1 + 1 / BINS_PER_OCTAVE)


def draw_windows(
    counts: npt.ArrayLike, servers: npt.ArrayLike, *, steps: int, per_stratum: int, seed: int
) -> tuple[Window, ...]:
    """Windows of `steps` steps (the last one shorter), at most `per_stratum` from each stratum, without repetition.

    Raises:
        PlanError: a value is out of range.
    """
    wanted = np.asarray(counts, dtype=np.float64)
    require(wanted.ndim == 1 and len(wanted) > 0, "counts.shape", wanted.shape, "(steps,) with at least one step")
    require(steps >= 1, "steps", steps, ">= 1")
    require(per_stratum >= 1, "per_stratum", per_stratum, ">= 1")
    ready = np.broadcast_to(np.asarray(servers, dtype=np.float64), wanted.shape)
    firsts = np.arange(0, len(wanted), steps)
    widths = np.diff(np.append(firsts, len(wanted)))
    load = np.add.reduceat(wanted, firsts) / np.maximum(np.add.reduceat(ready, firsts), 0.1 * widths)
    order = np.argsort(load, kind="stable")
    edges = [0, *(round(share * len(order)) for share in STRATA)]
    chance = np.random.default_rng(seed)
    drawn = []
    for stratum, (low, high) in enumerate(itertools.pairwise(edges)):
        among = order[low:high]
        chosen = among if len(among) <= per_stratum else chance.choice(among, per_stratum, replace=False)
        drawn += [
            Window(int(firsts[at]), int(firsts[at] + widths[at]), stratum, len(among) / len(chosen))
            for at in np.sort(chosen)
        ]
    return tuple(drawn)


def simulate_windows(  # noqa: PLR0917 - the order of `quick.simulate`
    counts: npt.ArrayLike,
    step_s: float,
    servers: npt.ArrayLike,
    workload: Workload,
    pool: ServerPool,
    functions: FunctionPool,
    rules: Rules,
    *,
    windows: Sequence[Window],
    seed: int,
    warm_up_s: float = 300.0,
) -> Sampled:
    """Simulate the windows as `quick.simulate` would have come upon them.

    Raises:
        PlanError: a value is out of range.
    """
    wanted = np.asarray(counts)
    ready = np.broadcast_to(np.asarray(servers), wanted.shape)
    before = round(warm_up_s / step_s)
    outcomes = []
    for index, window in enumerate(windows):
        first = max(0, window.first - before)
        outcome = simulate(
            wanted[first : window.end],
            step_s,
            ready[first : window.end],
            workload,
            pool,
            functions,
            rules,
            seed=seed + index,
            warm_up_s=(window.first - first) * step_s,
        )
        outcomes.append(outcome)
    return Sampled(tuple(windows), tuple(outcomes), seed)
