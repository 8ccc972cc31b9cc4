"""The examiner of `events.queue.Queue`: the same assertions for every body.

    asyncio.run(check_queue(make))

`make(clock, bounds)` returns an async context manager of an empty `Queue`; each check is given one of its own, with a
clock that stands still until it is moved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from peaker.clock import VirtualClock
from peaker.errors import QueueFull
from peaker.events.queue import Bounds, Lease, Outcome, Queue, State
from peaker.messages import Event

MakeQueue = Callable[[VirtualClock, Bounds], AbstractAsyncContextManager[Queue]]
Check = Callable[[Queue, VirtualClock], Awaitable[None]]

BOUNDS = Bounds(events_max=20, bytes_max=2_000, dead_max=3, dead_bytes_max=1_000, finished_max=4, keys_max=6)
"""Small enough to be reached."""


async def check_queue(make: MakeQueue) -> None:
    """Examine one body; raises AssertionError with what it should have done."""
    for check in QUEUE_CHECKS:
        clock = VirtualClock()
        async with make(clock, BOUNDS) as queue:
            await check(queue, clock)


def event(name: str, **fields: object) -> Event:
    """An event of function `f`."""
    return replace(Event(id=name, function="f", payload=b'{"of": "' + name.encode() + b'"}'), **fields)  # type: ignore[arg-type]


async def lease_one(queue: Queue, function: str = "f", lease_s: float = 30.0) -> Lease:
    """The one that is due longest; there must be one."""
    leased = await queue.lease(function, at_most=1, lease_s=lease_s)
    assert len(leased) == 1, f"nothing to lease for {function}"
    return leased[0]


async def gives_back_what_was_put(queue: Queue, clock: VirtualClock) -> None:
    """Every field of the event, the moment it was accepted added."""
    put = event("a", qualifier="7", headers=(("x-amzn-trace-id", "Root=1"),), group="g", hops=3, source="s")
    assert (await queue.put([put])).accepted == ("a",)
    lease = await lease_one(queue)
    assert lease.event == replace(put, accepted_at_s=clock.epoch_s())
    assert (lease.attempt, lease.failures, lease.until_s) == (1, 0, clock.epoch_s() + 30.0)
    assert await queue.lease("f", at_most=1, lease_s=30.0) == [], "one event was leased twice"


async def leases_those_due_longest_first(queue: Queue, clock: VirtualClock) -> None:
    """Of the function that is asked for, at most as many as wanted, and none before its time."""
    now_s = clock.epoch_s()
    await queue.put([event("later", not_before_s=now_s + 10), event("a"), event("b"), event("other", function="g")])
    assert [lease.event.id for lease in await queue.lease("f", at_most=1, lease_s=60)] == ["a"]
    assert [lease.event.id for lease in await queue.lease("f", at_most=9, lease_s=60)] == ["b"]
    assert await queue.next_moment() == now_s, "the event of the other function is due"
    await queue.finish([await lease_one(queue, "g")])
    assert await queue.next_moment() == now_s + 10
    clock.advance(10)
    assert [lease.event.id for lease in await queue.lease("f", at_most=9, lease_s=60)] == ["later"]


async def refuses_the_late_ending_of_a_lease_that_ran_out(queue: Queue, clock: VirtualClock) -> None:
    """Once the event is leased again; the attempt is counted as lost."""
    await queue.put([event("a")])
    first = await lease_one(queue, lease_s=10)
    clock.advance(10)
    second = await lease_one(queue)
    assert (second.attempt, second.lost) == (2, 1)
    assert second.token > first.token
    for late in (queue.finish([first]), queue.extend([first], 10), queue.release([first])):
        assert await late == ("a",), "an ending of a lease that is another's by now was taken"
    assert await queue.finish([second]) == ()


async def keeps_a_group_in_order(queue: Queue, clock: VirtualClock) -> None:
    """One at a time, also while the first waits to be tried again; others go on."""
    await queue.put([event("a", group="g"), event("b", group="g"), event("c")])
    leased = await queue.lease("f", at_most=9, lease_s=60)
    assert [lease.event.id for lease in leased] == ["a", "c"]
    await queue.retry(leased[:1], not_before_s=clock.epoch_s() + 5, outcome=Outcome.FAILED, error="no")
    assert await queue.lease("f", at_most=9, lease_s=60) == [], "b overtook a, which is to be tried again"
    clock.advance(5)
    again = await lease_one(queue)
    assert (again.event.id, again.attempt, again.failures) == ("a", 2, 1)
    await queue.bury([again], reason="RetriesExhausted", outcome=Outcome.FAILED, error="no")
    assert (await lease_one(queue)).event.id == "b"


async def refuses_above_its_bounds(queue: Queue, clock: VirtualClock) -> None:  # noqa: ARG001
    """All of what was put, and nothing of what was there is touched."""
    await queue.put([event(f"e{number}") for number in range(BOUNDS.events_max)])
    try:
        await queue.put([event("more")])
    except QueueFull:
        pass
    else:
        raise AssertionError("more events were accepted than events_max")
    assert (await queue.counts()).events(State.WAITING) == BOUNDS.events_max


QUEUE_CHECKS: tuple[Check, ...] = (
    gives_back_what_was_put,
    leases_those_due_longest_first,
    refuses_the_late_ending_of_a_lease_that_ran_out,
    keeps_a_group_in_order,
    refuses_above_its_bounds,
)
"""Also usable one by one, as the parameters of a test."""
