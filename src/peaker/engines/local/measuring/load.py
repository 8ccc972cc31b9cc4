"""One worker under an open load, rate by rate, until it is known what it holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from peaker.clock import Clock
from peaker.engines.local.measuring.alone import AppAlone
from peaker.policy.knee import RESOLUTION, Step, next_rate_per_s
from peaker.traffic.arrivals import Spread, arrival_times_s
from peaker.traffic.latencies import Latencies
from peaker.traffic.mix import Mix
from peaker.traffic.replay import Replay
from peaker.traffic.tally import Outcome, Sample
from peaker.traffic.trace import Trace

STEPS_MAX = 24
STEPS_USUAL = 14
STEP_S_MIN, STEP_S_MAX = 0.5, 10.0
STEP_REQUESTS_MIN = 30
"""Fewer say nothing about a 95th percentile."""

RATE_MAX_PER_S = 100_000.0
CONNECTIONS_MAX = 500
CALM_S_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBounds:
    """How long and how much at the most; `timeout_s` of one request."""

    budget_s: float
    requests_max: int
    timeout_s: float


@dataclass(slots=True)
class LoadResult:
    """All steps, the memory after each, and why it ended early, "" if it did not."""

    steps: list[Step] = field(default_factory=list[Step])
    memory_mb_max: float | None = None
    ended_early: str = ""


async def find_capacity(
    app: AppAlone,
    mix: Mix,
    bounds: LoadBounds,
    *,
    objective_s: float | None,
    first_per_s: float,
    cpu_time_s: Callable[[], float | None],
    memory_mb: Callable[[], float | None],
    clock: Clock,
    chance: random.Random,
    on_step: Callable[[Step], None],
) -> LoadResult:
    """Offer rates until `policy.knee` knows enough or a bound is met.

    Raises:
        WorkerEnded: the worker died.
    """
    result = LoadResult()
    began_s, sent = clock.now_s(), 0
    while len(result.steps) < STEPS_MAX:
        rate = next_rate_per_s(
            result.steps, objective_s=objective_s, first_per_s=first_per_s, rate_max_per_s=RATE_MAX_PER_S
        )
        if rate is None:
            return result
        count = max(STEP_REQUESTS_MIN, round(rate * _step_s(bounds.budget_s, objective_s)))
        left_s = bounds.budget_s - (clock.now_s() - began_s)
        if count / rate > left_s:
            result.ended_early = f"the time was over before the next step ({count} requests at {rate:.3g}/s); --for"
            return result
        if sent + count > bounds.requests_max:
            result.ended_early = f"the next step would exceed {bounds.requests_max:,} requests; --requests-max"
            return result
        sent += count
        step = await _offer(app, mix, rate, count, bounds.timeout_s, cpu_time_s, clock, chance)
        app.require_worker()
        result.steps.append(step)
        on_step(step)
        after_mb = memory_mb()
        if after_mb is not None:
            result.memory_mb_max = max(after_mb, result.memory_mb_max or 0.0)
        if not await app.until_idle(CALM_S_MAX):
            result.ended_early = f"the worker was still busy {CALM_S_MAX:g} s after {rate:.3g} requests/s"
            return result
    result.ended_early = f"it was not settled within {STEPS_MAX} steps"
    return result


def _step_s(budget_s: float, objective_s: float | None) -> float:
    """How long a rate is offered.

    At RESOLUTION times what the worker holds, its queue grows by RESOLUTION - 1 seconds of work a second; p95 has left
    the objective only when that has come to the objective.
    """
    usual_s = min(STEP_S_MAX, max(STEP_S_MIN, budget_s / STEPS_USUAL))
    return max(usual_s, (objective_s or 0.0) / (RESOLUTION - 1))


async def _offer(  # noqa: PLR0917 - one step's own figures
    app: AppAlone,
    mix: Mix,
    rate: float,
    count: int,
    timeout_s: float,
    cpu_time_s: Callable[[], float | None],
    clock: Clock,
    chance: random.Random,
) -> Step:
    latencies = Latencies()

    def counted(sample: Sample) -> None:
        if sample.outcome is Outcome.ANSWERED:
            latencies.add(sample.done_s - sample.due_s)

    replay = Replay(
        arrival_times_s(Trace((count,), count / rate), Spread.RANDOM, chance),
        mix,
        app.address,
        clock=clock,
        chance=chance,
        timeout_s=timeout_s,
        connections_max=CONNECTIONS_MAX,
        on_sample=counted,
    )
    before_s, began_s = cpu_time_s(), clock.now_s()
    tally = await replay.run()
    after_s, elapsed_s = cpu_time_s(), max(clock.now_s() - began_s, 1e-9)
    p50_s = latencies.percentile_s(0.5)
    # What the last requests take at any load is no sign of a queue that grows.
    sending_s = max(count / rate, tally.elapsed_s - (p50_s or 0.0))
    return Step(
        rate_per_s=rate,
        requests=tally.finished,
        failed=tally.failed,
        achieved_per_s=tally.outcomes[Outcome.ANSWERED] / sending_s,
        p50_s=latencies.percentile_s(0.5, failed=tally.failed),
        p95_s=latencies.percentile_s(0.95, failed=tally.failed),
        p99_s=latencies.percentile_s(0.99, failed=tally.failed),
        cpu_cores=None if before_s is None or after_s is None else (after_s - before_s) / elapsed_s,
        is_void=tally.is_void,
    )
