"""Requests that wait: a list in order of arrival, and a heap by when each is looked at again."""

from __future__ import annotations

from peaker.plan.queueing.compiled import compiled
from peaker.plan.queueing.state import (
    AHEAD,
    ARRIVAL,
    BEFORE,
    DEPARTED,
    DEPARTED_THEN,
    FREE,
    HEAD,
    LOOK,
    LOOKS,
    MAY_SPILL,
    NEXT,
    POSITION,
    QUEUE_PEAK,
    SERVICE,
    TAIL,
    WAITING,
    State,
)


@compiled
def join(state: State, arrival_s: float, service_s: float, may_spill: bool, look_s: float) -> None:
    """A place at the end of the line."""
    counts, whole = state.counts, state.whole
    place = counts[FREE]
    counts[FREE] = whole[NEXT, place]
    tail = counts[TAIL]
    whole[BEFORE, place], whole[NEXT, place] = tail, -1
    if tail >= 0:
        whole[NEXT, tail] = place
    else:
        counts[HEAD] = place
    counts[TAIL] = place
    whole[MAY_SPILL, place] = 1 if may_spill else 0
    whole[AHEAD, place] = counts[WAITING]
    whole[DEPARTED_THEN, place] = counts[DEPARTED]
    state.seconds[ARRIVAL, place] = arrival_s
    state.seconds[SERVICE, place] = service_s
    state.seconds[LOOK, place] = look_s
    _rise(state, counts[WAITING], place)
    counts[WAITING] += 1
    counts[QUEUE_PEAK] = max(counts[QUEUE_PEAK], counts[WAITING])


@compiled
def leave(state: State, place: int) -> None:
    """Out of the line and out of the heap."""
    counts, whole = state.counts, state.whole
    before, after = whole[BEFORE, place], whole[NEXT, place]
    if before >= 0:
        whole[NEXT, before] = after
    else:
        counts[HEAD] = after
    if after >= 0:
        whole[BEFORE, after] = before
    else:
        counts[TAIL] = before
    counts[WAITING] -= 1
    counts[DEPARTED] += 1
    position, last = whole[POSITION, place], whole[LOOKS, counts[WAITING]]
    if last != place:
        _settle(state, position, last)
    whole[NEXT, place] = counts[FREE]
    counts[FREE] = place


@compiled
def look_again(state: State, place: int, look_s: float) -> None:
    """Another moment at which to look at it."""
    state.seconds[LOOK, place] = look_s
    _settle(state, state.whole[POSITION, place], place)


@compiled
def ahead_of(state: State, place: int) -> int:
    """How many are before it, at most: who left is not sought (as `gate.waiting_line` has it)."""
    gone = state.counts[DEPARTED] - state.whole[DEPARTED_THEN, place]
    return int(max(0, state.whole[AHEAD, place] - gone))


@compiled
def _rise(state: State, at: int, place: int) -> None:
    whole, seconds = state.whole, state.seconds
    while at > 0:
        parent = (at - 1) >> 1
        if seconds[LOOK, whole[LOOKS, parent]] <= seconds[LOOK, place]:
            break
        whole[LOOKS, at] = whole[LOOKS, parent]
        whole[POSITION, whole[LOOKS, at]] = at
        at = parent
    whole[LOOKS, at] = place
    whole[POSITION, place] = at


@compiled
def _settle(state: State, at: int, place: int) -> None:
    """Put this place at this position of a heap of WAITING places, then where it belongs."""
    whole, seconds = state.whole, state.seconds
    size = state.counts[WAITING]
    child = 2 * at + 1
    while child < size:
        if child + 1 < size and seconds[LOOK, whole[LOOKS, child + 1]] < seconds[LOOK, whole[LOOKS, child]]:
            child += 1
        if seconds[LOOK, whole[LOOKS, child]] >= seconds[LOOK, place]:
            break
        whole[LOOKS, at] = whole[LOOKS, child]
        whole[POSITION, whole[LOOKS, at]] = at
        at = child
        child = 2 * at + 1
    _rise(state, at, place)
