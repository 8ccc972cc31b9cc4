r"""The queue of events: the interface and its values.

An event is *waiting* (perhaps until a moment, perhaps behind another of its group), *running* (leased to a dispatcher),
*finished* (kept for a while, without its payload, so that it can be shown) or *dead* (given up on, kept for a person).

    put -> WAITING -- lease --> RUNNING -- finish --> FINISHED -> forgotten
              ^                   |  \--- bury ----> DEAD -- discard --> forgotten
              |-- retry, release, |                   |
              |   lease ran out --/                   |
              \------------------------- redrive ----/

Times are epoch seconds of the clock that the queue was made with. All bodies obey `peaker.testing.check_queue`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from peaker.messages import Event
from peaker.units import MIB

ERROR_CHARACTERS_MAX = 2_000
"""Of one attempt's error text; what is longer is cut."""

ATTEMPTS_KEPT_MAX = 20
"""Of one event; the first and the newest are kept, all are counted."""

LISTED_MAX = 1_000
"""Entries of one page."""


class State(Enum):
    """Where an event is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    DEAD = "dead"


class Outcome(Enum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The function ran and returned an error, timed out or crashed."""
    NOT_STARTED = "not started"
    """Throttled, or the platform failed before the function ran."""
    LOST = "lost"
    """Its lease ran out: nobody knows how far it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a queue holds at most.

    `events_max` and `bytes_max` (payloads) are of waiting and running events: more are refused at intake. `dead_max`
    and `dead_bytes_max` are of dead letters: the oldest is dropped for a new one, with a line in the log and counted.
    `finished_max` are shown after their end; `keys_max` deduplication keys are held, more are refused at intake.
    """

    events_max: int = 100_000
    bytes_max: int = 512 * MIB
    dead_max: int = 10_000
    dead_bytes_max: int = 256 * MIB
    finished_max: int = 1_000
    keys_max: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What became of the events that were put: ids in the order given.

    `duplicates` names for each dropped event the one that was there before.
    """

    accepted: tuple[str, ...] = ()
    duplicates: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One event, leased: nobody else gets it before `until_s`.

    `token` is larger than that of any lease before it, over restarts too; an ending that names an older one is refused.
    `attempt` counts from 1; before this one, `failures` ran and failed, `lost` ran out, and the last `not_started` in
    a row were not started.
    """

    event: Event
    token: int
    until_s: float
    attempt: int
    failures: int = 0
    not_started: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that has ended. `request_id` is that of the invocation (of a batch, shared by its events)."""

    number: int
    began_s: float
    took_s: float
    outcome: Outcome
    error: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event as a listing shows it, without its payload.

    `due_s` is when it may run (waiting), when its lease runs out (running) or when it ended (finished, dead);
    `is_behind` says that it waits for another of its group. `reason` is why it is dead.
    """

    id: str
    function: str
    source: str
    state: State
    accepted_at_s: float
    due_s: float
    payload_bytes: int
    attempts: int = 0
    group: str = ""
    is_behind: bool = False
    reason: str = ""
    error: str = ""
    hops: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a listing, in the order in which they were put; `after` continues it, 0 at its end."""

    entries: tuple[Entry, ...]
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything known of one event; the payload of a finished one is gone (b"")."""

    entry: Entry
    event: Event
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What waits and runs of one function and source, for whoever decides what to lease.

    `due` could be leased now, counted up to what was asked; `first_due_s` is the earliest moment of any that waits and
    is behind no other (in the past where it is due), None where none waits.
    """

    function: str
    source: str
    waiting: int
    running: int
    due: int
    first_due_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many events of one function and source are in one state; `oldest_at_s` is when the oldest was accepted."""

    function: str
    source: str
    state: State
    events: int
    payload_bytes: int
    oldest_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """All of them, and how many dead letters were dropped for newer ones since the queue was made."""

    of: tuple[Count, ...]
    dead_dropped: int = 0

    def events(self, state: State) -> int:
        """How many are in this state."""
        return sum(count.events for count in self.of if count.state is state)


class Queue(Protocol):
    """Keeps events until a function has finished with them; at least once, never fewer.

    Every call may raise QueueUnavailable: the disk failed, nothing was changed, and calling again is right; or
    QueueBroken: no call will succeed until whoever made the queue has made it anew; `woken` is set then, too.

    Calls that end leases return the ids of those that are no longer held (the event was leased again since, or is
    gone): for these nothing was changed.
    """

    @property
    def woken(self) -> asyncio.Event:
        """Set whenever something may have become due by a call; who waits for it clears it before it looks."""
        ...

    async def put(self, events: Sequence[Event]) -> Put:
        """Accept events, all or none; when this returns, they survive the loss of power.

        Raises:
            QueueFull: not all of them have room (or the disk has none); none was accepted.
            ValueError: one of them has no id or function, or a time that is no finite number.
        """
        ...

    async def lease(
        self, function: str, *, at_most: int, lease_s: float, source: str | None = None, bytes_max: int | None = None
    ) -> Sequence[Lease]:
        """Take events of `function` that are due, those due longest first; of `source` alone where given.

        Those whose lease ran out are given back first. At most one event of a group is leased at any time, the one that
        was put first. With `bytes_max` it stops before the payloads are more, but gives at least one.
        """
        ...

    async def extend(self, leases: Sequence[Lease], lease_s: float) -> tuple[str, ...]:
        """They are still being worked on: `until_s` becomes now + `lease_s`. Returns those no longer held."""
        ...

    async def finish(self, leases: Sequence[Lease], *, request_id: str = "") -> tuple[str, ...]:
        """Done with them. Returns those no longer held."""
        ...

    async def retry(
        self, leases: Sequence[Lease], *, not_before_s: float, outcome: Outcome, error: str = "", request_id: str = ""
    ) -> tuple[str, ...]:
        """The attempt ended with `outcome` (FAILED or NOT_STARTED); another may be made from `not_before_s` on."""
        ...

    async def bury(
        self, leases: Sequence[Lease], *, reason: str, outcome: Outcome, error: str = "", request_id: str = ""
    ) -> tuple[str, ...]:
        """Give up on them: they become dead letters. Returns those no longer held."""
        ...

    async def release(self, leases: Sequence[Lease]) -> tuple[str, ...]:
        """They were not begun: due again at once, and this was no attempt. Returns those no longer held."""
        ...

    async def redrive(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Dead letters wait again, at the end of their group, with no attempts against them; their history is kept.

        Returns those that were dead. Raises QueueFull where they have no room: none was moved.
        """
        ...

    async def discard(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Forget events that wait or are dead; returns which were."""
        ...

    async def lines(self, *, due_max: int = 1) -> Sequence[Line]:
        """Each function and source of which anything waits or runs, by name; due ones are counted up to `due_max`."""
        ...

    async def next_moment(self) -> float | None:
        """When the next event becomes due or lease runs out; in the past where one has; None where none will."""
        ...

    async def counts(self) -> Counts:
        """How many there are."""
        ...

    async def listing(
        self,
        *,
        state: State | None = None,
        function: str | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page:
        """A page of those that match, in the order in which they were put; `limit` up to LISTED_MAX."""
        ...

    async def get(self, event_id: str) -> Record | None:
        """One event, None where it is not known (any more)."""
        ...

    async def close(self) -> None:
        """Write what is left and let go of the file; later calls raise QueueUnavailable."""
        ...
