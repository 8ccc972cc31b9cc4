"""What can be asked about events and done with them, beside putting them; `peaker events` asks it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from peaker.clock import Clock
from peaker.errors import MalformedEvent
from peaker.event_socket import event_head
from peaker.events.intake import Question
from peaker.events.queue import LISTED_MAX, Counts, Entry, Queue, Record, State

LISTED_DEFAULT = 100

STATES = tuple(state.value for state in State)


class Questions:
    """About one queue; each takes the fields of a request and gives a document."""

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    def by_name(self) -> Mapping[str, Question]:
        """As the intake serves them: documents are the body of the reply."""
        asked = {
            "counts": self.counts,
            "list": self.listing,
            "show": self.show,
            "redrive": self.redrive,
            "discard": self.discard,
        }

        def as_question(name: str) -> Question:
            async def question(line: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
                return {}, json.dumps(await asked[name](line)).encode()

            return question

        return {name: as_question(name) for name in asked}

    async def counts(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """How many events are in each state, by function."""
        return counts_document(await self._queue.counts(), self._clock.epoch_s())

    async def listing(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """A page of events: `state`, `function`, `source`, `after`, `limit`."""
        limit = int(line.get("limit", LISTED_DEFAULT))
        page = await self._queue.listing(
            state=state_named(line.get("state")),
            function=line.get("function") or None,
            source=line.get("source") or None,
            after=int(line.get("after", 0)),
            limit=max(1, min(LISTED_MAX, limit)),
        )
        return {"events": [entry_document(entry) for entry in page.entries], "after": page.after}

    async def show(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Everything known of the event `event_id`; {} where it is not known."""
        record = await self._queue.get(str(line.get("event_id", "")))
        return record_document(record) if record is not None else {}

    async def redrive(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Let dead letters wait again: those in `ids`, or all (of `function`)."""
        done: list[str] = []
        async for ids in self._chosen(line):
            done += await self._queue.redrive(ids)
        return {"redriven": len(done), "ids": done[:LISTED_MAX]}

    async def discard(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Forget dead letters: those in `ids` (there events that wait, too), or all (of `function`)."""
        done: list[str] = []
        async for ids in self._chosen(line):
            done += await self._queue.discard(ids)
        return {"discarded": len(done), "ids": done[:LISTED_MAX]}

    async def _chosen(self, line: Mapping[str, Any]) -> AsyncIterator[list[str]]:
        if ids := line.get("ids"):
            yield [str(known) for known in ids]
            return
        if not (line.get("function") or line.get("all") is True):
            raise MalformedEvent("neither ids, nor a function, nor all are named.")
        # All that are dead now, before any of them is touched: one that dies again meanwhile is not meant.
        found: list[str] = []
        after = 0
        while True:
            page = await self._queue.listing(
                state=State.DEAD, function=line.get("function") or None, after=after, limit=LISTED_MAX
            )
            found += [entry.id for entry in page.entries]
            after = page.after
            if not after:
                break
        for start in range(0, len(found), LISTED_MAX):
            yield found[start : start + LISTED_MAX]


def state_named(name: Any) -> State | None:
    """The state of this name, None for none; raises MalformedEvent for another."""
    if not name:
        return None
    if name not in STATES:
        raise MalformedEvent(f"state = {str(name)[:80]!r}; allowed: {', '.join(STATES)}.")
    return State(name)


def counts_document(counts: Counts, epoch_s: float) -> dict[str, Any]:
    """By function and in all; `oldest_at_s` is when the oldest that waits or runs was accepted, None without one."""
    functions: defaultdict[str, dict[str, Any]] = defaultdict(lambda: dict.fromkeys(STATES, 0) | {"oldest_at_s": None})
    for count in counts.of:
        of = functions[count.function]
        of[count.state.value] += count.events
        if count.state in (State.WAITING, State.RUNNING):
            of["oldest_at_s"] = min(count.oldest_at_s, of["oldest_at_s"] or count.oldest_at_s)
    oldest = [of["oldest_at_s"] for of in functions.values() if of["oldest_at_s"] is not None]
    return {
        **{state: sum(of[state] for of in functions.values()) for state in STATES},
        "oldest_at_s": min(oldest, default=None),
        "oldest_age_s": max(0.0, epoch_s - min(oldest)) if oldest else 0.0,
        "dead_dropped": counts.dead_dropped,
        "functions": [{"function": name, **of} for name, of in sorted(functions.items())],
    }


def entry_document(entry: Entry) -> dict[str, Any]:
    """One line of a listing."""
    return asdict(entry) | {"state": entry.state.value}


def record_document(record: Record) -> dict[str, Any]:
    """Everything of one event; `payload` is its text, None where it is gone with the event's end."""
    is_gone = record.entry.state is State.FINISHED
    return {
        **entry_document(record.entry),
        "event": event_head(record.event),
        "payload": None if is_gone else record.event.payload.decode("utf-8", "replace"),
        "attempts_made": [asdict(attempt) | {"outcome": attempt.outcome.value} for attempt in record.attempts],
    }
