"""The state of a simulation: arrays that live from one chunk of arrivals to the next, and names for their places."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

(
    EVENTS,
    IN_FLIGHT,
    CAPACITY,
    WORKERS,
    QUEUE_MAX,
    CHANGE,
    WAITING,
    HEAD,
    TAIL,
    FREE,
    DEPARTED,
    FUNCTIONS_BUSY,
    IDLE_BOTTOM,
    IDLE,
    COLD_NEXT,
    SERVER_OUT,
    FUNCTION_OUT,
    SERVED,
    WAITED,
    SPILLED,
    REFUSED,
    TIMED_OUT,
    WITHIN,
    COLD_STARTS,
    THROTTLED,
    RUN_MS,
    INIT_MS,
    INSTANCES_MAX,
    QUEUE_PEAK,
    RING,
    COUNTS,
) = range(31)
"""Places in `State.counts`. EVENTS is the length of the heap FINISH, RING that of the ring IDLE_SINCE."""

(
    TOKENS,
    TOKENS_AT_S,
    IDLE_S,
    RUN_S,
    SLOT_S,
    CORE_S,
    WAITED_S,
    HOLD_S,
    HOLD_SQUARE,
    MISSED_S,
    LOOKED_S,
    START_BEGAN_S,
    SUMS,
) = range(13)
"""Places in `State.sums`. MISSED_S is `admission.time_missed` at the last look, LOOKED_S when that was, START_BEGAN_S
when an instance was last started."""

(
    OWNER,
    WORKER_BUSY,
    WORKER_LOOKS,
    NEXT,
    BEFORE,
    MAY_SPILL,
    AHEAD,
    DEPARTED_THEN,
    POSITION,
    LOOKS,
    CHANGE_TO,
    SPILLED_IN,
    REFUSED_IN,
    WHOLE,
) = range(14)
"""Rows of `State.whole`.

OWNER is the worker of each event in FINISH. WORKER_* count by worker. NEXT to POSITION describe each place in the
line: its neighbours, whether it may spill, who was ahead of it at first, where it stands in LOOKS, the heap of places
by when they are looked at again. CHANGE_TO is the number of workers from each change on. *_IN count by step.
"""

(
    FINISH,
    CORE_FREE,
    ARRIVAL,
    SERVICE,
    LOOK,
    FUNCTION_FINISH,
    IDLE_SINCE,
    SERVER_LATENCY,
    FUNCTION_LATENCY,
    SERVICE_TABLE,
    COLD_TABLE,
    CHANGE_AT,
    SECONDS,
) = range(13)
"""Rows of `State.seconds`.

FINISH and FUNCTION_FINISH are heaps. ARRIVAL, SERVICE and LOOK belong to places in the line. IDLE_SINCE is a ring. The
latencies are those of the last chunk. The tables are what chance draws from, CHANGE_AT when the number of workers
changes.
"""

NEVER_S = -1e12
"""Before all time, and still a number to reckon with."""

COLD_TIMES = 8192
"""Start times are drawn beforehand and taken in turn, over again after so many."""


class State(NamedTuple):
    """Everything that the loop reads and writes in bulk.

    Four arrays, because a compiled call counts the references of each array that it is given: with one array for each
    row a request that waits would take three times as long.
    """

    counts: Integers
    sums: Floats
    whole: Integers
    seconds: Floats


class Given(NamedTuple):
    """Numbers that do not change; times in seconds. `places` and `instances_max` are the lengths of line and ring."""

    service_last: int
    service_mean_s: float
    tail_s: float
    cpu_share: float
    slots: int
    lag_s_max: float
    queue_max: int
    queue_wait_s_max: float
    objective_s: float
    may_stay: bool
    function_factor: float
    overhead_s: float
    keep_alive_s: float
    concurrency_max: int
    starts_per_s: float
    starts_burst: float
    cold_mean_s: float
    step_s: float
    steps: int


def empty_state(
    given: Given, *, requests: int, chunk: int, service_s: Floats, cold_s: Floats, change_s: Floats, workers: Integers
) -> State:
    """A state before the first arrival, with its tables; `change_s` ends with infinity."""
    workers_max = max(1, int(workers.max()))
    places = max(1, min(requests, given.queue_max * workers_max))
    events = min(workers_max * given.slots, requests) + 1 + (workers_max if given.cpu_share else 0)
    instances = max(1, min(given.concurrency_max, requests))
    lengths = (workers_max, places, events, instances, chunk + places, len(service_s), len(cold_s), len(change_s))
    width = max(*lengths, given.steps) + 8  # What is not used of a row is never touched, and so takes no memory.
    counts, sums = np.zeros(COUNTS, np.int64), np.zeros(SUMS)
    whole, seconds = np.zeros((WHOLE, width), np.int64), np.zeros((SECONDS, width))
    seconds[SERVICE_TABLE, : len(service_s)] = service_s
    seconds[COLD_TABLE, : len(cold_s)] = cold_s
    seconds[CHANGE_AT, : len(change_s)] = change_s
    whole[CHANGE_TO, : len(workers)] = workers
    seconds[CORE_FREE, :workers_max] = -math.inf
    whole[NEXT, :places] = np.arange(1, places + 1)
    whole[NEXT, places - 1] = -1
    counts[HEAD] = counts[TAIL] = -1
    counts[RING] = instances
    sums[TOKENS] = given.starts_burst
    sums[START_BEGAN_S] = NEVER_S
    sums[HOLD_S] = given.service_mean_s
    sums[HOLD_SQUARE] = given.service_mean_s**2 + ((given.tail_s - given.service_mean_s) / 2) ** 2
    return State(counts, sums, whole, seconds)
