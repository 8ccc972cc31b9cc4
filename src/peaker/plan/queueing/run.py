"""The loop: each arrival is decided by `policy.admission.next_step`, as in the gate."""

from __future__ import annotations

import math

from peaker.plan.queueing.compiled import compiled
from peaker.plan.queueing.heaps import pop_owned, replace_first
from peaker.plan.queueing.instances import have_room, run_on_function, settle_instances
from peaker.plan.queueing.line import ahead_of, join, leave, look_again
from peaker.plan.queueing.servers import begin, change_workers, find_worker, grant, look_when_calm
from peaker.plan.queueing.state import (
    ARRIVAL,
    CAPACITY,
    CHANGE,
    CHANGE_AT,
    EVENTS,
    FINISH,
    FUNCTION_OUT,
    FUNCTIONS_BUSY,
    HOLD_S,
    HOLD_SQUARE,
    IDLE,
    IN_FLIGHT,
    LOOK,
    LOOKED_S,
    LOOKS,
    MAY_SPILL,
    MISSED_S,
    OWNER,
    QUEUE_MAX,
    REFUSED,
    REFUSED_IN,
    SERVED,
    SERVER_LATENCY,
    SERVER_OUT,
    SERVICE,
    SERVICE_TABLE,
    SLOT_S,
    SPILLED_IN,
    START_BEGAN_S,
    THROTTLED,
    TIMED_OUT,
    WAITING,
    WITHIN,
    WORKER_BUSY,
    WORKER_LOOKS,
    WORKERS,
    Floats,
    Given,
    State,
)
from peaker.policy import admission

next_step = compiled(admission.next_step)
misses_objective = compiled(admission.misses_objective)
time_missed = compiled(admission.time_missed)
may_start_for_others = compiled(admission.may_start_for_others)
REFUSE, SPILL = admission.REFUSE, admission.SPILL
NEWCOMER = -1


@compiled
def run_chunk(
    state: State, given: Given, arrivals_s: Floats, service_chance: Floats, spill_chance: Floats, worker_chance: Floats
) -> None:
    """Take in these arrivals, in order of time.

    `service_chance` draws the service time of each; `spill_chance` is below 0 for those that must stay (empty where
    none must), `worker_chance` says to which worker each comes (empty where slots are one pool).
    """
    counts, sums, seconds, last = state.counts, state.sums, state.seconds, given.service_last
    is_pool = given.cpu_share == 0.0
    counts[SERVER_OUT] = 0
    counts[FUNCTION_OUT] = 0
    for index in range(len(arrivals_s)):
        now_s = arrivals_s[index]
        place = service_chance[index] * last
        low = int(place)
        service_s = seconds[SERVICE_TABLE, low]
        if low < last:
            service_s += (seconds[SERVICE_TABLE, low + 1] - service_s) * (place - low)
        if is_pool and given.may_stay and counts[WAITING] == 0 and now_s < seconds[CHANGE_AT, counts[CHANGE]]:
            # A slot whose time is over is taken again at once: one step in the heap, not two.
            busy = counts[EVENTS]
            is_over = busy > 0 and seconds[FINISH, 0] <= now_s and busy <= counts[CAPACITY]
            if is_over or busy < counts[CAPACITY]:
                if is_over:
                    replace_first(seconds, FINISH, busy, now_s + service_s)
                    sums[SLOT_S] += service_s
                    seconds[SERVER_LATENCY, counts[SERVER_OUT]] = service_s
                    counts[SERVER_OUT] += 1
                    counts[SERVED] += 1
                    counts[WITHIN] += 1 if service_s <= given.objective_s else 0
                else:
                    begin(state, given, now_s, now_s, service_s, -1)
                continue
        may_spill = given.concurrency_max > 0 and (len(spill_chance) == 0 or spill_chance[index] >= 0.0)
        if may_spill and not given.may_stay and given.steps == 0 and counts[WAITING] == 0:
            # Functions only, and nobody waits: there is nothing to decide as long as they have room.
            settle_instances(state, given, now_s)
            if have_room(state, given, now_s):
                run_on_function(state, given, now_s, now_s, service_s)
                continue
        first = 0 if is_pool else int(worker_chance[index] * counts[WORKERS])
        arrive(state, given, now_s, service_s, may_spill, first)


@compiled
def arrive(state: State, given: Given, now_s: float, service_s: float, may_spill: bool, first: int) -> None:
    """One arrival that may not find a slot; `first` is the worker that it comes to."""
    counts = state.counts
    advance(state, given, now_s)
    if given.may_stay and counts[WAITING] == 0:
        if given.cpu_share > 0.0:
            worker = find_worker(state, given, now_s, first)
            if worker >= 0:
                begin(state, given, now_s, now_s, service_s, worker)
                return
        elif counts[EVENTS] < counts[CAPACITY]:
            begin(state, given, now_s, now_s, service_s, -1)
            return
    decide(state, given, now_s, now_s, service_s, may_spill, NEWCOMER)


@compiled
def decide(
    state: State,
    given: Given,
    now_s: float,
    arrival_s: float,
    service_s: float,
    may_spill: bool,
    place: int,
) -> None:
    """Look at a request that has no slot, and do what the policy says; `place` is its place in line or NEWCOMER."""
    counts, sums = state.counts, state.sums
    settle_instances(state, given, now_s)
    has_room = may_spill and have_room(state, given, now_s)
    ahead = counts[WAITING] if place == NEWCOMER else ahead_of(state, place)
    hold_s, tail_s = given.service_mean_s, given.tail_s
    if given.cpu_share > 0.0:
        hold_s = sums[HOLD_S]
        tail_s = hold_s + 2.0 * math.sqrt(max(0.0, sums[HOLD_SQUARE] - hold_s * hold_s))
    warm_s = given.service_mean_s * given.function_factor + given.overhead_s
    function_s = warm_s if counts[IDLE] > 0 else warm_s + given.cold_mean_s
    waited_s, expected_wait_s = now_s - arrival_s, (ahead + 1) * hold_s / max(1, counts[IN_FLIGHT])
    misses = misses_objective(
        waited_s, expected_wait_s, tail_s, given.service_mean_s, given.objective_s, given.queue_wait_s_max
    )
    sums[MISSED_S] = time_missed(sums[MISSED_S], now_s - sums[LOOKED_S], misses, given.cold_mean_s)
    sums[LOOKED_S] = now_s
    # Each worker's gate may have one started for those who wait.
    running = max(counts[WORKERS], counts[FUNCTIONS_BUSY])
    may_start = may_start_for_others(misses, sums[MISSED_S], given.cold_mean_s, running, now_s - sums[START_BEGAN_S])
    step, wait_s = next_step(
        given.may_stay,
        has_room,
        False,
        False,
        place != NEWCOMER or counts[WAITING] < counts[QUEUE_MAX],
        waited_s,
        expected_wait_s,
        hold_s,
        tail_s,
        given.service_mean_s,
        function_s,
        given.objective_s,
        given.queue_wait_s_max,
        warm_s,
        may_start,
    )
    if may_spill and not has_room and step != admission.WAIT_SHORT:
        counts[THROTTLED] += 1
    if not may_spill and step != REFUSE:
        # Nothing but a slot can help it, and it is given one without a look: the next look is the last.
        wait_s = given.queue_wait_s_max - waited_s
    if step == SPILL or step == REFUSE:
        if place != NEWCOMER:
            leave(state, place)
        note_gone(state, given, now_s, arrival_s, service_s, step)
    elif place == NEWCOMER:
        join(state, arrival_s, service_s, may_spill, now_s + wait_s)
        if given.cpu_share > 0.0:
            for worker in range(counts[WORKERS]):
                look_when_calm(state, given, worker)
    else:
        look_again(state, place, now_s + wait_s)


@compiled
def note_gone(state: State, given: Given, now_s: float, arrival_s: float, service_s: float, step: int) -> None:
    """It runs on a function, or nowhere."""
    counts = state.counts
    row = REFUSED_IN
    if step == SPILL:
        run_on_function(state, given, now_s, arrival_s, service_s)
        row = SPILLED_IN
    elif now_s > arrival_s:
        counts[TIMED_OUT] += 1
    else:
        counts[REFUSED] += 1
    if given.steps > 0:
        state.whole[row, min(given.steps - 1, int(arrival_s / given.step_s))] += 1


@compiled
def advance(state: State, given: Given, until_s: float) -> None:
    """Everything that happens up to this moment: services end, workers come and go, those in line are looked at."""
    counts = state.counts
    while True:
        finish_s = state.seconds[FINISH, 0] if counts[EVENTS] > 0 else math.inf
        change_s = state.seconds[CHANGE_AT, counts[CHANGE]]
        first = state.whole[LOOKS, 0]
        look_s = state.seconds[LOOK, first] if counts[WAITING] > 0 else math.inf
        now_s = min(finish_s, change_s, look_s)
        if now_s > until_s or now_s == math.inf:
            return
        if finish_s <= now_s:
            end_service(state, given, now_s)
        elif change_s <= now_s:
            change_workers(state, given, now_s)
        else:
            arrival_s, service_s = state.seconds[ARRIVAL, first], state.seconds[SERVICE, first]
            decide(state, given, now_s, arrival_s, service_s, state.whole[MAY_SPILL, first] == 1, first)


@compiled
def end_service(state: State, given: Given, now_s: float) -> None:
    """The service that ends first; its slot goes to the first in line."""
    counts = state.counts
    counts[EVENTS] -= 1
    if given.cpu_share == 0.0:
        replace_first(state.seconds, FINISH, counts[EVENTS], state.seconds[FINISH, counts[EVENTS]])
        counts[IN_FLIGHT] = counts[EVENTS]
        grant(state, given, now_s, -1)
        return
    owner = state.whole[OWNER, 0]
    pop_owned(state.seconds, state.whole, counts[EVENTS] + 1)
    if owner < 0:
        owner = -1 - owner
        state.whole[WORKER_LOOKS, owner] = 0
    else:
        state.whole[WORKER_BUSY, owner] -= 1
        counts[IN_FLIGHT] -= 1
    grant(state, given, now_s, owner)


@compiled
def finish(state: State, given: Given, end_s: float) -> None:
    """Let all that is under way come to its end; idle instances count until `end_s`."""
    state.counts[SERVER_OUT] = 0
    state.counts[FUNCTION_OUT] = 0
    advance(state, given, math.inf)
    settle_instances(state, given, end_s)
