"""The twin of the durable queue: the same behaviour, in this process's memory alone.

For tests and for whoever wants to test an app without a disk. It loses everything when the process ends.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from peaker.clock import Clock
from peaker.errors import QueueUnavailable
from peaker.events.keeping import (
    check_event,
    check_keys,
    check_lease,
    check_lease_s,
    check_limit,
    check_name,
    check_retry,
    check_room,
    cut,
    tell_dropped,
    with_attempt,
)
from peaker.events.queue import (
    Attempt,
    Bounds,
    Count,
    Counts,
    Entry,
    Lease,
    Line,
    Outcome,
    Page,
    Put,
    Record,
    State,
)
from peaker.messages import Event

_LIVE = (State.WAITING, State.RUNNING)


@dataclass(slots=True)
class _Kept:
    event: Event
    place: int
    due_s: float
    state: State = State.WAITING
    is_behind: bool = False
    token: int = 0
    began_s: float = 0.0
    until_s: float = 0.0
    ended_s: float = 0.0
    ended_as: int = 0
    payload_bytes: int = 0
    attempts: int = 0
    failures: int = 0
    not_started: int = 0
    lost: int = 0
    reason: str = ""
    error: str = ""
    history: tuple[Attempt, ...] = field(default=())

    @property
    def line(self) -> tuple[str, str]:
        return self.event.function, self.event.source

    @property
    def group(self) -> tuple[str, str, str] | None:
        return (*self.line, self.event.group) if self.event.group else None


class MemoryQueue:
    """A `Queue` (events/queue.py). It looks through everything it holds at each call: for thousands, not millions."""

    def __init__(self, *, clock: Clock, bounds: Bounds | None = None) -> None:
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._kept: dict[str, _Kept] = {}
        self._keys: dict[tuple[str, str, str], tuple[float, str]] = {}
        self._woken = asyncio.Event()
        self._place = 0
        self._token = 0
        self._ended = 0
        self._dead_dropped = 0
        self._is_closed = False

    @property
    def woken(self) -> asyncio.Event:
        """Set whenever something may have become due."""
        return self._woken

    async def put(self, events: Sequence[Event]) -> Put:
        """Accept all or none."""
        self._check_open()
        for event in events:
            check_event(event)
        now_s = self._clock.epoch_s()
        self._keys = {key: held for key, held in self._keys.items() if held[0] > now_s}
        taken: dict[str, Event] = {}
        keys: dict[tuple[str, str, str], tuple[float, str]] = {}
        duplicates: dict[str, str] = {}
        for event in events:
            key = (event.function, event.source, event.dedup_key) if event.dedup_key and event.dedup_s else None
            if event.id in self._kept or event.id in taken:
                duplicates[event.id] = event.id
            elif key is not None and (held := self._keys.get(key) or keys.get(key)):
                duplicates[event.id] = held[1]
            else:
                taken[event.id] = event
                if key is not None:
                    keys[key] = (now_s + event.dedup_s, event.id)
        self._check_room(taken.values())
        check_keys(self._bounds, keys=len(self._keys), more=len(keys))
        self._keys.update(keys)
        for event in taken.values():
            accepted = event if event.accepted_at_s else replace(event, accepted_at_s=now_s)
            kept = _Kept(accepted, 0, max(event.not_before_s, now_s), payload_bytes=len(event.payload))
            self._kept[event.id] = kept
            self._line_up(kept)
        self._woken.set()
        return Put(accepted=tuple(taken), duplicates=duplicates)

    async def lease(
        self, function: str, *, at_most: int, lease_s: float, source: str | None = None, bytes_max: int | None = None
    ) -> Sequence[Lease]:
        """Those due longest first."""
        self._check_open()
        check_lease(at_most, lease_s)
        now_s = self._clock.epoch_s()
        for kept in self._kept.values():
            if kept.state is State.RUNNING and kept.until_s <= now_s and kept.event.function == function:
                self._end(kept, Outcome.LOST)
                kept.state = State.WAITING
                kept.lost += 1
                kept.not_started = 0
        due = [
            kept
            for kept in self._kept.values()
            if kept.event.function == function
            and source in (None, kept.event.source)
            and kept.state is State.WAITING
            and not kept.is_behind
            and kept.due_s <= now_s
        ]
        due.sort(key=lambda kept: (kept.due_s, kept.place))
        leased: list[Lease] = []
        room = bytes_max
        for kept in due[:at_most]:
            if room is not None:
                room -= kept.payload_bytes
                if room < 0 and leased:
                    break
            leased.append(self._leased(kept, now_s, lease_s))
        return leased

    def _leased(self, kept: _Kept, now_s: float, lease_s: float) -> Lease:
        self._token += 1
        kept.state, kept.token, kept.began_s, kept.until_s = State.RUNNING, self._token, now_s, now_s + lease_s
        kept.attempts += 1
        return Lease(
            event=kept.event, token=kept.token, until_s=kept.until_s, attempt=kept.attempts,
            failures=kept.failures, not_started=kept.not_started, lost=kept.lost,
        )  # fmt: skip

    async def extend(self, leases: Sequence[Lease], lease_s: float) -> tuple[str, ...]:
        """A heartbeat."""
        check_lease_s(lease_s)
        until_s = self._clock.epoch_s() + lease_s

        def extend(kept: _Kept) -> None:
            kept.until_s = until_s

        return self._each(leases, extend)

    async def finish(self, leases: Sequence[Lease], *, request_id: str = "") -> tuple[str, ...]:
        """Done."""

        def finish(kept: _Kept) -> None:
            self._end(kept, Outcome.SUCCEEDED, request_id=request_id)
            kept.state = State.FINISHED
            kept.event = replace(kept.event, payload=b"")
            kept.payload_bytes, kept.error = 0, ""
            self._step_forward(kept)
            self._trim(State.FINISHED, self._bounds.finished_max)

        return self._each(leases, finish, wakes=True)

    async def retry(
        self, leases: Sequence[Lease], *, not_before_s: float, outcome: Outcome, error: str = "", request_id: str = ""
    ) -> tuple[str, ...]:
        """Once more, later."""
        check_retry(not_before_s, outcome)

        def retry(kept: _Kept) -> None:
            self._end(kept, outcome, error=error, request_id=request_id)
            kept.state, kept.due_s = State.WAITING, not_before_s
            if outcome is Outcome.FAILED:
                kept.failures += 1
                kept.not_started = 0
            else:
                kept.not_started += 1

        return self._each(leases, retry, wakes=True)

    async def bury(
        self, leases: Sequence[Lease], *, reason: str, outcome: Outcome, error: str = "", request_id: str = ""
    ) -> tuple[str, ...]:
        """Given up on."""
        check_name("reason", reason)

        def bury(kept: _Kept) -> None:
            self._end(kept, outcome, error=error, request_id=request_id)
            kept.state, kept.reason = State.DEAD, reason
            self._step_forward(kept)
            for dropped in self._trim(State.DEAD, self._bounds.dead_max, self._bounds.dead_bytes_max):
                tell_dropped(dropped.event.id, *dropped.line, dropped.reason, dropped.error)
                self._dead_dropped += 1

        return self._each(leases, bury, wakes=True)

    async def release(self, leases: Sequence[Lease]) -> tuple[str, ...]:
        """Not begun."""

        def release(kept: _Kept) -> None:
            kept.state, kept.token = State.WAITING, 0
            kept.attempts -= 1

        return self._each(leases, release, wakes=True)

    async def redrive(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Dead letters wait again."""
        self._check_open()
        found = [self._kept[known] for known in dict.fromkeys(ids) if known in self._kept]
        dead = [kept for kept in found if kept.state is State.DEAD]
        self._check_room(kept.event for kept in dead)
        now_s = self._clock.epoch_s()
        for kept in dead:
            kept.state, kept.due_s, kept.reason = State.WAITING, now_s, ""
            kept.attempts = kept.failures = kept.not_started = kept.lost = 0
            self._kept[kept.event.id] = self._kept.pop(kept.event.id)
            self._line_up(kept)
        self._woken.set()
        return tuple(kept.event.id for kept in dead)

    async def discard(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Forget what waits or is dead."""
        self._check_open()
        gone = []
        for known in dict.fromkeys(ids):
            kept = self._kept.get(known)
            if kept is not None and kept.state in (State.WAITING, State.DEAD):
                del self._kept[known]
                gone.append(known)
                if kept.state is State.WAITING and not kept.is_behind:
                    self._step_forward(kept)
        self._woken.set()
        return tuple(gone)

    async def lines(self, *, due_max: int = 1) -> Sequence[Line]:
        """What waits and runs, by function and source."""
        self._check_open()
        now_s = self._clock.epoch_s()
        by_line: defaultdict[tuple[str, str], list[_Kept]] = defaultdict(list)
        for kept in self._kept.values():
            if kept.state in _LIVE:
                by_line[kept.line].append(kept)
        lines = []
        for (function, source), kept_here in sorted(by_line.items()):
            moments = [kept.due_s for kept in kept_here if kept.state is State.WAITING and not kept.is_behind]
            running = sum(kept.state is State.RUNNING for kept in kept_here)
            lines.append(
                Line(
                    function=function, source=source, waiting=len(kept_here) - running, running=running,
                    due=min(due_max, sum(moment <= now_s for moment in moments)),
                    first_due_s=min(moments, default=None),
                )
            )  # fmt: skip
        return lines

    async def next_moment(self) -> float | None:
        """The next due time or end of a lease."""
        self._check_open()
        moments = (
            kept.until_s if kept.state is State.RUNNING else kept.due_s
            for kept in self._kept.values()
            if kept.state in _LIVE and not kept.is_behind
        )
        return min(moments, default=None)

    async def counts(self) -> Counts:
        """How many there are."""
        self._check_open()
        cells: defaultdict[tuple[str, str, str], list[_Kept]] = defaultdict(list)
        for kept in self._kept.values():
            cells[*kept.line, kept.state.value].append(kept)
        of = tuple(
            Count(
                function=function, source=source, state=State(state), events=len(kept_here),
                payload_bytes=sum(kept.payload_bytes for kept in kept_here),
                oldest_at_s=min(kept.event.accepted_at_s for kept in kept_here),
            )
            for (function, source, state), kept_here in sorted(cells.items())
        )  # fmt: skip
        return Counts(of=of, dead_dropped=self._dead_dropped)

    async def listing(
        self,
        *,
        state: State | None = None,
        function: str | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page:
        """A page."""
        self._check_open()
        check_limit(limit)
        matching = sorted(
            (
                kept
                for kept in self._kept.values()
                if kept.place > after
                and state in (None, kept.state)
                and function in (None, kept.event.function)
                and source in (None, kept.event.source)
            ),
            key=lambda kept: kept.place,
        )
        shown = matching[:limit]
        return Page(
            entries=tuple(_entry(kept) for kept in shown), after=shown[-1].place if len(matching) > limit else 0
        )

    async def get(self, event_id: str) -> Record | None:
        """One event."""
        self._check_open()
        kept = self._kept.get(event_id)
        return Record(entry=_entry(kept), event=kept.event, attempts=kept.history) if kept else None

    async def close(self) -> None:
        """Nothing is left to write."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise QueueUnavailable("the event queue is closed.")

    def _check_room(self, events: Iterable[Event]) -> None:
        live = [kept for kept in self._kept.values() if kept.state in _LIVE]
        more = [len(event.payload) for event in events]
        check_room(
            self._bounds, events=len(live), payload_bytes=sum(kept.payload_bytes for kept in live),
            more=len(more), more_bytes=sum(more),
        )  # fmt: skip

    def _each(self, leases: Sequence[Lease], act: Callable[[_Kept], None], *, wakes: bool = False) -> tuple[str, ...]:
        """Do it with each that is still held under its token; the ids of the others."""
        self._check_open()
        refused = []
        for lease in leases:
            kept = self._kept.get(lease.event.id)
            if kept is not None and kept.state is State.RUNNING and kept.token == lease.token:
                act(kept)
            else:
                refused.append(lease.event.id)
        if wakes:
            self._woken.set()
        return tuple(refused)

    def _end(self, kept: _Kept, outcome: Outcome, *, error: str = "", request_id: str = "") -> None:
        now_s = self._clock.epoch_s()
        ended_s = kept.until_s if outcome is Outcome.LOST else now_s
        ended = Attempt(
            number=kept.attempts, began_s=kept.began_s, took_s=max(0.0, ended_s - kept.began_s), outcome=outcome,
            error=cut(error), request_id=request_id or kept.event.id,
        )  # fmt: skip
        kept.history = with_attempt(kept.history, ended)
        self._ended += 1
        kept.token, kept.ended_s, kept.ended_as = 0, now_s, self._ended
        kept.error = ended.error or kept.error

    def _line_up(self, kept: _Kept) -> None:
        """At the end of its group."""
        self._place += 1
        kept.place = self._place
        kept.is_behind = kept.group is not None and any(other is not kept for other in self._of_group(kept))

    def _of_group(self, kept: _Kept) -> Iterator[_Kept]:
        return (other for other in self._kept.values() if other.state in _LIVE and other.group == kept.group)

    def _step_forward(self, gone: _Kept) -> None:
        """The next of its group is at the head."""
        if gone.group is not None:
            following = min(self._of_group(gone), key=lambda kept: kept.place, default=None)
            if following is not None:
                following.is_behind = False

    def _trim(self, state: State, kept_max: int, bytes_max: int | None = None) -> list[_Kept]:
        """Forget those that ended first, until the rest is within its bounds; at least the newest stays."""
        ended = sorted((kept for kept in self._kept.values() if kept.state is state), key=lambda kept: kept.ended_as)
        held = sum(kept.payload_bytes for kept in ended)
        dropped = []
        while len(ended) > kept_max or (bytes_max is not None and held > bytes_max and len(ended) > 1):
            oldest = ended.pop(0)
            held -= oldest.payload_bytes
            del self._kept[oldest.event.id]
            dropped.append(oldest)
        return dropped


def _entry(kept: _Kept) -> Entry:
    moment_s = {State.WAITING: kept.due_s, State.RUNNING: kept.until_s}.get(kept.state, kept.ended_s)
    return Entry(
        id=kept.event.id, function=kept.event.function, source=kept.event.source, state=kept.state,
        accepted_at_s=kept.event.accepted_at_s, due_s=moment_s, payload_bytes=kept.payload_bytes,
        attempts=kept.attempts, group=kept.event.group, is_behind=kept.is_behind, reason=kept.reason,
        error=kept.error, hops=kept.event.hops,
    )  # fmt: skip
