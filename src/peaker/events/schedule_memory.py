"""The file that remembers how far each schedule has come, over restarts, kills and reloads."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VERSION = 1
FILE_CHARACTERS_MAX = 4_000_000

_logger = logging.getLogger("peaker.events.schedule")


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one schedule, in epoch seconds: when it was first seen, and up to which moment all is settled."""

    anchor_s: float
    done_s: float


class ScheduleMemory:
    """Reads once and writes whatever changes, whole and in one step, before it is relied on.

    A file that cannot be read is said, and its schedules begin anew. One that cannot be written is said, too; the
    deduplication keys of the queue then keep a moment from being run for twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._progress: dict[str, Progress] = _read(path)
        self._written = dict(self._progress)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget schedules that are no longer asked for: put back later, they begin anew."""
        self._progress = {key: self._progress[key] for key in keys if key in self._progress}

    def of(self, key: str, now_s: float) -> Progress:
        """How far this schedule has come; a new one begins with this second."""
        anchor_s = float(math.floor(now_s))
        # Just before: a moment that is just now is still to come.
        return self._progress.setdefault(key, Progress(anchor_s, math.nextafter(anchor_s, 0.0)))

    def settle(self, key: str, done_s: float) -> None:
        """All of this schedule up to `done_s` is settled."""
        self._progress[key] = Progress(self._progress[key].anchor_s, done_s)

    async def write(self) -> None:
        """Put it on disk, if there is anything new."""
        if self._progress == self._written:
            return
        progress = dict(self._progress)
        text = json.dumps({"version": VERSION, "schedules": {key: asdict(each) for key, each in progress.items()}})
        try:
            await asyncio.to_thread(_write_whole, self._path, text)
        except OSError as error:
            _logger.warning("%s cannot be written: %s", self._path, error.strerror, extra={"action": "schedule"})
            return
        self._written = progress


def _write_whole(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - private from the first moment
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _read(path: Path) -> dict[str, Progress]:
    try:
        with path.open(encoding="utf-8") as file:
            return _parse(json.loads(file.read(FILE_CHARACTERS_MAX)))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _logger.warning("%s cannot be read, schedules begin anew: %s", path, error, extra={"action": "schedule"})
        return {}


def _parse(document: Any) -> dict[str, Progress]:
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    try:
        found = {key: Progress(**each) for key, each in document["schedules"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is of another form: {error}") from error
    for each in found.values():
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in (each.anchor_s, each.done_s)):
            raise ValueError("a time in it is no number")
    return found
