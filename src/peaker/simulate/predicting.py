"""Predicts a run at the level of single requests, by `plan/quick.py`: the gate's own rule, compiled. Needs numpy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from peaker.plan.outcome import Outcome
from peaker.plan.quick import simulate, simulate_times
from peaker.plan.workload import FunctionPool, PlanError, Rules, ServerPool, Workload
from peaker.policy.placement import Placement
from peaker.simulate.measures import Measures, combined
from peaker.simulate.prediction import Model
from peaker.traffic.trace import GAP, Trace

REQUESTS_MAX = 50_000_000
"""Of all runs together: some 10 s."""

EXACT_MAX = 2_000_000
"""Up to so many requests come at the very times at which a replay sends them; more are drawn from the counts."""

RUNS_USUAL = 20
RUNS_MIN = 3


def runs_for(requests: int) -> int:
    """How many seeds: 20, fewer where that would take long, at least 3."""
    return max(RUNS_MIN, min(RUNS_USUAL, REQUESTS_MAX // max(1, requests)))


def predicted(
    trace: Trace,
    arrivals_s: Iterable[float],
    model: Model,
    *,
    seed: int,
    runs: int,
    on_run: Callable[[int], None] = lambda _: None,
) -> tuple[Measures, Measures, Measures]:
    """Expected figures (the median of the runs), their least and their most.

    Args:
        trace: what comes, cut, scaled and made faster already.
        arrivals_s: when each request comes, in seconds from the start; asked only for up to EXACT_MAX requests.
        model: all numbers.
        seed: of the first run; the others follow it.
        runs: how many.
        on_run: told the number of each run that is done.

    Raises:
        PlanError: a number is out of range, or there are more requests than REQUESTS_MAX.
    """
    if trace.total > REQUESTS_MAX:
        raise PlanError(
            f"{trace.total:,} requests are more than {REQUESTS_MAX:,}.",
            where=trace.name,
            remedy="Take a part of them: --from, --for, --scale.",
        )
    run_once = _runner(trace, arrivals_s, model)
    found: list[Measures] = []
    for number in range(runs):
        found.append(measures_of(run_once(seed + number), model, trace.duration_s))
        on_run(number + 1)
    return combined(found, statistics.median), combined(found, min), combined(found, max)


def _runner(trace: Trace, arrivals_s: Iterable[float], model: Model) -> Callable[[int], Outcome]:
    workload = Workload(
        service_quantiles_s=model.service_s,
        cpu_share=model.cpu_share,
        cold_start_quantiles_s=model.cold_start_s,
        memory_mb=model.memory_mb,
        spillable_share=model.spillable_share,
    )
    pool = ServerPool(slots=model.slots, workers=model.workers, lag_s_max=model.lag_s_max)
    functions = FunctionPool(
        concurrency_max=model.concurrency_max,
        keep_alive_s=model.keep_alive_s,
        factor=model.function_factor,
        overhead_s=model.function_overhead_s,
        starts_per_s=model.starts_per_s,
        starts_burst=model.starts_burst,
    )
    placement = Placement(model.placement)
    rules = Rules(
        objective_s=model.objective_s,
        queue_max=model.queue_max,
        queue_wait_s_max=model.queue_wait_s_max,
        spill=placement is not Placement.SERVERS,
        placement=placement,
    )
    if len(model.servers) == 1 and trace.total <= EXACT_MAX:
        times_s = np.fromiter(arrivals_s, np.float64)
        servers = model.servers[0]
        return lambda seed: simulate_times(times_s, servers, workload, pool, functions, rules, seed=seed)
    counts = trace.array()
    counts[counts == GAP] = 0
    ready = servers_by_step(model.servers, len(counts))
    return lambda seed: simulate(counts, trace.step_s, ready, workload, pool, functions, rules, seed=seed)


def servers_by_step(servers: tuple[int, ...], steps: int) -> npt.NDArray[np.int64]:
    """Counts that are spread evenly over the traffic, one for each of its steps."""
    places = np.arange(steps) * len(servers) // max(1, steps)
    return np.asarray(servers, np.int64)[places]


def measures_of(outcome: Outcome, model: Model, duration_s: float) -> Measures:
    """The figures of one simulated run; servers are there for as long as the traffic lasts, and so is their price."""
    gb_s = (outcome.billed_run_ms + outcome.billed_init_ms) / 1000 * model.memory_mb / 1024
    server_s = statistics.fmean(model.servers) * duration_s
    usd = server_s / 3600 * model.server_usd_per_hour + outcome.spilled * model.request_usd + gb_s * model.gb_second_usd
    return Measures(
        latency_p50_ms=_quantile_ms(outcome, 0.50),
        latency_p95_ms=_quantile_ms(outcome, 0.95),
        latency_p99_ms=_quantile_ms(outcome, 0.99),
        spilled_share=outcome.spilled_share,
        refused_share=outcome.refused_share,
        cold_starts=float(outcome.cold_starts),
        server_s=server_s,
        gb_s=gb_s,
        usd=usd,
    )


def _quantile_ms(outcome: Outcome, probability: float) -> float | None:
    """Refused requests rank above every answered one, as `peaker replay` ranks them; None where they hold the rank."""
    latency = outcome.latency
    answered = latency.total
    among_answered = probability * outcome.requests / answered if answered else math.inf
    return latency.quantile_s(among_answered) * 1000 if among_answered <= 1 else None
