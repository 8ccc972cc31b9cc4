"""The host's line to one zygote process: start it, send it commands, hear of its events and of its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from peaker.functions import kernel
from peaker.functions.log_pipe import LogPipe
from peaker.functions.proc import kill_group

_MESSAGE_BYTES_MAX = 64 * 1024
_BACKLOG_MAX = 10_000
"""Commands waiting for a zygote that does not read; far above any number of starts in flight."""

Event = dict[str, Any]


class ZygoteLink:
    """One zygote from its start to its end."""

    def __init__(
        self,
        *,
        directory: str,
        environment: Mapping[str, str],
        on_event: Callable[[Event, list[int]], None],
        on_end: Callable[[str], None],
        on_line: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_end = on_end
        self._backlog: list[tuple[bytes, Sequence[int]]] = []
        # Instances outlive their zygote and then are ours to wait for.
        kernel.become_subreaper()
        kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
        self._control, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self._control.setblocking(False)
        self.log_pipe = LogPipe(self._loop, on_line)
        # -P keeps the working directory, which is the user's, from shadowing modules of the standard library.
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "peaker.functions.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.log_pipe.write_fd,
                stderr=self.log_pipe.write_fd,
                cwd=directory,
                env=dict(environment),
                start_new_session=True,
            )
        self.log_pipe.given_away()
        self.pid = self._process.pid
        self._is_open = True
        self._loop.add_reader(self._control, self._receive)

    def send(self, command: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a command and descriptors; copies of `fds` wait with it where the zygote is busy.

        Raises:
            BrokenPipeError: the zygote has ended.
            BufferError: it has not read for very long.
        """
        if not self._is_open:
            raise BrokenPipeError("the zygote has ended")
        message = json.dumps(command).encode()
        if len(message) > _MESSAGE_BYTES_MAX:
            raise ValueError(f"a command of {len(message)} bytes; allowed: up to {_MESSAGE_BYTES_MAX}")
        if not self._backlog and self._try_send(message, fds):
            return
        if len(self._backlog) >= _BACKLOG_MAX:
            raise BufferError(f"{_BACKLOG_MAX} commands wait for the zygote")
        if not self._backlog:
            self._loop.add_writer(self._control, self._send_backlog)
        self._backlog.append((message, [os.dup(fd) for fd in fds]))

    def _try_send(self, message: bytes, fds: Sequence[int]) -> bool:
        try:
            socket.send_fds(self._control, [message], fds)
        except BlockingIOError:
            return False
        return True

    def _send_backlog(self) -> None:
        while self._backlog:
            message, fds = self._backlog[0]
            try:
                if not self._try_send(message, fds):
                    return
            except OSError:  # it has ended; the reader hears of that and cleans up
                break
            del self._backlog[0]
            _close(fds)
        self._loop.remove_writer(self._control)

    def _receive(self) -> None:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES_MAX, 4)
        except BlockingIOError:
            return
        except ConnectionError:
            message, fds = b"", []
        if message:
            self._on_event(json.loads(message), fds)
        else:
            self._ended()

    def _ended(self) -> None:
        """The control socket has ended: so has the process, or it is about to."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        # Before the socket is closed, whose end tells a zygote to take its instances with it.
        # Not by Popen.kill, which would reap it if it has ended, and its number would no longer be its own.
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        kill_group(self.pid)
        status = self._process.wait()
        self._control.close()
        for _, fds in self._backlog:
            _close(fds)
        self._backlog.clear()
        self.log_pipe.close()
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        self._on_end(how)

    def kill(self) -> None:
        """End the process and hear no more of it; its instances live on."""
        self._ended()


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
