"""One job's process as the events process sees it: started here, or adopted from an events process that is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from peaker.errors import PeakerError
from peaker.jobs.files import PRIVATE
from peaker.process_identity import started_ticks


class WatchedProcess:
    """A process that leads a session of its own, watched by a pidfd. `ended` is set when it has ended."""

    def __init__(self, pid: int, pidfd: int, popen: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self.status: int | None = None
        """As in subprocess; None of an adopted process, whose status nobody here is told."""
        self._pidfd = pidfd
        self._popen = popen
        self._is_watched = True
        asyncio.get_running_loop().add_reader(pidfd, self._has_ended)

    @classmethod
    def start(
        cls, command: Sequence[str], *, environment: Mapping[str, str], directory: Path, log: Path
    ) -> WatchedProcess:
        """Start it; what it prints is added to `log`. Raises PeakerError where it cannot be started."""
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=environment,
                cwd=directory,
                start_new_session=True,
            )
        except OSError as error:
            raise PeakerError(f"a job's process could not be started: {error}.", where=command[0]) from error
        finally:
            os.close(descriptor)
        return cls(popen.pid, os.pidfd_open(popen.pid), popen)

    @classmethod
    def adopt(cls, pid: int, ticks: int) -> WatchedProcess | None:
        """Watch a process that runs already; None where it (started at `ticks`) is gone."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        if started_ticks(pid) != ticks:
            os.close(pidfd)
            return None
        return cls(pid, pidfd, None)

    def tell_to_stop(self) -> None:
        """SIGTERM to it alone: it tells its own children."""
        if self._is_watched:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
            except ProcessLookupError:
                return  # It ended just now; its pidfd tells so in a moment.

    def kill(self) -> None:
        """End it and whatever it started within its group."""
        if self._is_watched:
            kill_group(self.pid)

    def forget(self) -> None:
        """Leave it running: whoever comes next adopts it."""
        if not self._is_watched:
            return
        self._is_watched = False
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._popen is not None:
            self._popen.returncode = 0  # Else its destructor warns of a child that is left running, which is meant.

    def _has_ended(self) -> None:
        # Not yet collected, its pid is still its own, and so is the group's name.
        kill_group(self.pid)
        popen, self._popen = self._popen, None
        self.forget()
        if popen is not None:
            self.status = popen.wait()
        self.ended.set()


def kill_group(pid: int) -> None:
    """Kill all of a process group that may already be empty."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def exit_words(status: int | None) -> str:
    """How a process ended, for a person."""
    if status is None:
        return "died"
    if status < 0:
        return f"died by {signal.Signals(-status).name}"
    return f"ended by itself with exit status {status}"
