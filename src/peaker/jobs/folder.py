"""The folder of one job: all that is known of it beside its event in the queue.

job.json         what it is, its state, its newest process (written by the events process)
event.json       what it was started with
checkpoint.json  the newest checkpoint (by the job; durable)
progress.json    how far it says it is (by the job; its time is the job's last sign of life)
result.json      how its process ended, before it ended (by the job; durable)
cancel           it is to be cancelled
history.jsonl    what happened to it, newest last; bounded
log, log.1       what it printed; bounded
lock             held by its process as long as that lives, so that there is never a second one; says which it is
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from peaker.jobs.files import PRIVATE, read_json, sync_folder, write_json, write_whole

HISTORY_BYTES_MAX = 64 * 1024

_PAUSES_S = (0.001, 0.01, 0.05, 0.1, 0.2)

_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What `job.json` holds. Times are epoch seconds; `number` counts processes.

    `state` is running, waiting (between two processes), finished, failed or cancelled. When the newest process began,
    `failures` had been counted, and the job had written `checkpoint_at_start` checkpoints.
    """

    id: str
    name: str
    source: str
    accepted_at_s: float
    state: str
    number: int = 0
    began_at_s: float = 0.0
    ended_at_s: float = 0.0
    checkpoint_at_start: int = 0
    failures: int = 0
    error: str = ""

    @property
    def has_ended(self) -> bool:
        """It will not run again, unless a person wants it to."""
        return self.state in ENDED


ENDED = ("finished", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The newest that a job wrote: the `number`th, by its process `attempt`."""

    number: int
    attempt: int
    at_s: float
    value: Any


class JobFolder:
    """Reads and writes the files of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, jobs: Path, job_id: str) -> JobFolder:
        """The folder of the job with this id: named by it, or by its digest where it is no plain name."""
        plain = _PLAIN_ID.fullmatch(job_id)
        return cls(jobs / (job_id if plain else hashlib.sha256(job_id.encode()).hexdigest()))

    @property
    def log(self) -> Path:
        """What the job printed."""
        return self.path / "log"

    @property
    def event(self) -> Path:
        """What it was started with."""
        return self.path / "event.json"

    def make(self, payload: bytes) -> None:
        """Make the folder, durably."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        write_whole(self.event, payload or b"{}")
        sync_folder(self.path.parent)

    def record(self) -> JobRecord | None:
        """None where there is none (yet), or one that another version wrote."""
        found = _read(self.path / "job.json")
        if found is None:
            return None
        names = {field.name for field in fields(JobRecord)}
        try:
            return JobRecord(**{name: value for name, value in found.items() if name in names})
        except TypeError:
            return None

    def write_record(self, record: JobRecord) -> None:
        """Durable when it returns."""
        write_json(self.path / "job.json", asdict(record))

    def checkpoint(self) -> Checkpoint | None:
        """The newest, None before the first."""
        found = _read(self.path / "checkpoint.json")
        return None if found is None else Checkpoint(**found)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Durable when it returns."""
        write_json(self.path / "checkpoint.json", asdict(checkpoint))

    def progress(self) -> dict[str, Any]:
        """`fraction` (None where it has said nothing), `text` and `at_s`."""
        return {"fraction": None, "text": "", "at_s": 0.0} | (_read(self.path / "progress.json") or {})

    def write_progress(self, fraction: float | None, text: str) -> None:
        """What a person sees; a loss of power may take it."""
        write_json(
            self.path / "progress.json", {"fraction": fraction, "text": text, "at_s": time.time()}, durable=False
        )

    def last_sign_s(self) -> float:
        """When the job last called anything of its `Job` (epoch seconds); 0 before that."""
        try:
            return (self.path / "progress.json").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def result(self) -> dict[str, Any] | None:
        """What the last process said at its end: `attempt`, `outcome`, `error`, `answer`."""
        return _read(self.path / "result.json")

    def write_result(self, attempt: int, outcome: str, *, error: str = "", answer: str = "null") -> None:
        """Durable when it returns."""
        write_json(
            self.path / "result.json", {"attempt": attempt, "outcome": outcome, "error": error, "answer": answer}
        )

    def forget_result(self) -> None:
        """What follows is another process, or another life."""
        (self.path / "result.json").unlink(missing_ok=True)
        sync_folder(self.path)

    @property
    def is_cancelled(self) -> bool:
        """Somebody has asked for that."""
        return (self.path / "cancel").exists()

    def cancel(self) -> None:
        """Durable when it returns."""
        write_whole(self.path / "cancel", b"")

    def forget_cancel(self) -> None:
        """It is wanted again."""
        (self.path / "cancel").unlink(missing_ok=True)

    def tell(self, what: str, *, at_s: float, **more: Any) -> None:
        """One line for its history."""
        path = self.path / "history.jsonl"
        line = json.dumps({"at_s": at_s, "what": what, **more}) + "\n"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        if sum(map(len, lines)) + len(line) > HISTORY_BYTES_MAX:
            lines = lines[len(lines) // 2 :]
            write_whole(path, "".join([*lines, line]).encode(), durable=False)
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def history(self) -> list[dict[str, Any]]:
        """What happened to it, oldest first."""
        try:
            lines = (self.path / "history.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:  # torn by a loss of power
                continue
        return found

    def take_lock(self, ticks: int) -> int | None:
        """For a job's own process, started at `ticks`: hold the lock until it ends; None where another one has it."""
        descriptor = take_lock(self.path / "lock")
        if descriptor is not None:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {ticks}".encode(), 0)
        return descriptor

    def holder(self) -> tuple[int, int] | None:
        """Pid and start (in clock ticks since boot) of the process that holds the lock; None where none does."""
        if not self.is_locked():
            return None
        try:
            pid, ticks = (self.path / "lock").read_text(encoding="ascii").split()
            return int(pid), int(ticks)
        except ValueError:  # it has taken the lock just now
            return 0, 0

    def is_locked(self) -> bool:
        """A process of the job lives."""
        return is_locked(self.path / "lock")


def take_lock(path: Path) -> int | None:
    """Hold a lock for as long as the returned descriptor is open here; None where somebody else goes on holding it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    for pause_s in _PAUSES_S:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)  # Whoever only looks holds it for a moment, too.
        else:
            return descriptor
    os.close(descriptor)
    return None


def is_locked(path: Path) -> bool:
    """Somebody holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def folders_in(jobs: Path) -> list[JobFolder]:
    """All of them, in no order."""
    try:
        return [JobFolder(path) for path in jobs.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []


def _read(path: Path) -> dict[str, Any] | None:
    """Files are replaced whole, so that one which is no JSON was damaged from outside: as if it were not there."""
    try:
        return read_json(path)
    except ValueError:
        return None
