"""Room on the disk that is given up when there is none else, so that events which are there can be finished."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from peaker.units import MIB

RESERVE_BYTES = 16 * MIB
"""More than the log (4 MB until it is copied) and what copying it adds to the file."""

_logger = logging.getLogger("peaker.events.queue")


class Reserve:
    """An empty file of RESERVE_BYTES beside the queue's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_held = path.exists() and path.stat().st_size >= RESERVE_BYTES
        self._is_wanted = not self.is_held

    def take(self) -> None:
        """Hold it; where the disk or the file system cannot, there is none, and that is said once."""
        if not self._is_wanted:
            return
        self._is_wanted = False
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Not on macOS, where a file's length is no room on the disk.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            _logger.warning("%s: no room could be reserved: %s", self._path, error.strerror, extra={"action": "event"})
            return
        self.is_held = True

    def give_up(self) -> bool:
        """Whether there was something to give up."""
        was_held, self.is_held, self._is_wanted = self.is_held, False, True
        if was_held:
            self._path.unlink(missing_ok=True)
            _logger.error(
                "%s: the disk is full; the reserve was given up so that events can be finished",
                self._path, extra={"action": "event"},
            )  # fmt: skip
        return was_held
