"""Binary heaps in rows of `State.seconds`: the smallest time is at 0."""

from __future__ import annotations

from peaker.plan.queueing.compiled import compiled
from peaker.plan.queueing.state import FINISH, OWNER, Floats, Integers


@compiled
def push(seconds: Floats, row: int, size: int, time_s: float) -> None:
    """Add a time to a heap of this size; the new one is most often among the latest, so this is short."""
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if seconds[row, parent] <= time_s:
            break
        seconds[row, at] = seconds[row, parent]
        at = parent
    seconds[row, at] = time_s


@compiled
def replace_first(seconds: Floats, row: int, size: int, time_s: float) -> None:
    """Put a time in the place of the smallest."""
    at = 0
    child = 1
    while child < size:
        if child + 1 < size and seconds[row, child + 1] < seconds[row, child]:
            child += 1
        if seconds[row, child] >= time_s:
            break
        seconds[row, at] = seconds[row, child]
        at = child
        child = 2 * at + 1
    seconds[row, at] = time_s


@compiled
def push_owned(seconds: Floats, whole: Integers, size: int, time_s: float, owner: int) -> None:
    """Add to FINISH a time and whose it is."""
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if seconds[FINISH, parent] <= time_s:
            break
        seconds[FINISH, at] = seconds[FINISH, parent]
        whole[OWNER, at] = whole[OWNER, parent]
        at = parent
    seconds[FINISH, at] = time_s
    whole[OWNER, at] = owner


@compiled
def pop_owned(seconds: Floats, whole: Integers, size: int) -> None:
    """Take the smallest out of FINISH, which has this size: the last one looks for its place from the top."""
    last = size - 1
    time_s, owner = seconds[FINISH, last], whole[OWNER, last]
    at = 0
    child = 1
    while child < last:
        if child + 1 < last and seconds[FINISH, child + 1] < seconds[FINISH, child]:
            child += 1
        if seconds[FINISH, child] >= time_s:
            break
        seconds[FINISH, at] = seconds[FINISH, child]
        whole[OWNER, at] = whole[OWNER, child]
        at = child
        child = 2 * at + 1
    seconds[FINISH, at] = time_s
    whole[OWNER, at] = owner
