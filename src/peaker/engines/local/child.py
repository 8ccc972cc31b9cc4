"""One process known by a pidfd: started here, or adopted from a supervisor that is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from peaker.engines.local.state_dir import started_ticks
from peaker.errors import PeakerError


class Child:
    """A process that is watched to its end.

    A pidfd tells of the end of any process, and a signal sent through it never reaches another one that was given the
    same pid. The exit status is known only of processes started here; `status` is -N for a signal N, as in subprocess.
    """

    def __init__(self, pid: int, pidfd: int, popen: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self.started_ticks = started_ticks(pid) or 0
        self.has_exited = False
        self.exit_status: int | None = None
        self._pidfd = pidfd
        self._popen = popen
        self._on_exit: Callable[[], None] | None = None

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        descriptors: Sequence[int] = (),
        has_terminal: bool = False,
    ) -> Child:
        """Start a process in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone.

        With `has_terminal` it stays in this session and reads this process's standard input: a debugger needs both.

        Raises:
            PeakerError: it could not be started.
        """
        try:
            popen = subprocess.Popen(
                command,
                stdin=None if has_terminal else subprocess.DEVNULL,
                env=environment,
                cwd=directory,
                pass_fds=descriptors,
                start_new_session=not has_terminal,
            )
        except OSError as error:
            raise PeakerError(f"a process could not be started: {error}.", where=command[0]) from error
        return cls(popen.pid, os.pidfd_open(popen.pid), popen)

    @classmethod
    def adopt(cls, pid: int, ticks: int | None = None) -> Child:
        """Watch a process that runs already; raises ProcessLookupError where it (started at `ticks`) is gone."""
        pidfd = os.pidfd_open(pid)
        found = started_ticks(pid)
        if found is None or (ticks is not None and found != ticks):
            os.close(pidfd)
            raise ProcessLookupError(pid)
        return cls(pid, pidfd, None)

    def watch(self, on_exit: Callable[[], None]) -> None:
        """Call `on_exit` once, when the process has ended."""
        self._on_exit = on_exit
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens to a process that has ended."""
        if self.has_exited:
            return
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return  # It ended just now; its pidfd tells so in a moment.

    def kill_session(self) -> None:
        """Kill the process and whatever it forked within its group."""
        if self.has_exited:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.send(signal.SIGKILL)  # An adopted process may lead no group.

    def reaped(self, wait_status: int) -> None:
        """Take the status that somebody else has collected (a supervisor that is PID 1 collects them all)."""
        self.exit_status = os.waitstatus_to_exitcode(wait_status)

    def _ended(self) -> None:
        if self.has_exited:
            return
        self.has_exited = True
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._popen is not None:
            if self.exit_status is None:
                self.exit_status = self._collect()
            self._popen.returncode = self.exit_status if self.exit_status is not None else 0
        if self._on_exit is not None:
            self._on_exit()

    def _collect(self) -> int | None:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status)


def exit_words(status: int | None) -> str:
    """How a process ended, for a person."""
    if status is None:
        return "ended"
    if status < 0:
        return f"died by {signal.Signals(-status).name}"
    return f"exited with status {status}"


def reap_orphans(children: Mapping[int, Child]) -> None:
    """Collect every ended child of this process; PID 1 of a container inherits those that lost their parent."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in children:
            children[pid].reaped(status)
