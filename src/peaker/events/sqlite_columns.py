"""How events, attempts and states stand in the columns of the queue's file."""

from __future__ import annotations

import json
from collections.abc import Sequence

from peaker.events.queue import Attempt, Entry, Outcome, State
from peaker.events.sqlite_file import Row
from peaker.messages import Event

WAITING, BEHIND, RUNNING, FINISHED, DEAD = range(5)
"""Column `state`. BEHIND waits for another of its group; those up to RUNNING are live."""

STATES = (State.WAITING, State.WAITING, State.RUNNING, State.FINISHED, State.DEAD)

INLINE_BYTES_MAX = 1_024
"""Larger payloads stand in a table of their own."""

EVENT_COLUMNS = (
    "id, function, source, qualifier, headers, dedup_key, dedup_s, grouped, not_before_s, accepted_at_s, hops, payload"
)
ENTRY_COLUMNS = (
    "id, function, source, state, accepted_at_s, due_s, until_s, ended_s, payload_bytes, attempts, grouped, reason, "
    "error, hops"
)


def event_values(event: Event) -> Row:
    """The values of EVENT_COLUMNS; the payload is None where it is too large to stand here."""
    return (
        event.id, event.function, event.source, event.qualifier,
        json.dumps(event.headers, separators=(",", ":")) if event.headers else "",
        event.dedup_key, event.dedup_s, event.group, event.not_before_s, event.accepted_at_s, event.hops,
        event.payload if len(event.payload) <= INLINE_BYTES_MAX else None,
    )  # fmt: skip


def event_of(row: Row, payload: bytes) -> Event:
    """The event of a row of EVENT_COLUMNS."""
    return Event(
        id=row[0], function=row[1], source=row[2], qualifier=row[3],
        headers=tuple((name, value) for name, value in json.loads(row[4])) if row[4] else (),
        dedup_key=row[5], dedup_s=row[6], group=row[7], not_before_s=row[8], accepted_at_s=row[9], hops=row[10],
        payload=payload,
    )  # fmt: skip


def entry_of(row: Row) -> Entry:
    """The entry of a row of ENTRY_COLUMNS."""
    state = STATES[row[3]]
    moment_s = row[5] if state is State.WAITING else row[6] if state is State.RUNNING else row[7]
    return Entry(
        id=row[0], function=row[1], source=row[2], state=state, accepted_at_s=row[4], due_s=moment_s,
        payload_bytes=row[8], attempts=row[9], group=row[10], is_behind=row[3] == BEHIND, reason=row[11],
        error=row[12], hops=row[13],
    )  # fmt: skip


def history_text(attempts: Sequence[Attempt]) -> str:
    """Column `history`."""
    rows = [
        [attempt.number, attempt.began_s, attempt.took_s, attempt.outcome.value, attempt.error, attempt.request_id]
        for attempt in attempts
    ]
    return json.dumps(rows, separators=(",", ":"))


def history_of(text: str) -> tuple[Attempt, ...]:
    """The attempts of column `history`."""
    if not text:
        return ()
    return tuple(
        Attempt(
            number=number, began_s=began_s, took_s=took_s, outcome=Outcome(outcome), error=error, request_id=request_id
        )
        for number, began_s, took_s, outcome, error, request_id in json.loads(text)
    )
