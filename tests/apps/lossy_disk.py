"""A disk below SQLite that can lose power, fill up and fail: a file system (VFS) of SQLite in Python, by way of apsw.

Files stand in a real folder and are read from there; beside them the disk keeps what each file would hold after the
loss of power: what was written before its last sync, and of what was written since as much as chance decides, sectors
of 512 bytes and in any order, as a drive with a cache may. It does not play a drive that lies about a sync.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512
IOERR_FSYNC = 1034

_numbers = count()


@dataclass(slots=True)
class Kept:
    """What one file holds for certain, and what was done to it since: (offset, bytes), or (length, None) for a cut."""

    durable: bytearray
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    writes: int = 0

    def sync(self) -> None:
        for offset, data in self.since:
            _apply(self.durable, offset, data)
        self.since.clear()

    def after_power_loss(self, survives: float, chance: random.Random) -> bytes:
        """With each sector of what is not synced there with this probability."""
        image = bytearray(self.durable)
        for offset, data in self.since:
            if data is None:
                if chance.random() < survives:
                    _apply(image, offset, None)
                continue
            for begin in range(0, len(data), SECTOR):
                if chance.random() < survives:
                    _apply(image, offset + begin, data[begin : begin + SECTOR])
        return bytes(image)


def _apply(image: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del image[offset:]
        return
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


class LossyDisk:
    """Below one folder. `on_step` is called before each write and sync, in whatever thread that is."""

    def __init__(self) -> None:
        self.files: dict[str, Kept] = {}
        self.on_step: Callable[[], None] = lambda: None
        self.is_full = False
        self.syncs_fail = False
        self.syncs = 0
        self.name = f"lossy-{next(_numbers)}"
        self._vfs = _Vfs(self)

    def connect(self, path: Path, made: Callable[[Path, str], Connection] | None = None) -> Connection:
        """As `events.sqlite_file.Connect`."""
        return (made or Connection)(path, self.name)

    def lose_power(self, folder: Path, *, survives: float = 0.0, chance: random.Random | None = None) -> None:
        """Write into `folder` what is left of the files."""
        chance = chance or random.Random(0)
        for name, kept in list(self.files.items()):
            (folder / Path(name).name).write_bytes(kept.after_power_loss(survives, chance))

    def kept(self, name: str) -> Kept:
        if name not in self.files:
            path = Path(name)
            self.files[name] = Kept(bytearray(path.read_bytes() if path.exists() else b""))
        return self.files[name]


class _Vfs(apsw.VFS):
    def __init__(self, disk: LossyDisk) -> None:
        self.disk = disk
        super().__init__(disk.name, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        return _File(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802
        super().xDelete(filename, syncdir)
        self.disk.files.pop(filename, None)

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> None:
        """Failures are what is tested; SQLite hands them on."""


class _File(apsw.VFSFile):
    def __init__(self, disk: LossyDisk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.kept = disk.kept(filename) if filename else Kept(bytearray())
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.on_step()
        if self.disk.is_full and offset + len(data) > self.xFileSize():
            raise apsw.exception_for(sqlite3.SQLITE_FULL)
        super().xWrite(data, offset)
        self.kept.since.append((offset, bytes(data)))
        self.kept.writes += 1

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self.disk.on_step()
        super().xTruncate(newsize)
        self.kept.since.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        """Nothing is asked of the real disk: what it would hold is kept here."""
        self.disk.on_step()
        if self.disk.syncs_fail:
            raise apsw.exception_for(IOERR_FSYNC)
        self.disk.syncs += 1
        self.kept.sync()

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> None:
        """As above."""


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)


class Connection:
    """apsw's connection as `events.sqlite_file.Database`, with the errors of the sqlite3 module."""

    def __init__(self, path: Path, vfs: str) -> None:
        with _errors_of_sqlite3():
            self._connection = apsw.Connection(str(path), vfs=vfs)

    @property
    def in_transaction(self) -> bool:
        return bool(self._connection.in_transaction)

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> _Rows:
        with _errors_of_sqlite3():
            return _Rows(self._connection.execute(statement, tuple(values)).fetchall())

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        with _errors_of_sqlite3():
            self._connection.executemany(statement, rows).fetchall()

    def close(self) -> None:
        with _errors_of_sqlite3():
            self._connection.close()


class OftenCopied(Connection):
    """The log is copied into the file after every few commits, so that power is lost in the middle of that too."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> _Rows:
        if statement.startswith("PRAGMA wal_autocheckpoint"):
            statement = "PRAGMA wal_autocheckpoint = 30"
        return super().execute(statement, values)


class Unsynced(OftenCopied):
    """The deliberately broken build: the queue's own choice of when to sync is overruled."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> _Rows:
        return super().execute("PRAGMA synchronous = OFF" if "PRAGMA synchronous" in statement else statement, values)


class RarelySynced(OftenCopied):
    """Another broken build: only the copying of the log is synced, as many a database is set up to do."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> _Rows:
        return super().execute(
            "PRAGMA synchronous = NORMAL" if "PRAGMA synchronous" in statement else statement, values
        )


@contextlib.contextmanager
def _errors_of_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        translated = sqlite3.OperationalError(str(error))
        translated.sqlite_errorcode = getattr(error, "extendedresult", 0) or getattr(error, "result", 0)
        raise translated from error
