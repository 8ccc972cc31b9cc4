"""How far sources have come, and what they saw last: one small file that survives whatever the process dies of.

`position` is a text by name; `seen` is a listing: of each path its size and the moment it was last changed.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peaker.errors import StateError

_SCHEMA = """
create table if not exists position (name text primary key, value text not null) without rowid;
create table if not exists seen (
  name text not null, path text not null, size integer not null, changed_ns integer not null, primary key (name, path)
) without rowid;
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was: bytes, and when its content last changed (st_mtime_ns)."""

    size: int
    changed_ns: int


class Positions:
    """One open file, for one source; each has it open for itself. Every change is on the disk when a call returns.

    Calls may come from any thread, and one whose caller has been cancelled runs on in its thread. So each, and `close`
    too, waits for the one before: SQLite crashes the process where a connection is closed while it is used.

    Raises StateError where the file cannot be read or written, or is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._one_at_a_time = threading.Lock()
        try:
            self._file = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
            path.chmod(0o600)
            self._file.execute("pragma journal_mode = wal")
            self._file.execute("pragma synchronous = full")
            self._file.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def position(self, name: str) -> str:
        """Where `name` was, "" at its first start."""
        found = self._ask("select value from position where name = ?", (name,))
        return str(found[0][0]) if found else ""

    def move(self, name: str, value: str) -> None:
        """Keep where `name` is now."""
        self._ask("insert into position values (?, ?) on conflict do update set value = excluded.value", (name, value))

    def seen(self, name: str) -> dict[str, Seen]:
        """What was there when it was last looked."""
        rows = self._ask("select path, size, changed_ns from seen where name = ?", (name,))
        return {path: Seen(size, changed_ns) for path, size, changed_ns in rows}

    def see(self, name: str, there: Mapping[str, Seen], gone: Iterable[str]) -> None:
        """Keep what is there anew or otherwise, and forget what is gone, in one step."""
        try:
            with self._one_at_a_time, self._file:
                self._file.execute("begin")
                self._file.executemany(
                    "insert into seen values (?, ?, ?, ?) on conflict do update "
                    "set size = excluded.size, changed_ns = excluded.changed_ns",
                    [(name, path, file.size, file.changed_ns) for path, file in there.items()],
                )
                self._file.executemany("delete from seen where name = ? and path = ?", [(name, path) for path in gone])
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._one_at_a_time:
            self._file.close()

    def _ask(self, statement: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._one_at_a_time:
                return self._file.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StateError:
        return StateError(f"where sources are cannot be kept: {error}.", where=str(self._path))
