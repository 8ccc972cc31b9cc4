"""Predicts a run at the level of single requests. Needs numpy.

Two simulators run the gate's own rule of admission. The world (`simulate/world.py`) runs the production gate, hand-over
and pool themselves on a virtual clock, some ten thousand requests a second. `plan/quick.py` is compiled, a thousand
times as fast, and leaves more out (its docstring says what): it is taken where there is too much for the world, or
something that the world does not know.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from peaker.plan.outcome import Outcome
from peaker.plan.quick import simulate, simulate_times
from peaker.plan.workload import FunctionPool, PlanError, Rules, ServerPool, Workload
from peaker.policy.placement import Placement
from peaker.simulate.measures import Measures, combined
from peaker.simulate.prediction import Model
from peaker.traffic.trace import GAP, Trace


class Simulator(StrEnum):
    """What simulates the requests."""

    WORLD = "world"
    QUICK = "quick"


QUICK_REQUESTS_MAX = 50_000_000
"""Of all runs together: some 10 s."""

EXACT_MAX = 2_000_000
"""Up to so many requests come at the very times at which a replay sends them; more are drawn from the counts."""

WORLD_REQUESTS_MAX = 1_000_000
WORLD_REQUESTS_USUAL = 50_000
"""More are left to the quick one unless the world is asked for."""

WORLD_ALL_RUNS = 200_000
WORLD_SERVERS_MAX = 64
"""As `simulate.case.SERVERS_MAX`."""

WORLD_S_MAX = 3600.0
"""A worker beats a hundred times a second, also where nothing is asked."""

BIN_S = 0.001
"""The world takes counts by step: in steps of this, times are as exact as a replay's own timers."""

RUNS_USUAL = 20
RUNS_MIN = 3


def why_not_world(trace: Trace, model: Model) -> str:
    """Why the world cannot simulate this, "" if it can."""
    may_spill = model.placement != Placement.SERVERS.value
    reasons = (
        (len(model.servers) > 1, "servers come and go by a schedule"),
        (may_spill and model.spillable_share not in {0.0, 1.0}, "only a part of the requests may spill"),
        (model.servers[0] == 0, "there is no server"),
        (model.servers[0] > WORLD_SERVERS_MAX, f"{model.servers[0]} servers are more than {WORLD_SERVERS_MAX}"),
        (trace.total > WORLD_REQUESTS_MAX, f"{trace.total:,} requests are more than {WORLD_REQUESTS_MAX:,}"),
        (trace.duration_s > WORLD_S_MAX, f"{trace.duration_s:,.0f} s are longer than {WORLD_S_MAX:,.0f}"),
    )
    return next((why for holds, why in reasons if holds), "")


def simulator_for(trace: Trace, model: Model) -> Simulator:
    """The world where it knows all of it and is done within a minute."""
    usual = trace.total <= WORLD_REQUESTS_USUAL and not why_not_world(trace, model)
    return Simulator.WORLD if usual else Simulator.QUICK


def runs_for(requests: int, simulator: Simulator) -> int:
    """How many seeds: 20, fewer where that would take long, at least 3."""
    most = WORLD_ALL_RUNS if simulator is Simulator.WORLD else QUICK_REQUESTS_MAX
    return max(RUNS_MIN, min(RUNS_USUAL, most // max(1, requests)))


def predicted(
    trace: Trace,
    arrivals_s: Iterable[float],
    model: Model,
    *,
    simulator: Simulator,
    seed: int,
    runs: int,
    on_run: Callable[[int], None] = lambda _: None,
) -> tuple[Measures, Measures, Measures]:
    """Expected figures (the median of the runs), their least and their most.

    Args:
        trace: what comes, cut, scaled and made faster already.
        arrivals_s: when each request comes, in seconds from the start; asked only for up to EXACT_MAX requests.
        model: all numbers.
        simulator: that runs it.
        seed: of the first run; the others follow it.
        runs: how many.
        on_run: told the number of each run that is done.

    Raises:
        PlanError: a number is out of range, there are too many requests, or the world does not know the model.
    """
    run_once = _world(trace, arrivals_s, model) if simulator is Simulator.WORLD else _quick(trace, arrivals_s, model)
    found: list[Measures] = []
    for number in range(runs):
        found.append(_as_replayed(run_once(seed + number), model))
        on_run(number + 1)
    return combined(found, statistics.median), combined(found, min), combined(found, max)


def _as_replayed(measures: Measures, model: Model) -> Measures:
    """Latencies as the clients of a replay measure them."""
    names = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
    seen = {name: getattr(measures, name) for name in names}
    later = {name: None if value is None else value + model.client_s * 1000 for name, value in seen.items()}
    return dataclasses.replace(measures, **later)


def _quick(trace: Trace, arrivals_s: Iterable[float], model: Model) -> Callable[[int], Measures]:
    if trace.total > QUICK_REQUESTS_MAX:
        raise PlanError(
            f"{trace.total:,} requests are more than {QUICK_REQUESTS_MAX:,}.",
            where=trace.name,
            remedy="Take a part of them: --from, --for, --scale.",
        )
    given = (_workload(model), _pool(model), _functions(model), _rules(model))
    if len(model.servers) == 1 and trace.total <= EXACT_MAX:
        times_s = np.fromiter(arrivals_s, np.float64)
        servers = model.servers[0]
        return lambda seed: measures_of(simulate_times(times_s, servers, *given, seed=seed), model, trace.duration_s)
    counts = trace.array()
    counts[counts == GAP] = 0
    ready = servers_by_step(model.servers, len(counts))
    return lambda seed: measures_of(simulate(counts, trace.step_s, ready, *given, seed=seed), model, trace.duration_s)


def _world(trace: Trace, arrivals_s: Iterable[float], model: Model) -> Callable[[int], Measures]:
    from peaker.simulate.case import Case  # the gate and the pool come with it, and the quick one needs neither
    from peaker.simulate.world import FUNCTION, run_world

    if why := why_not_world(trace, model):
        raise PlanError(f"the world does not simulate this: {why}.", where=trace.name)
    case = Case(
        counts=tuple(_binned(arrivals_s, trace.duration_s)),
        step_s=BIN_S,
        workload=_workload(model),
        pool=_pool(model),
        functions=_functions(model),
        rules=_rules(model),
        servers=model.servers[0],
        learned_keep_alive=model.learns_keep_alive,
        like=model.like,
    )

    def run_once(seed: int) -> Measures:
        outcome = run_world(case, seed=seed, keep_journal=False).outcome
        found = outcome.measures
        usd = _usd(model, found.server_s or 0.0, outcome.ends[FUNCTION], found.gb_s or 0.0)
        return dataclasses.replace(found, usd=usd)

    return run_once


def _binned(arrivals_s: Iterable[float], duration_s: float) -> Sequence[int]:
    bins = max(1, math.ceil(duration_s / BIN_S - 1e-9))
    places = np.minimum((np.fromiter(arrivals_s, np.float64) / BIN_S).astype(np.int64), bins - 1)
    counts: list[int] = np.bincount(places, minlength=bins).tolist()
    return counts


def _workload(model: Model) -> Workload:
    return Workload(
        service_quantiles_s=model.service_s,
        cpu_share=model.cpu_share,
        cold_start_quantiles_s=model.cold_start_s,
        memory_mb=model.memory_mb,
        spillable_share=model.spillable_share,
    )


def _pool(model: Model) -> ServerPool:
    return ServerPool(slots=model.slots, workers=model.workers, lag_s_max=model.lag_s_max)


def _functions(model: Model) -> FunctionPool:
    return FunctionPool(
        concurrency_max=model.concurrency_max,
        keep_alive_s=model.keep_alive_s,
        factor=model.function_factor,
        overhead_s=model.function_overhead_s,
        starts_per_s=model.starts_per_s,
        starts_burst=model.starts_burst,
    )


def _rules(model: Model) -> Rules:
    placement = Placement(model.placement)
    return Rules(
        objective_s=model.objective_s,
        queue_max=model.queue_max,
        queue_wait_s_max=model.queue_wait_s_max,
        spill=placement is not Placement.SERVERS,
        placement=placement,
    )


def servers_by_step(servers: tuple[int, ...], steps: int) -> npt.NDArray[np.int64]:
    """Counts that are spread evenly over the traffic, one for each of its steps."""
    places = np.arange(steps) * len(servers) // max(1, steps)
    return np.asarray(servers, np.int64)[places]


def measures_of(outcome: Outcome, model: Model, duration_s: float) -> Measures:
    """The figures of one simulated run; servers are there for as long as the traffic lasts, and so is their price."""
    gb_s = (outcome.billed_run_ms + outcome.billed_init_ms) / 1000 * model.memory_mb / 1024
    server_s = statistics.fmean(model.servers) * duration_s
    return Measures(
        latency_p50_ms=_quantile_ms(outcome, 0.50),
        latency_p95_ms=_quantile_ms(outcome, 0.95),
        latency_p99_ms=_quantile_ms(outcome, 0.99),
        spilled_share=outcome.spilled_share,
        refused_share=outcome.refused_share,
        cold_starts=float(outcome.cold_starts),
        server_s=server_s,
        gb_s=gb_s,
        usd=_usd(model, server_s, outcome.spilled, gb_s),
    )


def _usd(model: Model, server_s: float, invocations: int, gb_s: float) -> float:
    return server_s / 3600 * model.server_usd_per_hour + invocations * model.request_usd + gb_s * model.gb_second_usd


def _quantile_ms(outcome: Outcome, probability: float) -> float | None:
    """Refused requests rank above every answered one, as `peaker replay` ranks them; None where they hold the rank."""
    latency = outcome.latency
    answered = latency.total
    among_answered = probability * outcome.requests / answered if answered else math.inf
    return latency.quantile_s(among_answered) * 1000 if among_answered <= 1 else None
