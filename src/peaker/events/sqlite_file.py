"""The file of the durable queue: made, opened, checked, locked.

A file is made beside its place and moved there whole, so one that is empty or no database is never ours by accident: it
is refused, not made again, for what was in it may be wanted.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from peaker.errors import QueueFileError
from peaker.events.local_disk import check_local, survives_power_loss
from peaker.units import MIB

APPLICATION_ID = 0x5065_616B
"""PRAGMA application_id: "Peak" in ASCII."""

SQLITE_MIN = (3, 35, 0)
"""The first with RETURNING."""

LOG_BYTES_KEPT = 8 * MIB
"""A write-ahead log that has grown beyond this is cut back once it has been copied into the file."""

_CHECKED_BYTES_MAX = 32 * MIB
"""A file up to this size is looked through at each opening (some 0.2 s for the largest)."""

_BUSY_S_MAX = 0.25
"""For a person with a tool who holds the file just now; the queue waits with all its calls."""

_IOERR_WRITE = 778
_IOERR_SHMSIZE = 4874

_logger = logging.getLogger("peaker.events.queue")

Row = tuple[Any, ...]

_MADE = """
CREATE TABLE event (
    place INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    function TEXT NOT NULL,
    source TEXT NOT NULL,
    state INTEGER NOT NULL,
    due_s REAL NOT NULL,
    until_s REAL NOT NULL DEFAULT 0,
    began_s REAL NOT NULL DEFAULT 0,
    ended_s REAL NOT NULL DEFAULT 0,
    ended_as INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    not_started INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    accepted_at_s REAL NOT NULL,
    payload_bytes INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    qualifier TEXT NOT NULL,
    headers TEXT NOT NULL,
    dedup_key TEXT NOT NULL,
    dedup_s REAL NOT NULL,
    grouped TEXT NOT NULL,
    not_before_s REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    history TEXT NOT NULL DEFAULT '',
    payload BLOB
);
-- The place follows by itself, as in every index.
CREATE INDEX event_due ON event (function, source, due_s) WHERE state = 0;
CREATE INDEX event_running ON event (function, until_s) WHERE state = 2;
CREATE INDEX event_group ON event (function, source, grouped) WHERE grouped <> '' AND state < 3;
-- A row is written again with each lease; what is large is not.
CREATE TABLE large_payload (place INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE dedup (
    function TEXT NOT NULL, source TEXT NOT NULL, key TEXT NOT NULL, until_s REAL NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (function, source, key)
) WITHOUT ROWID;
CREATE INDEX dedup_until ON dedup (until_s);
CREATE TABLE kept_number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO kept_number VALUES ('serial', 0), ('dead_dropped', 0);
"""

MIGRATIONS: tuple[str, ...] = (_MADE,)
"""Statements that lead from each version of the schema to the next; the number of them is the newest version."""


class Cursor(Protocol):
    """What a statement gives."""

    def fetchone(self) -> Any: ...  # noqa: D102
    def fetchall(self) -> list[Any]: ...  # noqa: D102


class Database(Protocol):
    """What the queue needs of a connection; `sqlite3.Connection` in autocommit is one. It raises sqlite3.Error."""

    @property
    def in_transaction(self) -> bool: ...  # noqa: D102
    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor: ...  # noqa: D102
    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Any: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


Connect = Callable[[Path], Database]


def connect_sqlite(path: Path) -> Database:
    """A connection that any one thread at a time may use, without transactions of its own accord."""
    connection: Database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S_MAX)
    return connection


def code_of(error: sqlite3.Error) -> int:
    """SQLite's extended result code, 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0)


def is_full(error: sqlite3.Error) -> bool:
    """Whether there was no room on the disk. Some ways to that end in an error of writing (sqlite.org/rescode.html)."""
    code = code_of(error)
    return code & 0xFF == sqlite3.SQLITE_FULL or code in (_IOERR_WRITE, _IOERR_SHMSIZE)


class FileLock:
    """One process owns the file; the lock is a file beside it and ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        """Raises QueueFileError where another holds it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise QueueFileError(
                f"the event queue is open in another process ({holder}).",
                where=str(path),
                remedy="One process owns it; stop that one first, or let it do what is wanted.",
            ) from error
        with contextlib.suppress(OSError):  # on a full disk; the lock holds, it only does not say by whom
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"pid {os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Another may have it."""
        os.close(self._descriptor)


def open_database(path: Path, connect: Connect = connect_sqlite, migrations: Sequence[str] = MIGRATIONS) -> Database:
    """Open the queue's file, or make it where there is none; the caller holds its lock.

    Raises:
        QueueFileError: it is damaged, no queue, of a newer version, or on a disk that cannot hold it.
    """
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        raise QueueFileError(
            f"SQLite is {sqlite3.sqlite_version}; {'.'.join(map(str, SQLITE_MIN))} or later is needed."
        )
    kind = check_local(path.parent)
    if not survives_power_loss(kind):
        _logger.warning(
            "%s is on %s, which is memory: events survive the end of every process, but not of the machine",
            path, kind, extra={"action": "event"},
        )  # fmt: skip
    with told_of(path):
        if not path.exists():
            _make(path, connect, migrations)
        if path.stat().st_size == 0:
            raise damaged(path, "it is empty")
        path.chmod(0o600)
        database = connect(path)
        try:
            _check(database, path, len(migrations))
            _migrate(database, path, migrations)
            _set_up(database)
        except BaseException:
            database.close()
            raise
        return database


@contextlib.contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the system as what they mean for the file."""
    try:
        yield
    except sqlite3.Error as error:
        kind = code_of(error) & 0xFF
        if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise damaged(path, str(error)) from error
        if is_full(error):
            raise QueueFileError(
                f"it cannot be opened, its disk is full ({error}).", where=str(path), remedy="Make room there."
            ) from error
        raise QueueFileError(f"it cannot be opened: {error}.", where=str(path)) from error
    except OSError as error:
        raise QueueFileError(f"it cannot be opened: {error.strerror or error}.", where=str(path)) from error


def damaged(path: Path, seen: str) -> QueueFileError:
    """The file is no longer what was written. It is left as it is."""
    return QueueFileError(
        f"the event queue is damaged: {seen}.",
        where=str(path),
        remedy=(
            f"Nothing was changed. Move it away together with {path.name}-wal (`sqlite3 {path.name} .recover` gets out "
            "what can be read), or put a copy in its place; a new queue is made where there is none."
        ),
    )


def _make(path: Path, connect: Connect, migrations: Sequence[str]) -> None:
    """Beside its place, synced, then moved there: it is there whole or not at all."""
    beside = path.with_name(path.name + ".new")
    for leftover in (beside, beside.with_name(beside.name + "-wal"), beside.with_name(beside.name + "-journal")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    database = connect(beside)
    try:
        for pragma in ("page_size = 4096", "auto_vacuum = INCREMENTAL", f"application_id = {APPLICATION_ID}"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("PRAGMA synchronous = FULL")
        _migrate(database, beside, migrations)
    finally:
        database.close()
    _sync(beside)
    beside.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(database: Database, path: Path, newest: int) -> None:
    """Is it ours, is it whole, can this version read it?"""
    owner = database.execute("PRAGMA application_id").fetchone()[0]
    if owner != APPLICATION_ID:
        raise QueueFileError("it is a database, but no event queue.", where=str(path), remedy="Move it away.")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise QueueFileError(
            f"the event queue has schema {version}; this version of Peaker reads up to {newest}.",
            where=str(path),
            remedy="Run the version that wrote it, or a later one.",
        )
    if path.stat().st_size <= _CHECKED_BYTES_MAX:
        seen = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if seen != "ok":
            raise damaged(path, seen)


def _migrate(database: Database, path: Path, migrations: Sequence[str]) -> None:
    """From the version that is found to the newest, each step whole or not at all."""
    found = database.execute("PRAGMA user_version").fetchone()[0]
    for version, statements in enumerate(migrations[found:], start=found + 1):
        database.execute("BEGIN IMMEDIATE")
        for statement in statements.split(";\n"):
            if statement.strip():
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("COMMIT")
        if found:
            _logger.info("%s: schema %d", path, version, extra={"action": "event"})


def _set_up(database: Database) -> None:
    mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError(f"no write-ahead log, journal mode is {mode}")
    for pragma in (
        "synchronous = FULL",
        "wal_autocheckpoint = 1000",  # 4 MB
        f"journal_size_limit = {LOG_BYTES_KEPT}",
        "cache_size = -16384",
        "temp_store = MEMORY",
        "secure_delete = FAST",
    ):
        database.execute(f"PRAGMA {pragma}").fetchall()
