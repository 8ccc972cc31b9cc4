"""Making, locking and writing the state directory; the names of its files are in `peaker.state`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peaker import __version__
from peaker.errors import StateError
from peaker.process_identity import started_ticks as started_ticks  # noqa: PLC0414 - those who read run.json need it
from peaker.state import SCHEMA_VERSION, StateDirectory

MIGRATIONS: Mapping[int, Callable[[StateDirectory], None]] = {}
"""By the version they start from; each brings a directory one version further. Version 1 is the first there was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process, so that a successor finds it; pid and start time in clock ticks name it beyond doubt."""

    name: str
    kind: str
    pid: int
    started_ticks: int
    server: int = 0
    index: int = 0
    row: int | None = None
    generation: int = 0
    started_epoch_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is running, as `run.json` holds it."""

    app: str
    generation: int
    supervisor_pid: int
    supervisor_ticks: int
    servers: int
    directory: str
    version: str = __version__
    started_epoch_s: float = 0.0
    app_url: str = ""
    ops_url: str = ""
    lambda_endpoint: str = ""
    aws_endpoint: str = ""
    processes: tuple[ProcessRecord, ...] = ()

    def process(self, kind: str) -> ProcessRecord | None:
        """The process of this kind, that of the current generation where there are several."""
        found = [process for process in self.processes if process.kind == kind]
        return max(found, key=lambda process: process.generation == self.generation, default=None)


class LockedState:
    """The state directory while this process is its supervisor.

    Raises:
        StateError: another supervisor has it, a newer version wrote it, or it is something else's directory.
    """

    def __init__(self, root: Path) -> None:
        self.state = StateDirectory(root.absolute())
        _make_private(self.state.root)
        self._lock = _take_lock(self.state)
        try:
            _check_schema(self.state)
            _make_private(self.state.sockets)
        except BaseException:
            self.close()
            raise

    def write_run(self, record: RunRecord) -> None:
        """Replace run.json in one step."""
        write_private(self.state.run, json.dumps(asdict(record), indent=1) + "\n")

    def write_settings(self, generation: int, text: str, keep: Collection[int] = ()) -> None:
        """Keep the settings of a generation, and drop those of generations that are gone: all but `keep`."""
        kept = {self.state.settings_of(number) for number in (generation, *keep)}
        for old in self.state.root.glob("generation-*.json"):
            if old not in kept:
                old.unlink()
        write_private(self.state.settings_of(generation), text)

    def release(self) -> None:
        """Let another process have the lock; nothing may be written here until `retake`."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def retake(self) -> None:
        """Have the lock again; raises StateError where somebody else has it."""
        _lock_now(self._lock, self.state)

    def close(self) -> None:
        """Let go of the lock, and of the folder of sockets where it stands outside the directory and nobody is left."""
        if self.state.sockets.parent != self.state.root:
            with contextlib.suppress(OSError):  # Not empty: processes still live.
                self.state.sockets.rmdir()
        os.close(self._lock)


def read_run(state: StateDirectory) -> RunRecord | None:
    """What run.json says; None where there is none.

    Raises:
        StateError: it is not what this version writes.
    """
    try:
        document = json.loads(state.run.read_text(encoding="utf-8"))
        processes = tuple(ProcessRecord(**process) for process in document.pop("processes"))
        return RunRecord(**document, processes=processes)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(f"the record of what is running cannot be read: {error}.", where=str(state.run)) from error


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 so that readers see the old text or the new, whatever dies when."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - made private from the first moment
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _make_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise StateError(f"the directory belongs to user {found.st_uid}, not {os.geteuid()}.", where=str(path))
        if stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise StateError(f"the state directory cannot be made: {error.strerror}.", where=str(path)) from error


def _take_lock(state: StateDirectory) -> int:
    if not state.schema.exists() and not state.lock.exists() and any(state.root.iterdir()):
        raise StateError(
            "the directory holds something else.", where=str(state.root), remedy="Name a new one with --state."
        )
    descriptor = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock_now(descriptor, state)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock_now(descriptor: int, state: StateDirectory) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateError(
            f"a supervisor is running this app already (pid {_holder(descriptor)}).",
            where=str(state.root),
            remedy="`peaker reload` gives it new code, `peaker run --take-over` replaces it without losing a request, "
            "`peaker stop` ends it; another app needs another directory (--state).",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _holder(descriptor: int) -> int:
    return int(os.pread(descriptor, 32, 0).strip() or b"0")


def require_known_schema(state: StateDirectory) -> int:
    """The schema version of a directory that has one; raises StateError where this version cannot read it."""
    try:
        document: Any = json.loads(state.schema.read_text(encoding="utf-8"))
        found = int(document["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"the schema version cannot be read: {error}.", where=str(state.schema)) from error
    if found > SCHEMA_VERSION:
        raise StateError(
            f"the directory is of schema {found}, written by Peaker {document.get('peaker', 'of a later version')}; "
            f"this is Peaker {__version__} with schema {SCHEMA_VERSION}.",
            where=str(state.root),
            remedy="Use that version, or name another directory with --state.",
        )
    return found


def _check_schema(state: StateDirectory) -> None:
    if not state.schema.exists():
        write_private(state.root / ".gitignore", "*\n")
        _write_schema(state)
        return
    found = require_known_schema(state)
    while found < SCHEMA_VERSION:
        if found not in MIGRATIONS:
            raise StateError(f"there is no way from schema {found} to {SCHEMA_VERSION}.", where=str(state.root))
        MIGRATIONS[found](state)
        found += 1
        _write_schema(state)


def _write_schema(state: StateDirectory) -> None:
    write_private(state.schema, json.dumps({"schema": SCHEMA_VERSION, "peaker": __version__}) + "\n")
