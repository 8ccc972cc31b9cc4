"""What spills from each step of a long trace, without simulating a request: for dollars over months at a time.

Within a step arrivals are taken as a Poisson process in balance. A request stays if a slot is free, or will be within
the wait that admission allows; so c slots with room for K = c * wait / service more are the queue M/M/c/c+K, and the
share that finds even that taken is

    B * rho^K / (1 + B * (rho + .. + rho^K)),   rho = load / c,  B = Erlang's B of c slots,

which is Erlang B without a wait and tends to the overload 1 - 1/rho with much room. Counts of short steps are noisy
themselves, and taking them for the rate would count that noise twice, so they are smoothed until a window holds enough
requests. Nothing is kept from step to step: an error of a service time at each edge of a peak. Held to the simulation
within one point of spilled share; service times that do not vary at all spill less than this says, by up to 1.5 points
with 8 slots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peaker.plan.queueing.state import Floats
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, require
from peaker.policy.placement import Placement

WINDOW_REQUESTS = 400.0
WINDOW_S_MAX = 60.0
"""A rate is the mean of this many requests (5 % of noise), if they come within this time."""

LOADS = 769
"""Points of the table of shares for one number of slots, from no load to three times the slots."""


@dataclass(frozen=True, slots=True)
class Spilled:
    """Requests by step that functions take, shape (steps,), and what share of all that is."""

    by_step: Floats
    share: float


def spilled_by_step(  # noqa: PLR0917 - the order of `quick.simulate`
    counts: npt.ArrayLike,
    step_s: float,
    servers: npt.ArrayLike,
    workload: Workload,
    pool: ServerPool,
    functions: FunctionPool,
    rules: Rules,
) -> Spilled:
    """What `quick.simulate` would spill, near enough for dollars; functions are taken to have room.

    Raises:
        PlanError: a value is out of range.
    """
    wanted = np.asarray(counts, dtype=np.float64)
    require(wanted.ndim == 1 and len(wanted) > 0, "counts.shape", wanted.shape, "(steps,) with at least one step")
    require(bool(np.all(wanted >= 0)), "min(counts)", wanted.min(), ">= 0")
    if not rules.spill or rules.placement is Placement.SERVERS:
        return Spilled(np.zeros(len(wanted)), 0.0)
    shares = np.full(len(wanted), workload.spillable_share)
    if rules.placement is Placement.HYBRID:
        ready = np.broadcast_to(np.asarray(servers, dtype=np.int64), wanted.shape)
        rates = smoothed(wanted, step_s) / step_s
        wait_s = wait_before_spill_s(workload, functions, rules)
        service_s = workload.service_mean_s
        shares = shares * spilled_shares(rates * service_s, ready, pool.slots_per_server, wait_s / service_s)
    by_step = wanted * shares
    total = float(wanted.sum())
    return Spilled(by_step, float(by_step.sum()) / total if total else 0.0)


def wait_before_spill_s(workload: Workload, functions: FunctionPool, rules: Rules) -> float:
    """How long a newcomer may expect to wait and still stays, as `policy.admission.next_step` decides it."""
    service_s = workload.service_mean_s
    tail_s = service_s + 2 * workload.service_deviation_s
    if service_s > rules.objective_s:
        return rules.queue_wait_s_max
    short_s = min(service_s, rules.queue_wait_s_max, rules.objective_s - tail_s)
    # Beyond that a function is asked only if it is sooner than the wait and the service here.
    sooner_s = service_s * (functions.factor - 1) + functions.overhead_s
    return max(0.0, short_s, min(sooner_s, rules.queue_wait_s_max))


def smoothed(counts: Floats, step_s: float) -> Floats:
    """Counts as means over enough steps to tell the rate from its noise; as they are where a step holds enough."""
    mean = float(counts.mean())
    if mean <= 0:
        return counts
    width = min(math.ceil(WINDOW_REQUESTS / mean), math.ceil(WINDOW_S_MAX / step_s), len(counts))
    if width <= 1:
        return counts
    upto = np.concatenate(([0.0], np.cumsum(counts)))
    first = np.clip(np.arange(len(counts)) - (width - 1) // 2, 0, None)
    end = np.minimum(np.arange(len(counts)) + width // 2 + 1, len(counts))
    means: Floats = (upto[end] - upto[first]) / (end - first)
    return means


def spilled_shares(load: Floats, servers: npt.NDArray[np.int64], slots_per_server: int, waits: float) -> Floats:
    """Share of each step's requests that finds slots and line full.

    Args:
        load: offered in Erlang, shape (steps,).
        servers: ready in each step, shape (steps,).
        slots_per_server: slots of one.
        waits: how long may be waited, in service times.

    Raises:
        PlanError: a value is out of range.
    """
    require(waits >= 0, "waits", waits, ">= 0")
    shares = np.ones(len(load))
    for count in np.unique(servers):
        if count == 0:
            continue
        here = servers == count
        slots = int(count) * slots_per_server
        points = np.linspace(0, 3 * slots, LOADS)
        table = _full(slots, points, waits * slots)
        over = load[here]
        # Far above the slots all but what they carry spills.
        shares[here] = np.where(over <= points[-1], np.interp(over, points, table), 1 - slots / np.maximum(over, 1))
    return shares


def _full(slots: int, loads: Floats, places: float) -> Floats:
    """Probability that slots and places are taken (M/M/c/c+K), shape of loads; `places` may be a fraction."""
    blocked = np.ones(len(loads))
    for slot in range(1, slots + 1):
        blocked = loads * blocked / (slot + loads * blocked)
    rho = loads / slots
    near_one = np.abs(rho - 1) < 1e-6
    with np.errstate(over="ignore", invalid="ignore"):
        last = np.where(near_one, 1.0, rho) ** places
        line = np.where(near_one, places, rho * (last - 1) / np.where(near_one, 1.0, rho - 1))
        share = blocked * last / (1 + blocked * line)
    full: Floats = np.where(np.isfinite(share), share, 1 - 1 / np.maximum(rho, 1))
    return full
