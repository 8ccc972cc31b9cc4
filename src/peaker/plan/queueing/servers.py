"""Workers of all servers: slots, cores, and who gets a slot that has become free.

Without a `cpu_share` all slots are one pool: a free slot anywhere is used before anything is paid for, and who runs
does not slow the others. With one, each worker has a core that takes its requests in order of arrival: a request
computes first, when the core has done with those before it, and then waits for others. What the core is behind by is
the loop lag that the gate measures. True loops share the core in turns; for exponential work the mean is the same.
"""

from __future__ import annotations

from peaker.plan.queueing.compiled import compiled
from peaker.plan.queueing.heaps import push, push_owned
from peaker.plan.queueing.line import leave
from peaker.plan.queueing.state import (
    ARRIVAL,
    CAPACITY,
    CHANGE,
    CHANGE_TO,
    CORE_FREE,
    CORE_S,
    EVENTS,
    FINISH,
    HEAD,
    HOLD_S,
    HOLD_SQUARE,
    IN_FLIGHT,
    QUEUE_MAX,
    SERVED,
    SERVER_LATENCY,
    SERVER_OUT,
    SERVICE,
    SLOT_S,
    WAITED,
    WAITED_S,
    WAITING,
    WITHIN,
    WORKER_BUSY,
    WORKER_LOOKS,
    WORKERS,
    Given,
    State,
)

RECENT_WEIGHT = 0.1
"""As `policy.estimate.RECENT_WEIGHT`: how quickly the gate's mean follows."""

CALM_TOLERANCE_S = 1e-9


@compiled
def is_calm(state: State, given: Given, now_s: float, worker: int) -> bool:
    """Whether the worker's core is not behind by more than the gate allows."""
    return bool(state.seconds[CORE_FREE, worker] - now_s <= given.lag_s_max + CALM_TOLERANCE_S)


@compiled
def has_slot(state: State, given: Given, now_s: float, worker: int) -> bool:
    """Whether this worker would take a request now."""
    return state.whole[WORKER_BUSY, worker] < given.slots and is_calm(state, given, now_s, worker)


@compiled
def begin(state: State, given: Given, now_s: float, arrival_s: float, service_s: float, worker: int) -> None:
    """Run it in a slot from now on; `worker` is -1 where all slots are one pool."""
    counts, sums = state.counts, state.sums
    hold_s = service_s
    if worker >= 0:
        core_s = service_s * given.cpu_share
        begin_s = max(now_s, state.seconds[CORE_FREE, worker])
        state.seconds[CORE_FREE, worker] = begin_s + core_s
        hold_s = begin_s - now_s + service_s
        state.whole[WORKER_BUSY, worker] += 1
        sums[CORE_S] += core_s
        sums[HOLD_S] += RECENT_WEIGHT * (hold_s - sums[HOLD_S])
        sums[HOLD_SQUARE] += RECENT_WEIGHT * (hold_s * hold_s - sums[HOLD_SQUARE])
        push_owned(state.seconds, state.whole, counts[EVENTS], now_s + hold_s, worker)
    else:
        push(state.seconds, FINISH, counts[EVENTS], now_s + hold_s)
    counts[EVENTS] += 1
    counts[IN_FLIGHT] += 1
    sums[SLOT_S] += hold_s
    latency_s = now_s - arrival_s + hold_s
    state.seconds[SERVER_LATENCY, counts[SERVER_OUT]] = latency_s
    counts[SERVER_OUT] += 1
    if now_s > arrival_s:
        counts[WAITED] += 1
        sums[WAITED_S] += now_s - arrival_s
    else:
        counts[SERVED] += 1
    if latency_s <= given.objective_s:
        counts[WITHIN] += 1


@compiled
def begin_first(state: State, given: Given, now_s: float, worker: int) -> None:
    """The first in line begins."""
    place = state.counts[HEAD]
    arrival_s, service_s = state.seconds[ARRIVAL, place], state.seconds[SERVICE, place]
    leave(state, place)
    begin(state, given, now_s, arrival_s, service_s, worker)


@compiled
def grant(state: State, given: Given, now_s: float, worker: int) -> None:
    """Give the room that this worker has (-1: the pool) to those in line, in their order."""
    counts = state.counts
    if not given.may_stay:
        return
    if worker < 0:
        while counts[WAITING] > 0 and counts[EVENTS] < counts[CAPACITY]:
            begin_first(state, given, now_s, -1)
        return
    while counts[WAITING] > 0 and worker < counts[WORKERS] and has_slot(state, given, now_s, worker):
        begin_first(state, given, now_s, worker)
    if counts[WAITING] > 0:
        look_when_calm(state, given, worker)


@compiled
def look_when_calm(state: State, given: Given, worker: int) -> None:
    """If only the lag keeps this worker from taking one, look at it when that is over: an event with no request."""
    counts = state.counts
    if (
        worker < counts[WORKERS]
        and state.whole[WORKER_BUSY, worker] < given.slots
        and state.whole[WORKER_LOOKS, worker] == 0
    ):
        state.whole[WORKER_LOOKS, worker] = 1
        calm_s = state.seconds[CORE_FREE, worker] - given.lag_s_max
        push_owned(state.seconds, state.whole, counts[EVENTS], calm_s, -1 - worker)
        counts[EVENTS] += 1


@compiled
def find_worker(state: State, given: Given, now_s: float, first: int) -> int:
    """The worker that a request came to, else the next one round that has a slot, else -1."""
    workers = state.counts[WORKERS]
    if state.counts[IN_FLIGHT] >= state.counts[CAPACITY]:
        return -1
    for offset in range(workers):
        worker = first + offset
        if worker >= workers:
            worker -= workers
        if has_slot(state, given, now_s, worker):
            return worker
    return -1


@compiled
def change_workers(state: State, given: Given, now_s: float) -> None:
    """The next change of the number of workers; who runs on one that goes finishes there."""
    counts = state.counts
    workers = state.whole[CHANGE_TO, counts[CHANGE]]
    counts[CHANGE] += 1
    counts[WORKERS] = workers
    counts[CAPACITY] = workers * given.slots
    counts[QUEUE_MAX] = workers * given.queue_max
    if given.cpu_share > 0.0:
        for worker in range(workers):
            grant(state, given, now_s, worker)
    else:
        grant(state, given, now_s, -1)
