"""What a process prints, read by the host line by line, with bounds that a flood cannot break.

One read per turn of the event loop takes one buffer, so a process that prints faster than that fills its pipe and
waits. A line ends at `LINE_BYTES_MAX`; what an invocation prints above `LOG_BYTES_MAX` is counted, not kept, and read
slowly.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from peaker.units import KIB, MIB

LINE_BYTES_MAX = 64 * KIB
LOG_BYTES_MAX = 1 * MIB
"""Of one invocation."""

_READ_BYTES = 64 * KIB
_READS_AT_END_MAX = 4
"""A pipe holds 64 KB by default; more than this many reads means that something goes on printing."""

_FLOOD_PAUSE_S = 0.01
"""Between reads from a process that is over its bound: it gets rid of 6 MB a second at the most."""


class LogPipe:
    """The reading end of a pipe; the process gets `write_fd`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_line: Callable[[str], None]) -> None:
        self._loop = loop
        self._on_line = on_line
        self._fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        self._partial = bytearray()
        self._kept_bytes = 0
        self._dropped_lines = 0
        self._pause: asyncio.TimerHandle | None = None
        loop.add_reader(self._fd, self._read)

    def given_away(self) -> None:
        """The process has its copy of `write_fd`; close ours, so that the end of the process is the pipe's end."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def end_of_invocation(self) -> int:
        """Take in all that was printed up to now; returns how many lines were dropped, and starts counting anew."""
        for _ in range(_READS_AT_END_MAX):
            if not self._take():
                break
        self._emit_partial()
        dropped, self._dropped_lines, self._kept_bytes = self._dropped_lines, 0, 0
        return dropped

    def close(self) -> None:
        """Take in what is left and close."""
        if self._fd < 0:
            return
        self.given_away()
        self.end_of_invocation()
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _read(self) -> None:
        self._take()
        if self._kept_bytes > LOG_BYTES_MAX and self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(_FLOOD_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._fd, self._read)

    def _take(self) -> bool:
        """One read; False where there is nothing more now."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._fd)
            return False
        if self._kept_bytes > LOG_BYTES_MAX:
            self._dropped_lines += data.count(b"\n")
            return True
        self._kept_bytes += len(data)
        self._partial += data
        self._emit_whole_lines()
        return True

    def _emit_whole_lines(self) -> None:
        *lines, rest = bytes(self._partial).split(b"\n")
        for line in lines:
            self._emit(self._cut(line))
        self._partial = bytearray(self._cut(rest))

    def _cut(self, line: bytes) -> bytes:
        """Pass on what is above the longest line, in lines of its own; returns the rest."""
        while len(line) > LINE_BYTES_MAX:
            self._emit(line[:LINE_BYTES_MAX])
            line = line[LINE_BYTES_MAX:]
        return line

    def _emit_partial(self) -> None:
        if self._partial:
            self._emit(bytes(self._partial))
            self._partial.clear()

    def _emit(self, line: bytes) -> None:
        self._on_line(line.decode("utf-8", "replace"))
