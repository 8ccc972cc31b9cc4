"""The whole measurement: one worker idle, then under load; fresh starts; the same requests on functions."""

from __future__ import annotations

import os
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peaker import __version__
from peaker.clock import Clock
from peaker.engines.local.measuring import function_runs
from peaker.engines.local.measuring.alone import AppAlone, running_alone, settings_alone
from peaker.engines.local.measuring.function_runs import FunctionRuns, run_on_functions
from peaker.engines.local.measuring.idle import Ask, measure_route, watch_unasked
from peaker.engines.local.measuring.load import LoadBounds, find_capacity
from peaker.engines.local.measuring.process_cost import core_wait_s, cpu_time_s, machine_name, memory_mb
from peaker.engines.local.measuring.starts import fresh_starts
from peaker.errors import PeakerError
from peaker.http1 import Pool
from peaker.plan.measured import POINTS, CurvePoint, Measured, RouteMeasured, pooled
from peaker.plan.workload import mean_of_quantiles, quantiles_of
from peaker.policy.knee import Step, capacity, knee_per_s, verdict
from peaker.settings import Settings, replaced
from peaker.traffic.mix import Mix, Target

IDLE_SHARE = 0.25
"""Of the time asked for, this is spent on single requests, the rest on load."""

IDLE_WATCH_S = 1.0
FUNCTIONS_S_MAX = 20.0
RATE_MIN_PER_S = 0.5

BUSY_SHARE = 0.1
"""Waiting for a core by more than this share of a request's time is told."""

_CORE_SHARE_FIRST = 0.125
_IN_FLIGHT_FIRST = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToMeasure:
    """What is to be measured: `headers` and `body` go with each request, `on_functions` runs them there too."""

    settings: Settings
    targets: tuple[Target, ...]
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    for_s: float = 60.0
    requests_max: int = 100_000
    timeout_s: float = 10.0
    on_functions: bool = True

    @property
    def objective_s(self) -> float:
        """95 % are to be answered within this."""
        return self.settings.objective.latency_p95_ms / 1000

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each target in the mix."""
        whole = sum(target.weight for target in self.targets)
        return tuple(target.weight / whole for target in self.targets)


async def measure(request: ToMeasure, *, clock: Clock, chance: random.Random, say: Callable[[str], None]) -> Measured:
    """Start the app alone, measure it, and stop it; `say` hears what is going on.

    Raises:
        AppStartError: the app does not start.
        NothingToMeasure: a path is not answered, or with an error.
        WorkerEnded: the worker died under load.
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    say("starting one worker")
    async with running_alone(settings_alone(request.settings, functions=False), clock) as app:
        await _measure_worker(request, app, found, notes, clock, chance, say)
        say("starting fresh processes")
        try:
            starts_s = await fresh_starts(app.settings, app.settings_file, clock)
            found["fresh_start_s"] = quantiles_of(starts_s, POINTS)
        except PeakerError as error:
            notes.append(f"fresh starts: {error}")
    if request.on_functions:
        await _measure_functions(request, found, notes, clock, say)
    return Measured(
        app=request.settings.app.name,
        made_by=f"peaker {__version__}",
        measured_at=datetime.fromtimestamp(clock.epoch_s(), UTC).isoformat(timespec="seconds"),
        machine=machine_name(),
        python=sys.version.split()[0],
        objective_s=request.objective_s,
        notes=tuple(notes),
        **found,
    )


async def _measure_worker(  # noqa: PLR0917 - what all parts of a measurement are given
    request: ToMeasure,
    app: AppAlone,
    found: dict[str, Any],
    notes: list[str],
    clock: Clock,
    chance: random.Random,
    say: Callable[[str], None],
) -> None:
    pid = app.worker_pid

    def worker_cpu_s() -> float | None:
        return cpu_time_s(pid)

    def worker_mb() -> float | None:
        return memory_mb(pid)

    found["worker_idle_mb"] = worker_mb()
    routes = await _idle(request, app, worker_cpu_s, clock, say)
    notes += [_busy_note(route) for route in routes if route.waited_s > BUSY_SHARE * mean_of_quantiles(route.service_s)]
    service_s, cpu_s, size = pooled(routes)
    found |= {"routes": routes, "service_s": service_s, "cpu_s": cpu_s, "response_bytes": size}
    objective_s: float | None = request.objective_s
    if service_s[-6] > request.objective_s:
        objective_s = None
        notes.append(
            f"even one request at a time misses the objective (p95 {service_s[-6] * 1000:.3g} ms against "
            f"{request.objective_s * 1000:g} ms), so no rate holds it; the load shows where answers fall behind."
        )
    say("loading it, rate by rate")
    bounds = LoadBounds(
        budget_s=request.for_s * (1 - IDLE_SHARE),
        requests_max=request.requests_max,
        timeout_s=min(request.timeout_s, max(2.0, 4 * request.objective_s, 4 * service_s[-1])),
    )
    result = await find_capacity(
        app,
        _mix(request, app, request.targets),
        bounds,
        objective_s=objective_s,
        first_per_s=_first_rate(service_s, cpu_s),
        cpu_time_s=worker_cpu_s,
        memory_mb=worker_mb,
        clock=clock,
        chance=chance,
        on_step=lambda step: say(_step_line(step, objective_s)),
    )
    known = capacity(result.steps, objective_s)
    if result.ended_early:
        notes.append(f"load: {result.ended_early}.")
    elif known.is_bound_by_generator:
        notes.append("load: faster than this, requests could not be sent in time on this machine.")
    sizes = [mb for mb in (found["worker_idle_mb"], result.memory_mb_max) if mb is not None]
    found["worker_memory_mb"] = max(sizes, default=None)
    found |= {
        "capacity_per_s": known.held_per_s if objective_s is not None else None,
        "missed_per_s": known.missed_per_s,
        "is_bound_by_generator": known.is_bound_by_generator,
        "knee_per_s": knee_per_s(result.steps),
        "curve": tuple(_point(step, objective_s) for step in result.steps),
    }


async def _idle(
    request: ToMeasure,
    app: AppAlone,
    worker_cpu_s: Callable[[], float | None],
    clock: Clock,
    say: Callable[[str], None],
) -> tuple[RouteMeasured, ...]:

    def both_wait_s() -> float:
        return core_wait_s(app.worker_pid) + core_wait_s(os.getpid())

    pool = Pool(app.address, connections_max=1)
    asks = [_ask(request, app, target) for target in request.targets]
    budget_s = request.for_s * IDLE_SHARE / len(asks)
    routes = []
    try:
        await app.until_idle(FUNCTIONS_S_MAX)
        unasked = await watch_unasked(worker_cpu_s, both_wait_s, IDLE_WATCH_S, clock)
        for ask, share in zip(asks, request.shares, strict=True):
            say(f"{ask.name}, one request at a time")
            routes.append(
                await measure_route(
                    ask,
                    pool,
                    worker_cpu_s,
                    core_wait_s=both_wait_s,
                    share=share,
                    unasked=unasked,
                    budget_s=budget_s,
                    timeout_s=request.timeout_s,
                    clock=clock,
                )
            )
    finally:
        pool.close()
    return tuple(routes)


async def _measure_functions(
    request: ToMeasure, found: dict[str, Any], notes: list[str], clock: Clock, say: Callable[[str], None]
) -> None:
    """A function host that does not start, or a run that fails, spoils nothing that was measured before."""
    say("running it on functions")
    settings = settings_alone(request.settings, functions=True)
    settings = replaced(settings, "functions.keep_alive_s", function_runs.KEEP_ALIVE_S)
    try:
        async with running_alone(settings, clock) as app:
            asks = [_ask(request, app, target) for target in request.targets]
            runs = await run_on_functions(
                app,
                asks,
                request.body,
                budget_s=min(FUNCTIONS_S_MAX, request.for_s),
                timeout_s=request.timeout_s,
                clock=clock,
            )
    except PeakerError as error:
        notes.append(f"functions: {error}")
        return
    found["function_memory_mb"] = runs.memory_mb_max
    found["local_cold_start_s"] = quantiles_of(runs.cold_start_s, POINTS) if runs.cold_start_s else None
    found["warm_function_s"] = _warm_of_mix(request, asks, runs)
    found["function_overhead_s"] = statistics.median(runs.beside_warm_s) if runs.beside_warm_s else None


def _warm_of_mix(request: ToMeasure, asks: Sequence[Ask], runs: FunctionRuns) -> tuple[float, ...] | None:
    if any(not runs.warm_s.get(ask.name) for ask in asks):
        return None
    routes = [
        RouteMeasured(
            target=ask.name,
            share=share,
            requests=len(runs.warm_s[ask.name]),
            service_s=quantiles_of(runs.warm_s[ask.name], POINTS),
            cpu_s=None,
            response_bytes=0.0,
        )
        for ask, share in zip(asks, request.shares, strict=True)
    ]
    return pooled(routes)[0]


def _mix(request: ToMeasure, app: AppAlone, targets: Sequence[Target]) -> Mix:
    address = app.address
    return Mix(targets, host=f"{address.host}:{address.port}", headers=request.headers, body=request.body)


def _ask(request: ToMeasure, app: AppAlone, target: Target) -> Ask:
    drawn, _ = _mix(request, app, [target]).draw(random.Random(0))  # noqa: S311 - there is one to draw
    return Ask(target=target, request=drawn)


def _busy_note(route: RouteMeasured) -> str:
    return (
        f"the machine was busy: {route.target} waited {route.waited_s * 1000:.3g} ms for a core on average. "
        "That is not in its time above, but it is in the latencies under load: measure again when it is quiet."
    )


def _first_rate(service_s: Sequence[float], cpu_s: float | None) -> float:
    """A rate that is sure to be low: an eighth of a core, or two requests in flight, whichever is less."""
    rates = [_IN_FLIGHT_FIRST / max(mean_of_quantiles(service_s), 1e-6)]
    if cpu_s:
        rates.append(_CORE_SHARE_FIRST / cpu_s)
    return max(RATE_MIN_PER_S, min(rates))


def _step_line(step: Step, objective_s: float | None) -> str:
    p95 = "-" if step.p95_s is None else f"{step.p95_s * 1000:.3g} ms"
    cores = "" if step.cpu_cores is None else f", {step.cpu_cores:.2f} cores"
    return f"  {step.rate_per_s:,.4g} requests/s: p95 {p95}{cores}, {verdict(step, objective_s)}"


def _point(step: Step, objective_s: float | None) -> CurvePoint:
    return CurvePoint(
        rate_per_s=step.rate_per_s,
        requests=step.requests,
        failed=step.failed,
        achieved_per_s=step.achieved_per_s,
        p50_s=step.p50_s,
        p95_s=step.p95_s,
        p99_s=step.p99_s,
        cpu_cores=step.cpu_cores,
        verdict=verdict(step, objective_s),
    )
