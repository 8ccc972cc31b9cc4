"""The file in which learned idle times outlive the function host."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

from peaker.errors import PeakerError
from peaker.policy.learned_keep_alive import VERSION, LearnedKeepAlive

WRITE_EVERY_S = 60.0
FILE_BYTES_MAX = 16_000_000

_logger = logging.getLogger("peaker.functions.idle_times_file")


class IdleTimesFile:
    """Reads once, writes every minute and at the end; `close` ends it.

    A host that dies loses the last minute of observations. Of two hosts in a reload the newer begins with what the
    older wrote last; the later writer's file stays. A file that cannot be read or written is said and costs no start:
    idle times are learned anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._learned: dict[str, LearnedKeepAlive] = {}
        self._found = _read(path)
        self._timer: asyncio.TimerHandle | None = None
        self._written = ""

    def of(self, function: str) -> LearnedKeepAlive:
        """The keep-alive of a function, with what was learned before."""
        learned = self._learned[function] = LearnedKeepAlive()
        try:
            learned.levels.restore(self._found.get(function, {}))
        except PeakerError as error:
            _logger.warning("%s: %s They are learned anew.", self._path, error, extra={"action": "keep_alive"})
        return learned

    def write_regularly(self) -> None:
        """Begin to write every minute."""
        self._timer = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self._write_and_go_on)

    def write(self) -> None:
        """Replace the file in one step, if there is something new."""
        functions = {name: learned.levels.to_json() for name, learned in self._learned.items()}
        text = json.dumps({"version": VERSION, "functions": functions})
        if text == self._written or not any(functions.values()):
            return
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - private from the first moment
                file.write(text)
            fresh.replace(self._path)
        except OSError as error:
            _logger.warning("%s cannot be written: %s", self._path, error.strerror, extra={"action": "keep_alive"})
            return
        self._written = text

    def close(self) -> None:
        """Write for the last time."""
        if self._timer is not None:
            self._timer.cancel()
        self.write()

    def _write_and_go_on(self) -> None:
        self.write()
        self.write_regularly()


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        _logger.warning(
            "%s cannot be used: %s. Idle times are learned anew.", path, error, extra={"action": "keep_alive"}
        )
        return {}


def _parse(path: Path) -> dict[str, Any]:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"it is larger than {FILE_BYTES_MAX} bytes")
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["version"] != VERSION:
        raise ValueError(f"its version is {document['version']!r}, not {VERSION}")
    return dict(document["functions"])
