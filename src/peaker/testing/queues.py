"""The examiner of `events.queue.Queue`: the same assertions for every body.

    asyncio.run(check_queue(make))

`make(clock, bounds)` returns an async context manager of an empty `Queue`; each check is given one of its own, with a
clock that stands still until it is moved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from peaker.clock import VirtualClock
from peaker.errors import QueueFull
from peaker.events.queue import (
    ATTEMPTS_KEPT_MAX,
    ERROR_CHARACTERS_MAX,
    Bounds,
    Lease,
    Outcome,
    Queue,
    State,
)
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


def event(name: str, **fields: Any) -> Event:
    """An event of function `f`."""
    return replace(Event(id=name, function="f", payload=b'{"of": "' + name.encode() + b'"}'), **fields)


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


async def refuses_above_its_bounds(queue: Queue, _: VirtualClock) -> None:
    """All of what was put, and nothing of what was there is touched; room that was made is room."""
    await queue.put([event(f"e{number}") for number in range(BOUNDS.events_max - 1)])
    await _refuses(queue, [event("one"), event("two")], "more events than events_max")
    await queue.put([event("one")])
    counts = await queue.counts()
    assert counts.events(State.WAITING) == BOUNDS.events_max
    await queue.finish([await lease_one(queue)])
    await queue.put([event("two")])
    await queue.discard([f"e{number}" for number in range(BOUNDS.events_max)])
    await _refuses(queue, [event("large", payload=b"x" * (BOUNDS.bytes_max + 1))], "more bytes than bytes_max")
    assert await queue.get("large") is None, "what was refused was kept"


async def drops_what_it_has_already(queue: Queue, clock: VirtualClock) -> None:
    """By id as long as that is known, by key as long as that holds; and says of what it is a duplicate."""
    keyed = {"dedup_key": "k", "dedup_s": 10.0}
    put = await queue.put([event("a"), event("a"), event("b", **keyed), event("c", **keyed)])
    assert (put.accepted, dict(put.duplicates)) == (("a", "b"), {"a": "a", "c": "b"})
    other = [event("d", function="g", **keyed), event("e", source="s", **keyed)]
    assert (await queue.put(other)).accepted == ("d", "e"), "a key holds for one function and source"
    await queue.finish(await queue.lease("f", at_most=9, lease_s=60))
    assert (await queue.put([event("c", **keyed), event("a")])).accepted == (), (
        "the end of an event does not end its key"
    )
    clock.advance(10)
    assert (await queue.put([event("c", **keyed)])).accepted == ("c",), "the key has ended"


async def bounds_its_keys(queue: Queue, clock: VirtualClock) -> None:
    """More are refused until some have ended."""
    keys = [event(f"k{number}", dedup_key=str(number), dedup_s=10.0) for number in range(BOUNDS.keys_max)]
    await queue.put(keys)
    await _refuses(queue, [event("more", dedup_key="more", dedup_s=10.0)], "more keys than keys_max")
    clock.advance(10)
    await queue.put([event("more", dedup_key="more", dedup_s=10.0)])


async def counts_attempts_and_remembers_them(queue: Queue, clock: VirtualClock) -> None:
    """Each with its outcome, error, length and request id; failures and those not started apart."""
    await queue.put([event("a")])
    began_s = clock.epoch_s()
    for outcome, error in ((Outcome.NOT_STARTED, "throttled"), (Outcome.FAILED, "x" * 3_000)):
        lease = await lease_one(queue)
        clock.advance(2)
        await queue.retry([lease], not_before_s=clock.epoch_s(), outcome=outcome, error=error, request_id="r")
    lease = await lease_one(queue)
    assert (lease.attempt, lease.failures, lease.not_started, lease.lost) == (3, 1, 0, 0)
    await queue.finish([lease])
    record = await queue.get("a")
    assert record is not None, "a finished event is not shown"
    outcomes = [attempt.outcome for attempt in record.attempts]
    assert outcomes == [Outcome.NOT_STARTED, Outcome.FAILED, Outcome.SUCCEEDED]
    first, second, third = record.attempts
    assert (first.number, first.began_s, first.took_s) == (1, began_s, 2.0)
    assert (first.error, first.request_id, third.request_id) == ("throttled", "r", "a")
    assert len(second.error) == ERROR_CHARACTERS_MAX, "an error text is not cut at its bound"
    assert (record.entry.state, record.event.payload) == (State.FINISHED, b""), "a finished event keeps its payload"


async def keeps_only_so_many_attempts(queue: Queue, clock: VirtualClock) -> None:
    """The first and the newest; all are counted."""
    await queue.put([event("a")])
    for _ in range(ATTEMPTS_KEPT_MAX + 5):
        lease = await lease_one(queue)
        await queue.retry([lease], not_before_s=clock.epoch_s(), outcome=Outcome.NOT_STARTED)
    record = await queue.get("a")
    assert record is not None, "a waiting event is not shown"
    numbers = [attempt.number for attempt in record.attempts]
    assert numbers == [1, *range(7, ATTEMPTS_KEPT_MAX + 6)]
    assert (await lease_one(queue)).not_started == ATTEMPTS_KEPT_MAX + 5


async def extends_and_releases(queue: Queue, clock: VirtualClock) -> None:
    """A heartbeat keeps an event from others; one given back before it was begun was no attempt."""
    await queue.put([event("a")])
    lease = await lease_one(queue, lease_s=10)
    clock.advance(9)
    assert await queue.extend([lease], 10) == ()
    clock.advance(9)
    assert await queue.lease("f", at_most=1, lease_s=10) == [], "leased again in spite of its heartbeat"
    assert await queue.next_moment() == clock.epoch_s() + 1
    assert await queue.release([lease]) == ()
    assert await queue.release([lease]) == ("a",), "given back twice"
    again = await lease_one(queue)
    assert (again.attempt, again.lost) == (1, 0)
    assert again.token > lease.token


async def buries_and_digs_up(queue: Queue, clock: VirtualClock) -> None:
    """A dead letter keeps its payload and history; redriven, it waits with no attempts against it."""
    await queue.put([event("a"), event("b")])
    lease = await lease_one(queue)
    await queue.bury([lease], reason="RetriesExhausted", outcome=Outcome.FAILED, error="no such bucket")
    record = await queue.get("a")
    assert record is not None, "a dead letter is not shown"
    assert (record.entry.state, record.entry.reason, record.entry.error) == (
        State.DEAD, "RetriesExhausted", "no such bucket",
    )  # fmt: skip
    assert record.event.payload == event("a").payload, "a dead letter has lost its payload"
    clock.advance(5)
    assert await queue.redrive(["a", "b", "unknown"]) == ("a",), "only dead letters are redriven"
    leases = await queue.lease("f", at_most=9, lease_s=60)
    assert [(lease.event.id, lease.attempt, lease.failures) for lease in leases] == [("b", 1, 0), ("a", 1, 0)]
    record = await queue.get("a")
    assert record is not None
    assert len(record.attempts) == 1, "the history was not kept"
    assert (record.entry.reason, record.entry.state) == ("", State.RUNNING)


async def drops_the_oldest_dead_letter_for_a_new_one(queue: Queue, _: VirtualClock) -> None:
    """Above dead_max and dead_bytes_max; it is counted."""
    for number in range(BOUNDS.dead_max + 1):
        await queue.put([event(f"d{number}")])
        await queue.bury([await lease_one(queue)], reason="tested", outcome=Outcome.FAILED)
    counts = await queue.counts()
    assert (counts.events(State.DEAD), counts.dead_dropped) == (BOUNDS.dead_max, 1)
    assert await queue.get("d0") is None, "another than the oldest was dropped"
    await queue.put([event("large", payload=b"x" * (BOUNDS.dead_bytes_max + 1))])
    await queue.bury([await lease_one(queue)], reason="tested", outcome=Outcome.FAILED)
    counts = await queue.counts()
    assert (counts.events(State.DEAD), counts.dead_dropped) == (1, BOUNDS.dead_max + 1)


async def forgets_finished_events_after_a_while(queue: Queue, _: VirtualClock) -> None:
    """The newest finished_max are shown."""
    for number in range(BOUNDS.finished_max + 2):
        await queue.put([event(f"e{number}")])
        await queue.finish([await lease_one(queue)])
    shown = [entry.id for entry in (await queue.listing(state=State.FINISHED)).entries]
    assert shown == [f"e{number}" for number in range(2, BOUNDS.finished_max + 2)]


async def discards_what_waits_or_is_dead(queue: Queue, _: VirtualClock) -> None:
    """Not what runs; the next of its group steps forward."""
    await queue.put([event("a", group="g"), event("b", group="g"), event("c", group="g"), event("d")])
    assert [lease.event.id for lease in await queue.lease("f", at_most=1, lease_s=60)] == ["a"]
    assert await queue.discard(["a", "b", "x"]) == ("b",), "only what waits or is dead is discarded"
    assert [lease.event.id for lease in await queue.lease("f", at_most=9, lease_s=60)] == ["d"]
    await queue.put([event("e", group="h"), event("f", group="h")])
    assert await queue.discard(["e"]) == ("e",)
    assert (await lease_one(queue)).event.id == "f", "discarding the first of a group held up the rest"


async def leases_in_batches(queue: Queue, clock: VirtualClock) -> None:
    """Of one source where wanted, up to a number of bytes, at least one; lines say what there is to decide by."""
    now_s = clock.epoch_s()
    await queue.put([event(f"q{number}", source="queue/q", payload=b"x" * 100) for number in range(5)])
    await queue.put([event("i"), event("later", not_before_s=now_s + 3), event("g", function="g")])
    of_f = [line for line in await queue.lines(due_max=3) if line.function == "f"]
    assert [(line.source, line.waiting, line.running, line.due, line.first_due_s) for line in of_f] == [
        ("invoke", 2, 0, 1, now_s), ("queue/q", 5, 0, 3, now_s),
    ]  # fmt: skip
    batch = await queue.lease("f", at_most=10, lease_s=60, source="queue/q", bytes_max=250)
    assert [lease.event.id for lease in batch] == ["q0", "q1"]
    assert len(await queue.lease("f", at_most=10, lease_s=60, source="queue/q", bytes_max=1)) == 1
    (line,) = [line for line in await queue.lines() if line.source == "queue/q"]
    assert (line.waiting, line.running, line.due) == (2, 3, 1)


async def pages_through_what_it_holds(queue: Queue, _: VirtualClock) -> None:
    """In the order in which it was put, filtered by state, function and source."""
    await queue.put([event(f"e{number}", function="fg"[number % 2], source="s") for number in range(7)])
    seen: list[str] = []
    after, pages = 0, 0
    while pages == 0 or after:
        page = await queue.listing(after=after, limit=3)
        seen += [entry.id for entry in page.entries]
        after, pages = page.after, pages + 1
    assert (seen, pages) == ([f"e{number}" for number in range(7)], 3)
    await lease_one(queue, "g")
    only = await queue.listing(state=State.WAITING, function="g", source="s")
    assert [entry.id for entry in only.entries] == ["e3", "e5"]
    assert (await queue.listing(source="other")).entries == ()


async def wakes_whoever_waits(queue: Queue, clock: VirtualClock) -> None:
    """After each call by which something may have become due."""

    async def wakes(call: Awaitable[object], name: str) -> None:
        queue.woken.clear()
        await call
        assert queue.woken.is_set(), f"{name} did not wake"

    await wakes(queue.put([event("a", group="g"), event("b", group="g")]), "put")
    retried = queue.retry([await lease_one(queue)], not_before_s=clock.epoch_s(), outcome=Outcome.NOT_STARTED)
    await wakes(retried, "retry")
    await wakes(queue.release([await lease_one(queue)]), "release")
    await wakes(queue.bury([await lease_one(queue)], reason="r", outcome=Outcome.FAILED), "bury")
    await wakes(queue.finish([await lease_one(queue)]), "finish")
    await wakes(queue.redrive(["a"]), "redrive")


async def refuses_what_it_could_not_keep(queue: Queue, _: VirtualClock) -> None:
    """With the field's name."""
    for wrong, name in (
        (event("a", function=""), "function"),
        (event("a", not_before_s=float("nan")), "not_before_s"),
        (event("a", dedup_key="k" * 1_000), "dedup_key"),
        (event("a", hops=-1), "hops"),
    ):
        said = await _complaint(queue, [event("good"), wrong])
        assert name in said, f"of a wrong {name} it is said: {said}"
    assert (await queue.counts()).of == (), "part of what was refused was kept"


async def _complaint(queue: Queue, events: Sequence[Event]) -> str:
    try:
        await queue.put(events)
    except ValueError as error:
        return str(error)
    return "nothing"


async def _refuses(queue: Queue, events: Sequence[Event], what: str) -> None:
    try:
        await queue.put(events)
    except QueueFull:
        return
    raise AssertionError(f"accepted: {what}")


QUEUE_CHECKS: tuple[Check, ...] = (
    gives_back_what_was_put,
    leases_those_due_longest_first,
    refuses_the_late_ending_of_a_lease_that_ran_out,
    keeps_a_group_in_order,
    refuses_above_its_bounds,
    drops_what_it_has_already,
    bounds_its_keys,
    counts_attempts_and_remembers_them,
    keeps_only_so_many_attempts,
    extends_and_releases,
    buries_and_digs_up,
    drops_the_oldest_dead_letter_for_a_new_one,
    forgets_finished_events_after_a_while,
    discards_what_waits_or_is_dead,
    leases_in_batches,
    pages_through_what_it_holds,
    wakes_whoever_waits,
    refuses_what_it_could_not_keep,
)
"""Also usable one by one, as the parameters of a test."""
