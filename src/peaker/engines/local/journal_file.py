"""A file of JSON lines that only grows at its end, and is bounded: the control loop writes, anybody reads.

A line is written by one call; one that a crash has cut off is left out by readers and does not spoil the next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peaker.errors import StateError

LINE_BYTES_MAX = 65_536


class JournalFile:
    """The writer; one at a time. At `bytes_max` the file becomes FILE.1, in place of an older one."""

    def __init__(self, path: Path, *, bytes_max: int, keeps: bool = False) -> None:
        """`keeps`: each line is on disk when `write` returns."""
        self._path = path
        self._bytes_max = bytes_max
        self._keeps = keeps

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add one line; raises OSError. Opened for each, so that a file somebody has removed is made again."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise ValueError(f"a journal's line of {len(line)} bytes; allowed: {LINE_BYTES_MAX}")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # Whoever wrote before was cut off.
            os.write(descriptor, line)
            if self._keeps:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size + len(line) > self._bytes_max:
            self._path.replace(older(self._path))


def older(path: Path) -> Path:
    """Where the part before this one stands."""
    return path.with_name(f"{path.name}.1")


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All lines there are, the oldest first, without those that are none. Raises StateError where it cannot be read."""
    return list(_lines(older(path))) + list(_lines(path))


def last_entry(path: Path) -> dict[str, Any] | None:
    """The line written last, None where there is none. Raises as `read_journal`."""
    found = None
    for file in (older(path), path):
        for entry in _lines(file, tail_bytes=LINE_BYTES_MAX):
            found = entry
    return found


def _lines(path: Path, tail_bytes: int | None = None) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            if tail_bytes is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - tail_bytes))
            text = file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"the journal cannot be read: {error.strerror}.", where=str(path)) from error
    for line in text.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # Cut off, or begun before the tail.
        if isinstance(entry, dict):
            yield entry
