"""How fast a supply is: all of a short trace is simulated, of a long one windows drawn by load.

A window need not be simulated whole: some ten thousand requests at its load tell its latency, so a busy one is cut
short and counts for as much more. A step that is longer than a minute is simulated as minutes of its mean rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peaker.plan.outcome import Histogram, Outcome, merged
from peaker.plan.quick import simulate
from peaker.plan.windows import Window, draw_windows
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHOLE_REQUESTS_MAX = 3_000_000
"""A trace of no more is simulated whole, in about a second."""

WHOLE_STEPS_MAX = 4_000_000

WINDOW_S = 300.0
WINDOW_REQUESTS = 20_000
WINDOW_S_MIN = 20.0
BUSY_REQUESTS = 40_000
SERVICES_MIN = 20.0
"""A window at a high rate may be shorter than WINDOW_S_MIN: so many requests, and so many service times."""

PER_STRATUM = 3
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was seen; shares are of all requests of the trace, `simulated` of them were looked at one by one."""

    latency: Histogram
    objective_share: float
    spilled_share: float
    refused_share: float
    cold_share: float
    utilisation: float
    instances_most: int
    simulated: int
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What is simulated: `counts` and `servers` by step of `step_s`, and the rest as `quick.simulate` takes it."""

    counts: NDArray[np.int64]
    servers: NDArray[np.int64]
    step_s: float
    workload: Workload
    pool: ServerPool
    functions: FunctionPool
    rules: Rules

    def run(
        self, counts: NDArray[np.int64], servers: NDArray[np.int64], step_s: float, seed: int, warm_up_s: float
    ) -> Outcome:
        """Simulate a part of it."""
        return simulate(
            counts,
            step_s,
            servers,
            self.workload,
            self.pool,
            self.functions,
            self.rules,
            seed=seed,
            warm_up_s=warm_up_s,
        )


def look(scene: Scene, *, seed: int) -> Looked:
    """Simulate the scene, or windows of it.

    Raises:
        PlanError: a value is out of range.
    """
    total = int(scene.counts.sum())
    is_minutes = scene.step_s <= MINUTE_S
    if total <= WHOLE_REQUESTS_MAX and len(scene.counts) <= WHOLE_STEPS_MAX and is_minutes:
        return _looked([1.0], [scene.run(scene.counts, scene.servers, scene.step_s, seed, 0.0)], is_whole=True)
    steps = max(1, round(WINDOW_S / scene.step_s))
    windows = draw_windows(scene.counts, scene.servers, steps=steps, per_stratum=PER_STRATUM, seed=seed)
    weights: list[float] = []
    outcomes: list[Outcome] = []
    for index, window in enumerate(windows):
        requests = int(scene.counts[window.first : window.end].sum())
        if not requests:
            continue
        outcome = _window(scene, window, requests, seed + index)
        if outcome.requests:
            weights.append(window.weight * requests / outcome.requests)
            outcomes.append(outcome)
    return _looked(weights, outcomes, is_whole=False)


def _window(scene: Scene, window: Window, requests: int, seed: int) -> Outcome:
    """A window after a warm-up as long as itself, cut to what its rate needs."""
    lasts_s = (window.end - window.first) * scene.step_s
    rate = requests / lasts_s
    least_s = min(WINDOW_S_MIN, max(BUSY_REQUESTS / rate, SERVICES_MIN * scene.workload.service_mean_s))
    wanted_s = min(WINDOW_S, lasts_s, max(least_s, WINDOW_REQUESTS / rate))
    if scene.step_s > 1.0:
        # Within a step the rate is its mean, so it may be simulated in shorter ones.
        tick_s = min(1.0, wanted_s / 20)
        ticks = round(2 * wanted_s / tick_s)
        counts = _spread(rate * tick_s, ticks)
        servers = np.full(ticks, int(np.median(scene.servers[window.first : window.end])), np.int64)
        return scene.run(counts, servers, tick_s, seed, ticks // 2 * tick_s)
    length = max(1, round(wanted_s / scene.step_s))
    first = max(0, window.first - length)
    end = min(window.end, window.first + length)
    part = slice(first, end)
    return scene.run(scene.counts[part], scene.servers[part], scene.step_s, seed, (window.first - first) * scene.step_s)


def _spread(mean: float, ticks: int) -> NDArray[np.int64]:
    """Whole counts of this mean, whatever it is: what rounding leaves over goes to the next."""
    upto = np.floor(np.arange(ticks + 1) * mean + 0.5)
    counts: NDArray[np.int64] = np.diff(upto).astype(np.int64)
    return counts


def _looked(weights: list[float], outcomes: list[Outcome], *, is_whole: bool) -> Looked:
    requests = sum(weight * outcome.requests for weight, outcome in zip(weights, outcomes, strict=True))

    def share(values: list[float]) -> float:
        return (
            sum(weight * value for weight, value in zip(weights, values, strict=True)) / requests if requests else 0.0
        )

    return Looked(
        latency=merged([outcome.latency for outcome in outcomes], weights),
        objective_share=share([outcome.within_objective for outcome in outcomes]),
        spilled_share=share([outcome.spilled for outcome in outcomes]),
        refused_share=share([outcome.refused + outcome.timed_out for outcome in outcomes]),
        cold_share=share([outcome.cold_starts for outcome in outcomes]),
        utilisation=share([outcome.utilisation * outcome.requests for outcome in outcomes]),
        instances_most=max((outcome.instances_max for outcome in outcomes), default=0),
        simulated=sum(outcome.requests for outcome in outcomes),
        is_whole=is_whole,
    )


def together(parts: Sequence[tuple[float, Looked]]) -> Looked:
    """What is seen of traffic in parts, each with its share of the requests; the first has the servers."""
    looked = [each for _, each in parts]

    def mean(of: Callable[[Looked], float]) -> float:
        return sum(share * of(each) for share, each in parts)

    return Looked(
        latency=merged(
            [each.latency for each in looked],
            [share * (1 - each.refused_share) / max(1e-12, each.latency.total) for share, each in parts],
        ),
        objective_share=mean(lambda each: each.objective_share),
        spilled_share=mean(lambda each: each.spilled_share),
        refused_share=mean(lambda each: each.refused_share),
        cold_share=mean(lambda each: each.cold_share),
        utilisation=looked[0].utilisation,
        instances_most=sum(each.instances_most for each in looked),
        simulated=sum(each.simulated for each in looked),
        is_whole=all(each.is_whole for each in looked),
    )
