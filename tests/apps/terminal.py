"""A terminal of its own (a pty) with one command in it, as a person at a keyboard has."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

LAUNCH = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
READ_S_MAX = 30.0
END_S_MAX = 30.0


class Terminal:
    """`python ARGUMENTS` with this terminal as its controlling one; ended with the `with` block."""

    def __init__(self, directory: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._is_open = True
        self._unread = b""
        self.shown = ""

    def __enter__(self) -> Self:
        """Ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the command and close the terminal."""
        try:
            if self.process.poll() is None:
                self.process.terminate()
                self._drain_until_ended()
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.hang_up()

    def type(self, text: str) -> None:
        """Keys; `\\x03` is Ctrl-C."""
        os.write(self._master, text.encode())

    def read_until(self, text: str, timeout_s: float = READ_S_MAX) -> str:
        """What was shown up to `text`; raises TimeoutError with what was shown instead."""
        wanted = text.encode()
        deadline_s = time.monotonic() + timeout_s
        while wanted not in self._unread:
            if time.monotonic() > deadline_s or not self._read():
                raise TimeoutError(f"{text!r} was not shown; but:\n{self.shown}")
        end = self._unread.index(wanted) + len(wanted)
        seen, self._unread = self._unread[:end], self._unread[end:]
        return seen.decode(errors="replace")

    def wait(self, timeout_s: float = END_S_MAX) -> int:
        """Exit code of the command."""
        deadline_s = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < deadline_s:
            self._read()
        return self.process.wait(max(0.1, deadline_s - time.monotonic()))

    def hang_up(self) -> None:
        """Close the window."""
        if self._is_open:
            self._is_open = False
            os.close(self._master)

    def _drain_until_ended(self) -> None:
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            return  # It is killed next.

    def _read(self) -> bool:
        """Take what there is, waiting a little; False at the end."""
        if not self._is_open or not select.select([self._master], [], [], 0.05)[0]:
            return self._is_open
        try:
            found = os.read(self._master, 65_536)
        except OSError:
            return False  # EIO: nobody has the other side open any more.
        self._unread += found
        self.shown += found.decode(errors="replace")
        return bool(found)
