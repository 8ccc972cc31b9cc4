"""Instances of the function: who runs, who idles, who is started and who ends."""

from __future__ import annotations

import math

from peaker.plan.queueing.compiled import compiled
from peaker.plan.queueing.heaps import push, replace_first
from peaker.plan.queueing.state import (
    COLD_NEXT,
    COLD_STARTS,
    COLD_TABLE,
    COLD_TIMES,
    FUNCTION_FINISH,
    FUNCTION_LATENCY,
    FUNCTION_OUT,
    FUNCTIONS_BUSY,
    IDLE,
    IDLE_BOTTOM,
    IDLE_S,
    IDLE_SINCE,
    INIT_MS,
    INSTANCES_MAX,
    RING,
    RUN_MS,
    RUN_S,
    SPILLED,
    START_BEGAN_S,
    TOKENS,
    TOKENS_AT_S,
    WAITED_S,
    WITHIN,
    Given,
    State,
)

MS_TOLERANCE = 1e-6
"""As in `units.billed_ms`: 0.1 s is not exact in binary and is no 101 ms."""


@compiled
def settle_instances(state: State, given: Given, now_s: float) -> None:
    """Bring instances to this moment: those that have finished idle, those idle too long end."""
    counts, seconds = state.counts, state.seconds
    ring = counts[RING]
    while counts[FUNCTIONS_BUSY] > 0 and seconds[FUNCTION_FINISH, 0] <= now_s:
        finish_s = seconds[FUNCTION_FINISH, 0]
        counts[FUNCTIONS_BUSY] -= 1
        last_s = seconds[FUNCTION_FINISH, counts[FUNCTIONS_BUSY]]
        replace_first(seconds, FUNCTION_FINISH, counts[FUNCTIONS_BUSY], last_s)
        top = counts[IDLE_BOTTOM] + counts[IDLE]
        seconds[IDLE_SINCE, top - ring if top >= ring else top] = finish_s
        counts[IDLE] += 1
    while counts[IDLE] > 0 and seconds[IDLE_SINCE, counts[IDLE_BOTTOM]] + given.keep_alive_s <= now_s:
        counts[IDLE_BOTTOM] = counts[IDLE_BOTTOM] + 1 if counts[IDLE_BOTTOM] + 1 < ring else 0
        counts[IDLE] -= 1
        state.sums[IDLE_S] += given.keep_alive_s


@compiled
def have_room(state: State, given: Given, now_s: float) -> bool:
    """Whether one more could run now; instances are at this moment already."""
    counts, sums = state.counts, state.sums
    if counts[IDLE] > 0:
        return True
    tokens = sums[TOKENS] + given.starts_per_s * (now_s - sums[TOKENS_AT_S])
    sums[TOKENS] = min(given.starts_burst, tokens)
    sums[TOKENS_AT_S] = now_s
    return bool(counts[FUNCTIONS_BUSY] < given.concurrency_max and sums[TOKENS] >= 1.0)


@compiled
def run_on_function(state: State, given: Given, now_s: float, arrival_s: float, service_s: float) -> None:
    """Run one on the instance that became idle last, or on a new one; there is room."""
    counts, sums = state.counts, state.sums
    run_s = service_s * given.function_factor
    start_s = 0.0
    if counts[IDLE] > 0:
        counts[IDLE] -= 1
        top = counts[IDLE_BOTTOM] + counts[IDLE]
        if top >= counts[RING]:
            top -= counts[RING]
        sums[IDLE_S] += now_s - state.seconds[IDLE_SINCE, top]
    else:
        start_s = state.seconds[COLD_TABLE, counts[COLD_NEXT]]
        counts[COLD_NEXT] = (counts[COLD_NEXT] + 1) % COLD_TIMES
        sums[TOKENS] -= 1.0
        sums[START_BEGAN_S] = now_s
        counts[COLD_STARTS] += 1
        counts[INIT_MS] += int(math.ceil(start_s * 1000.0 - MS_TOLERANCE)) if start_s > 0.0 else 0
    counts[RUN_MS] += max(1, int(math.ceil(run_s * 1000.0 - MS_TOLERANCE)))
    sums[RUN_S] += start_s + run_s
    sums[WAITED_S] += now_s - arrival_s
    push(state.seconds, FUNCTION_FINISH, counts[FUNCTIONS_BUSY], now_s + start_s + run_s)
    counts[FUNCTIONS_BUSY] += 1
    counts[INSTANCES_MAX] = max(counts[INSTANCES_MAX], counts[FUNCTIONS_BUSY] + counts[IDLE])
    latency_s = now_s - arrival_s + start_s + run_s + given.overhead_s
    state.seconds[FUNCTION_LATENCY, counts[FUNCTION_OUT]] = latency_s
    counts[FUNCTION_OUT] += 1
    counts[SPILLED] += 1
    if latency_s <= given.objective_s:
        counts[WITHIN] += 1
