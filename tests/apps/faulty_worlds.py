"""Worlds drawn from a seed: their traffic, their size, their functions, and what goes wrong in them."""

from __future__ import annotations

import random

from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, exponential_quantiles
from peaker.simulate.case import Case, Fault, FaultKind, Scaling

LASTS_S = 60
PER_S = 20
"""About so many requests come."""
DAY_S = 86_400.0

COLD_STARTS_S = ((0.004, 0.006, 0.012), (0.1, 0.15, 0.3), (0.3, 0.5, 1.0))
"""A fork, a small and a large app on Lambda."""


def faulty_world(seed: int) -> Case:
    """The world of this seed; half of them have a constant load."""
    chance = random.Random(f"faulty world {seed}")
    pool = ServerPool(slots=chance.choice((1, 2, 4)), workers=chance.choice((1, 2)))
    load = chance.uniform(0.2, 2.5)
    mean_s = min(0.4, max(0.05, load * pool.slots_per_server / PER_S))
    carried_per_s = pool.slots_per_server / mean_s
    load = min(load, 1.5 * PER_S / carried_per_s)
    start_s = chance.choice((3.0, 6.0))
    cold_s = chance.choice(COLD_STARTS_S)
    return Case(
        counts=_counts(chance, load * carried_per_s),
        workload=Workload(
            service_quantiles_s=_work(chance, mean_s),
            cold_start_quantiles_s=cold_s,
            memory_mb=chance.choice((128, 512, 3008)),  # Where functions are dear, servers come and go.
        ),
        pool=pool,
        functions=FunctionPool(
            concurrency_max=chance.choice((10, 30, 100)),
            keep_alive_s=chance.choice((3.0, 20.0, 300.0)),
            factor=chance.uniform(0.8, 1.2),
            overhead_s=chance.uniform(0.002, 0.02),
        ),
        rules=Rules(objective_s=mean_s * chance.uniform(5, 8), queue_wait_s_max=10.0),
        servers=chance.randint(1, 2),
        server_start_s=start_s,
        scaling=Scaling(decide_every_s=1.0, stay_s=chance.choice((0.0, 10.0)), servers_min=1, servers_max=4),
        learned_keep_alive=chance.random() < 0.3,
        spend_usd_per_day_max=chance.choice((None, None, None, 3e-4, 2e-3, 1e-2)),
        like="local" if cold_s is COLD_STARTS_S[0] else "lambda",
        faults=tuple(_fault(chance) for _ in range(chance.randint(0, 4))),
    )


def is_constant(case: Case) -> bool:
    """The same number of requests comes in every second."""
    return len(set(case.counts)) == 1


def _counts(chance: random.Random, per_s: float) -> tuple[int, ...]:
    shape = chance.choice(("constant", "constant", "step", "crowd", "ramp"))
    rates = [per_s] * LASTS_S
    at = chance.randint(15, 40)
    if shape == "step":
        rates[at:] = [per_s * chance.choice((0.3, 0.5, 2.0))] * (LASTS_S - at)
    elif shape == "crowd":
        lasts = chance.randint(2, 12)
        rates[at : at + lasts] = [per_s * chance.uniform(2, 4)] * lasts
    elif shape == "ramp":
        rates = [per_s * (0.3 + 1.4 * second / LASTS_S) for second in range(LASTS_S)]
    return tuple(round(rate) for rate in rates)


def _work(chance: random.Random, mean_s: float) -> tuple[float, ...]:
    kind = chance.choice(("exponential", "uniform", "constant"))
    if kind == "exponential":
        return exponential_quantiles(mean_s, 65)
    return (0.5 * mean_s, 1.5 * mean_s) if kind == "uniform" else (mean_s,)


def _fault(chance: random.Random) -> Fault:
    kind = chance.choice(tuple(FaultKind))
    size = 0.0
    if kind is FaultKind.CLOCK_JUMPS:
        size = chance.choice((-DAY_S, -3600.0, -0.5, 0.5, 3600.0, DAY_S))
    elif kind is FaultKind.THROTTLED:
        size = float(chance.choice((0, 1, 5)))
    return Fault(at_s=chance.uniform(5, LASTS_S - 5), kind=kind, for_s=chance.uniform(0.5, 15), size=size)
