"""Numbers that processes of one machine share: rows of named 64-bit integers in a mapped file.

One process writes a row, any process reads it. An aligned 8-byte store is atomic on the machines Peaker runs on, so a
reader sees the old or the new value of a cell, never a mixture; cells of one row may be from different moments.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from peaker.errors import StateError

_MAGIC = 0x5045414B  # "PEAK"
_HEADER = struct.Struct("<5q")
_WORD_BYTES = 8


class SharedTable:
    """A fixed number of rows, each with the same named columns, all cells starting at zero.

    `cells` is the whole table as one flat sequence: row r, column c stands at `r * columns + c`. The request path
    writes through it directly (about 50 ns a store); everything else uses `get` and `set`.
    """

    def __init__(self, memory: mmap.mmap, columns: Sequence[str], rows: int) -> None:
        self._memory = memory
        self.made_ns: int = _HEADER.unpack_from(memory)[4]
        """When it was made, in nanoseconds since 1970: counts of a table made anew begin at zero."""
        self.columns = {name: index for index, name in enumerate(columns)}
        self.rows = rows
        self.width = len(columns)
        self.cells = memoryview(memory)[_HEADER.size :].cast("q")

    @classmethod
    def create(cls, path: Path, columns: Sequence[str], rows: int) -> SharedTable:
        """Make the file anew (mode 0600), replacing one that is there without touching those who have it mapped."""
        size = _HEADER.size + rows * len(columns) * _WORD_BYTES
        fresh = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(descriptor, size)
            head = _HEADER.pack(_MAGIC, rows, len(columns), _signature(columns), time.time_ns())
            os.pwrite(descriptor, head, 0)
            memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        fresh.replace(path)
        return cls(memory, columns, rows)

    @classmethod
    def open(cls, path: Path, columns: Sequence[str]) -> SharedTable:
        """Map a table made by another process.

        Raises:
            StateError: the file is missing or was made by a version with other columns.
        """
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError as error:
            raise StateError(f"the shared table cannot be opened: {error.strerror}.", where=str(path)) from error
        try:
            head = os.pread(descriptor, _HEADER.size, 0)
            if len(head) < _HEADER.size:
                raise StateError("the shared table is truncated.", where=str(path))
            magic, rows, width, signature, _ = _HEADER.unpack(head)
            if magic != _MAGIC or width != len(columns) or signature != _signature(columns):
                raise StateError(
                    "the shared table was made by another version of Peaker.",
                    where=str(path),
                    remedy="Stop that one first.",
                )
            memory = mmap.mmap(descriptor, _HEADER.size + rows * width * _WORD_BYTES)
        finally:
            os.close(descriptor)
        return cls(memory, columns, rows)

    def get(self, row: int, column: str) -> int:
        """One cell."""
        return self.cells[row * self.width + self.columns[column]]

    def set(self, row: int, column: str, value: int) -> None:
        """Store one cell; only the process that owns the row does this."""
        self.cells[row * self.width + self.columns[column]] = value

    def row(self, row: int) -> dict[str, int]:
        """One row as a dictionary, for people and reports."""
        start = row * self.width
        return {name: self.cells[start + index] for name, index in self.columns.items()}

    def clear(self, row: int) -> None:
        """Set every cell of a row to zero."""
        start = row * self.width
        for index in range(start, start + self.width):
            self.cells[index] = 0

    def copy(self) -> SharedTable:
        """The cells as they are now, in memory of their own."""
        memory = mmap.mmap(-1, len(self._memory))
        memory[:] = self._memory[:]
        return SharedTable(memory, list(self.columns), self.rows)

    def close(self) -> None:
        """Unmap the file; `cells` is unusable afterwards."""
        self.cells.release()
        self._memory.close()


def _signature(columns: Sequence[str]) -> int:
    return crc32("\n".join(columns).encode())
