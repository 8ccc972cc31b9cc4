"""What people see of the queue's file: counts, pages, single events; by a connection that writes nothing."""

from __future__ import annotations

from peaker.events.queue import Count, Counts, Page, Record, State
from peaker.events.sqlite_columns import (
    BEHIND,
    DEAD,
    ENTRY_COLUMNS,
    EVENT_COLUMNS,
    FINISHED,
    RUNNING,
    STATES,
    WAITING,
    entry_of,
    event_of,
    history_of,
)
from peaker.events.sqlite_file import Database

_IN_STATE = {
    State.WAITING: (WAITING, BEHIND),
    State.RUNNING: (RUNNING,),
    State.FINISHED: (FINISHED,),
    State.DEAD: (DEAD,),
}
_ENTRY_WIDTH = ENTRY_COLUMNS.count(",") + 1


def counts(database: Database) -> Counts:
    """By function, source and state."""
    rows = database.execute(
        "SELECT function, source, state, count(*), sum(payload_bytes), min(accepted_at_s) FROM event GROUP BY 1, 2, 3"
    ).fetchall()
    cells: dict[tuple[str, str, str], Count] = {}
    for function, source, number, events, size, oldest_at_s in rows:
        state = STATES[number]
        cell = (function, source, state.value)
        before = cells.get(cell)  # those at the head of their group and those behind are one count
        cells[cell] = Count(
            function=function, source=source, state=state,
            events=events + (before.events if before else 0),
            payload_bytes=size + (before.payload_bytes if before else 0),
            oldest_at_s=min(oldest_at_s, before.oldest_at_s) if before else oldest_at_s,
        )  # fmt: skip
    dropped = database.execute("SELECT value FROM kept_number WHERE name = 'dead_dropped'").fetchone()[0]
    return Counts(of=tuple(cells[cell] for cell in sorted(cells)), dead_dropped=dropped)


def listing(
    database: Database, *, state: State | None, function: str | None, source: str | None, after: int, limit: int
) -> Page:
    """A page, in the order of places."""
    conditions = ["place > ?"]
    matched: list[object] = [after]
    if state is not None:
        numbers = _IN_STATE[state]
        conditions.append(f"state IN ({', '.join('?' * len(numbers))})")
        matched += numbers
    for name, wanted in (("function", function), ("source", source)):
        if wanted is not None:
            conditions.append(f"+{name} = ?")  # by place, not by an index of another order
            matched.append(wanted)
    statement = f"SELECT {ENTRY_COLUMNS}, place FROM event WHERE {' AND '.join(conditions)} ORDER BY place LIMIT ?"  # noqa: S608
    rows = database.execute(statement, (*matched, limit + 1)).fetchall()
    shown = rows[:limit]
    return Page(entries=tuple(entry_of(row) for row in shown), after=shown[-1][-1] if len(rows) > limit else 0)


def record(database: Database, event_id: str) -> Record | None:
    """One event with its attempts."""
    row = database.execute(
        f"SELECT {ENTRY_COLUMNS}, {EVENT_COLUMNS}, history, place FROM event WHERE id = ?",  # noqa: S608
        (event_id,),
    ).fetchone()
    if row is None:
        return None
    stored, history, place = row[_ENTRY_WIDTH:-2], row[-2], row[-1]
    payload = stored[-1]
    if payload is None:
        payload = database.execute("SELECT payload FROM large_payload WHERE place = ?", (place,)).fetchone()[0]
    return Record(entry=entry_of(row), event=event_of(stored, payload), attempts=history_of(history))
