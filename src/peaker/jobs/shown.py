"""Jobs for people: what their folders show, whether anything runs or not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from peaker.jobs.folder import JobFolder, folders_in

INTERRUPTED = "interrupted"
"""Its process is gone and nobody has looked after it yet: it goes on at its checkpoint when somebody does."""

LOG_BYTES_MAX = 64 * 1024


def jobs_shown(jobs: Path) -> list[dict[str, Any]]:
    """All jobs that were begun, oldest first."""
    found = [shown for folder in folders_in(jobs) if (shown := job_shown(folder)) is not None]
    return sorted(found, key=lambda job: job["accepted_at_s"])


def job_shown(folder: JobFolder) -> dict[str, Any] | None:
    """One job; None where there is none in this folder.

    Times are epoch seconds, 0 for never; `fraction` is None where the job has not said how far it is; `pid` is None
    where it has no process.
    """
    record = folder.record()
    if record is None:
        return None
    holder = None if record.has_ended else folder.holder()
    checkpoint, progress = folder.checkpoint(), folder.progress()
    return {
        "id": record.id,
        "name": record.name,
        "state": INTERRUPTED if record.state == "running" and holder is None else record.state,
        "source": record.source,
        "accepted_at_s": record.accepted_at_s,
        "began_at_s": record.began_at_s,
        "ended_at_s": record.ended_at_s,
        "attempt": record.number,
        "pid": holder[0] if holder is not None and holder[0] else None,
        "fraction": progress["fraction"],
        "text": progress["text"],
        "last_sign_s": folder.last_sign_s(),
        "checkpoints": checkpoint.number if checkpoint is not None else 0,
        "checkpoint_at_s": checkpoint.at_s if checkpoint is not None else 0.0,
        "error": record.error,
    }


def job_whole(folder: JobFolder, lines_max: int) -> dict[str, Any] | None:
    """One job with its event, newest checkpoint, history and the last lines of its log; None where there is none."""
    shown = job_shown(folder)
    if shown is None:
        return None
    checkpoint = folder.checkpoint()
    return {
        **shown,
        "event": folder.event.read_text(encoding="utf-8", errors="replace") if folder.event.exists() else None,
        "checkpoint": asdict(checkpoint) if checkpoint is not None else None,
        "history": folder.history(),
        "log": log_lines(folder, lines_max),
        "log_file": str(folder.log),
    }


def log_lines(folder: JobFolder, lines_max: int) -> list[str]:
    """The newest lines that the job printed, from before the log was last cut where there are few."""
    lines: list[str] = []
    for path in (folder.log, folder.log.with_name("log.1")):
        if len(lines) < lines_max and path.exists():
            lines = [*_tail(path).splitlines(), *lines]
    return lines[-lines_max:] if lines_max else []


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG_BYTES_MAX))
        return file.read().decode("utf-8", "replace")
