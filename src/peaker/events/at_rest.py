"""Looking at the queue's file while no process has it, without changing anything that it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from peaker.clock import Clock
from peaker.errors import StateError
from peaker.events import sqlite_shown
from peaker.events.questions import (
    LISTED_DEFAULT,
    counts_document,
    entry_document,
    record_document,
    state_named,
)
from peaker.events.sqlite_file import Database, FileLock, connect_sqlite, told_of


def look_at_rest(path: Path, what: str, line: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """What `Questions` would answer to `counts`, `list` or `show`.

    Raises:
        StateError: no event was ever kept there.
        QueueFileError: a process has the file, or it is damaged.
    """
    if not path.exists():
        raise StateError("no event was ever kept here.", where=str(path))
    looks: dict[str, Callable[[Database], dict[str, Any]]] = {
        "counts": lambda database: counts_document(sqlite_shown.counts(database), clock.epoch_s()),
        "list": lambda database: _listing(database, line),
        "show": lambda database: _shown(database, line),
    }
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        with told_of(path):
            database = connect_sqlite(path)
            try:
                database.execute("PRAGMA query_only = ON")
                return looks[what](database)
            finally:
                database.close()
    finally:
        lock.release()


def _listing(database: Database, line: Mapping[str, Any]) -> dict[str, Any]:
    page = sqlite_shown.listing(
        database,
        state=state_named(line.get("state")),
        function=line.get("function") or None,
        source=line.get("source") or None,
        after=int(line.get("after", 0)),
        limit=int(line.get("limit", LISTED_DEFAULT)),
    )
    return {"events": [entry_document(entry) for entry in page.entries], "after": page.after}


def _shown(database: Database, line: Mapping[str, Any]) -> dict[str, Any]:
    record = sqlite_shown.record(database, str(line.get("event_id", "")))
    return record_document(record) if record is not None else {}
