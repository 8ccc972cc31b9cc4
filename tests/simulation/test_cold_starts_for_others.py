"""Functions that start slowly under a load that servers nearly carry: an instance is started for those who wait."""

import asyncio
import random

import numpy as np
import pytest

from peaker.plan.outcome import Outcome
from peaker.plan.quick import simulate
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, exponential_quantiles
from peaker.settings import AppSection, FunctionsSection, ObjectiveSection, RouteSection, ServersSection, Settings
from peaker.testing.gate_world import FunctionsInMemory, World
from peaker.testing.virtual_loop import run_virtual

OBJECTIVE_S = 0.3
SERVICE_S = 0.05
SLOTS = 20
CARRIED = SLOTS / SERVICE_S


def gate_run(per_second: float, for_s: float, cold_s: float) -> tuple[World, FunctionsInMemory]:
    settings = Settings(
        app=AppSection(spill=True, placement_header=True),
        objective=ObjectiveSection(latency_p95_ms=OBJECTIVE_S * 1000),
        servers=ServersSection(in_flight_max=SLOTS, queue_max=1000),
        functions=FunctionsSection(concurrency_max=200, like="lambda", memory_mb=1769),
        route=(RouteSection(path="/"),),
    )
    service, arrivals = random.Random(1), random.Random(2)

    async def work() -> None:
        await asyncio.sleep(service.expovariate(1 / SERVICE_S))

    async def main() -> tuple[World, FunctionsInMemory]:
        functions = FunctionsInMemory(work, init_s=cold_s, overhead_s=0.015)
        async with World(settings, work=work, functions=functions).running() as world:
            await world.open_loop(per_second, for_s, arrivals)
        return world, functions

    return run_virtual(main)


def quick_run(load: float, cold_s: float, *, workers: int = 4, seed: int = 1) -> Outcome:
    return simulate(
        np.random.default_rng(seed).poisson(load * CARRIED, 300),
        1.0,
        1,
        Workload(service_quantiles_s=exponential_quantiles(SERVICE_S), cold_start_quantiles_s=(cold_s,)),
        ServerPool(slots=SLOTS // workers, workers=workers),
        FunctionPool(overhead_s=0.015),
        Rules(objective_s=OBJECTIVE_S),
        seed=seed,
    )


def test_a_steady_load_at_the_edge_of_the_servers_keeps_the_objective_with_slow_starts() -> None:
    world, functions = gate_run(CARRIED, 40, cold_s=1.5)
    settled = world.sent(15)
    late = sum(client.latency_s > OBJECTIVE_S for client in settled) / len(settled)
    assert late < 0.05
    assert functions.invocations


@pytest.mark.parametrize("cold_s", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("load", [0.96, 0.98, 1.0, 1.02, 1.05, 1.2])
def test_it_does_so_at_any_load_around_what_servers_carry(load: float, cold_s: float) -> None:
    outcome = quick_run(load, cold_s)
    assert outcome.within_objective > 0.96 * outcome.requests
    assert outcome.spilled < (max(0.0, load - 1) + 0.05) * outcome.requests


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9])
def test_a_load_that_servers_carry_starts_nothing(load: float) -> None:
    for cold_s in (0.5, 1.0, 4.0):
        outcome = quick_run(load, cold_s)
        assert outcome.spilled == 0
        assert outcome.within_objective > 0.99 * outcome.requests


def test_a_crowd_that_passes_before_an_instance_is_there_starts_none() -> None:
    counts = np.full(60, int(0.5 * CARRIED))
    counts[30] = int(1.7 * CARRIED)  # One second; the line is gone in half of one.
    outcome = simulate(
        counts,
        1.0,
        1,
        Workload(service_quantiles_s=(SERVICE_S,), cold_start_quantiles_s=(2.0,)),
        ServerPool(slots=5, workers=4),
        FunctionPool(overhead_s=0.015),
        Rules(objective_s=OBJECTIVE_S),
        seed=1,
    )
    assert outcome.spilled == 0
    assert outcome.requests * 0.01 < outcome.requests - outcome.within_objective < outcome.requests * 0.05
