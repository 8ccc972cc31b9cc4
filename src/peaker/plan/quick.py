"""Request-level simulation of servers, functions or both: compiled, seeded, the same answer for the same seed.

One request is one look at a heap of finish times, some 50 ns with `peaker[plan]`. All that is decided is decided by
`policy.admission.next_step`, the same function that the gate asks. What is simplified, and which way it errs:

- The workers' lines are one line, and all slots are within reach: a waiting request takes a slot anywhere at once,
  where in the gate it stands in its worker's line, newcomers overtake it at a sibling, and it spills when that one line
  is long. With one worker, or where load stays off the edge or comes in bursts, the spilled share is within one point
  and the 95th percentile within 5 % of the world's (`simulate/world.py`). With two workers at a steady 95 to 110 % of
  what they carry it spills up to 2.5 points too few; with four at 130 % the 95th percentile is 10 % too high, and the
  median 10 to 25 % too high wherever many wait.
- The gate's estimates are known from the start (mean and tail of the service time, whether an instance idles) and do
  not have to be learned: before a gate has seen a cold start, and takes it for Lambda's second, bursts in the first
  seconds may have twice this 95th percentile. With a `cpu_share` they are learned from what happened.
- There is one kind of request. Routes that differ are simulated apart, or as one distribution.
- A request that starts an instance runs on that one, though another might return sooner (as on Lambda; the local host
  gives it the one that comes first).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peaker.plan.outcome import BINS, BINS_PER_OCTAVE, OCTAVE_MIN, Outcome, histogram_of
from peaker.plan.queueing import state as at
from peaker.plan.queueing.arrivals import CHUNK, arrival_times
from peaker.plan.queueing.run import finish, run_chunk
from peaker.plan.queueing.state import Floats, Given, Integers, State, empty_state
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Spacing, Workload, require
from peaker.policy.placement import Placement

if TYPE_CHECKING:
    import numpy.typing as npt

_NONE = np.empty(0)


def simulate(  # noqa: PLR0917 - the order of the story: traffic, servers, work, pools, rules
    counts: npt.ArrayLike,
    step_s: float,
    servers: npt.ArrayLike,
    workload: Workload,
    pool: ServerPool,
    functions: FunctionPool,
    rules: Rules,
    *,
    seed: int,
    spacing: Spacing = "poisson",
    by_step: bool = False,
    warm_up_s: float = 0.0,
) -> Outcome:
    """Simulate a trace of request counts.

    Args:
        counts: requests in each step, shape (steps,), whole numbers not below 0.
        step_s: seconds in a step.
        servers: how many are ready, one number or one for each step; start-up delays are in it already.
        workload: the work of one request.
        pool: one server.
        functions: their limits.
        rules: what the gate is told.
        seed: of all chance; the same seed gives the same outcome.
        spacing: how requests lie within a step.
        by_step: also count spilled and refused requests by step (of the warm-up too).
        warm_up_s: what is answered of the requests before this moment is simulated and not counted; `instances_max` and
            `queue_peak` are of the whole time.

    Raises:
        PlanError: a value is out of range.
    """
    steps = _whole("counts", counts)
    require(steps.ndim == 1 and len(steps) > 0, "counts.shape", steps.shape, "(steps,) with at least one step")
    require(0 < step_s < float("inf"), "step_s", step_s, "> 0")
    ready = _whole("servers", servers)
    require(ready.shape in {(), steps.shape}, "servers.shape", ready.shape, f"one number or {steps.shape}")
    given = _given(workload, pool, functions, rules, step_s=step_s, steps=len(steps) if by_step else 0)
    require(0 <= warm_up_s < len(steps) * step_s, "warm_up_s", warm_up_s, "within the trace")
    traffic = _Traffic(
        chunks=lambda chance: arrival_times(steps, step_s, chance, spacing=spacing),
        requests=int(steps.sum()),
        end_s=len(steps) * step_s,
        warm_up_s=warm_up_s,
    )
    return _run(traffic, ready, step_s, given, workload, pool, seed)


def simulate_times(  # noqa: PLR0917 - as above
    times_s: npt.ArrayLike,
    servers: int,
    workload: Workload,
    pool: ServerPool,
    functions: FunctionPool,
    rules: Rules,
    *,
    seed: int,
) -> Outcome:
    """Simulate requests that come at given times: seconds from the start, shape (requests,), in order.

    The rest is as in `simulate`; instances and servers are counted up to the last arrival.

    Raises:
        PlanError: a value is out of range.
    """
    arrivals_s = np.ascontiguousarray(times_s, dtype=np.float64)
    require(arrivals_s.ndim == 1, "times_s.shape", arrivals_s.shape, "(requests,)")
    in_order = bool(np.all(np.diff(arrivals_s) >= 0)) and bool(np.all(np.isfinite(arrivals_s)))
    require(in_order and (not len(arrivals_s) or arrivals_s[0] >= 0), "times_s", "...", "in order from 0 on")
    ready = _whole("servers", servers)
    require(ready.shape == (), "servers.shape", ready.shape, "one number")
    traffic = _Traffic(
        chunks=lambda _: (arrivals_s[first : first + CHUNK] for first in range(0, len(arrivals_s), CHUNK)),
        requests=len(arrivals_s),
        end_s=float(arrivals_s[-1]) if len(arrivals_s) else 0.0,
    )
    given = _given(workload, pool, functions, rules, step_s=1.0, steps=0)
    return _run(traffic, ready, 1.0, given, workload, pool, seed)


@dataclass(frozen=True, slots=True)
class _Traffic:
    chunks: Callable[[np.random.Generator], Iterable[Floats]]
    requests: int
    end_s: float
    warm_up_s: float = 0.0


def _run(  # noqa: PLR0917 - what both kinds of traffic share
    traffic: _Traffic, ready: Integers, step_s: float, given: Given, workload: Workload, pool: ServerPool, seed: int
) -> Outcome:
    chance = np.random.Generator(np.random.SFC64(seed))
    ready = np.atleast_1d(ready)
    require(
        int(ready.max()) * pool.slots_per_server <= SLOTS_MAX, "max(servers)", int(ready.max()), f"{SLOTS_MAX} slots"
    )
    changed = np.flatnonzero(np.diff(ready, prepend=-1))
    workers, change_s = ready[changed] * pool.workers, np.append(changed * float(step_s), np.inf)
    chunk = min(CHUNK, max(traffic.requests, 1))
    state = empty_state(
        given,
        requests=traffic.requests,
        chunk=chunk,
        service_s=np.array(workload.service_quantiles_s, dtype=np.float64),
        cold_s=_draw(workload.cold_start_quantiles_s, chance.random(at.COLD_TIMES)),
        change_s=change_s,
        workers=workers,
    )
    bins = np.zeros((2, BINS), np.int64)
    before = _Before(0, state.counts.copy(), state.sums.copy())
    is_warm, done = traffic.warm_up_s == 0, 0
    for arrivals_s in _cut(traffic.chunks(chance), traffic.warm_up_s):
        if not is_warm and len(arrivals_s) and arrivals_s[0] >= traffic.warm_up_s:
            is_warm, before = True, _Before(done, state.counts.copy(), state.sums.copy())
            bins[:] = 0
        done += len(arrivals_s)
        service_chance = chance.random(len(arrivals_s))
        spill_chance = worker_chance = _NONE
        if workload.spillable_share < 1:
            spill_chance = workload.spillable_share - chance.random(len(arrivals_s)) - _TINY
        if given.cpu_share:
            worker_chance = chance.random(len(arrivals_s))
        run_chunk(state, given, arrivals_s, service_chance, spill_chance, worker_chance)
        _count(state, bins)
    finish(state, given, traffic.end_s)
    _count(state, bins)
    worker_s = float(np.sum(workers * np.diff(np.clip(change_s, traffic.warm_up_s, traffic.end_s))))
    return _outcome(state, given, traffic, worker_s, bins, before)


@dataclass(frozen=True, slots=True)
class _Before:
    """What had been counted when the warm-up was over."""

    requests: int
    counts: Integers
    sums: Floats


def _cut(chunks: Iterable[Floats], at_s: float) -> Iterator[Floats]:
    """The same arrivals, with a new array from this moment on."""
    for arrivals_s in chunks:
        if len(arrivals_s) and arrivals_s[0] < at_s <= arrivals_s[-1]:
            first = int(np.searchsorted(arrivals_s, at_s))
            yield arrivals_s[:first]
            yield arrivals_s[first:]
        else:
            yield arrivals_s


SLOTS_MAX = 10_000_000


def _draw(quantiles: Sequence[float], chance: Floats) -> Floats:
    if len(quantiles) == 1:
        return np.full(len(chance), float(quantiles[0]))
    return np.interp(chance, np.linspace(0, 1, len(quantiles)), quantiles)


_TINY = 2.0**-54
"""A share of 0 spills nothing, though chance may be 0 too."""


def _count(state: State, bins: Integers) -> None:
    """Add the latencies of the last chunk to the bins, servers first."""
    for kind, (row, place) in enumerate(((at.SERVER_LATENCY, at.SERVER_OUT), (at.FUNCTION_LATENCY, at.FUNCTION_OUT))):
        size = int(state.counts[place])
        if size:
            bins[kind] += np.bincount(bin_of(state.seconds[row, :size]), minlength=BINS)


def bin_of(latency_s: Floats) -> Integers:
    """The bin of each latency (`outcome.bin_edge_s`): exponent and first bits of the fraction of the float."""
    fraction_bits = BINS_PER_OCTAVE.bit_length() - 1
    index = latency_s.view(np.int64) >> (52 - fraction_bits)
    index -= (1023 + OCTAVE_MIN) << fraction_bits
    return np.clip(index, 0, BINS - 1, out=index)


def _whole(name: str, values: npt.ArrayLike) -> Integers:
    array = np.asarray(values)
    require(array.dtype.kind in "iuf", f"{name}.dtype", array.dtype, "a kind of number")
    if array.dtype.kind == "f":
        require(bool(np.all(np.isfinite(array) & (array == np.floor(array)))), name, "...", "whole numbers")
    require(bool(np.all(array >= 0)), f"min({name})", array.min() if array.size else "", ">= 0; fill gaps before")
    return array.astype(np.int64)


def _given(
    workload: Workload, pool: ServerPool, functions: FunctionPool, rules: Rules, *, step_s: float, steps: int
) -> Given:
    may_spill = rules.spill and rules.placement is not Placement.SERVERS
    return Given(
        service_last=len(workload.service_quantiles_s) - 1,
        service_mean_s=float(workload.service_mean_s),
        tail_s=float(workload.service_mean_s + 2 * workload.service_deviation_s),
        cpu_share=float(workload.cpu_share),
        slots=pool.slots,
        lag_s_max=float(pool.lag_s_max),
        queue_max=rules.queue_max,
        queue_wait_s_max=float(rules.queue_wait_s_max),
        objective_s=float(rules.objective_s),
        may_stay=rules.placement is not Placement.FUNCTIONS,
        function_factor=float(functions.factor),
        overhead_s=float(functions.overhead_s),
        keep_alive_s=float(functions.keep_alive_s),
        concurrency_max=functions.concurrency_max if may_spill else 0,
        starts_per_s=float(functions.starts_per_s),
        starts_burst=float(functions.starts_burst),
        cold_mean_s=float(workload.cold_start_mean_s),
        step_s=float(step_s),
        steps=steps,
    )


def _outcome(  # noqa: PLR0917 - all that there is
    state: State, given: Given, traffic: _Traffic, worker_s: float, bins: Integers, before: _Before
) -> Outcome:
    counts, sums = state.counts - before.counts, state.sums - before.sums
    idle = (state.counts[at.IDLE_BOTTOM] + np.arange(state.counts[at.IDLE])) % state.counts[at.RING]
    still_idle_s = np.clip(traffic.end_s - state.seconds[at.IDLE_SINCE, idle], 0, given.keep_alive_s).sum()
    return Outcome(
        requests=traffic.requests - before.requests,
        served=int(counts[at.SERVED]),
        waited=int(counts[at.WAITED]),
        spilled=int(counts[at.SPILLED]),
        refused=int(counts[at.REFUSED]),
        timed_out=int(counts[at.TIMED_OUT]),
        within_objective=int(counts[at.WITHIN]),
        cold_starts=int(counts[at.COLD_STARTS]),
        throttled=int(counts[at.THROTTLED]),
        billed_run_ms=int(counts[at.RUN_MS]),
        billed_init_ms=int(counts[at.INIT_MS]),
        instance_s=float(sums[at.RUN_S] + sums[at.IDLE_S] + still_idle_s),
        instances_max=int(state.counts[at.INSTANCES_MAX]),
        worker_s=worker_s,
        utilisation=float(sums[at.SLOT_S]) / (worker_s * given.slots) if worker_s else 0.0,
        core_utilisation=float(sums[at.CORE_S]) / worker_s if worker_s else 0.0,
        queue_peak=int(state.counts[at.QUEUE_PEAK]),
        waited_s=float(sums[at.WAITED_S]),
        server_latency=histogram_of(bins[0].tolist()),
        function_latency=histogram_of(bins[1].tolist()),
        spilled_by_step=tuple(state.whole[at.SPILLED_IN, : given.steps].tolist()),
        refused_by_step=tuple(state.whole[at.REFUSED_IN, : given.steps].tolist()),
    )
