"""In a forked copy of a zygote that holds no user code: turn into the program of a provided runtime."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any, NoReturn

from peaker import frames


def execute(order: dict[str, Any], channel: socket.socket) -> NoReturn:
    """Run `argv` with `variables` put into the environment.

    The channel ends where that succeeds; where it does not, it carries the reason and the process ends with status 1.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores these two, and what is ignored stays so.
    _keep_descriptors_from_the_program()
    argv = order["argv"]
    try:
        os.execve(argv[0], argv, {**os.environ, **order["variables"]})  # noqa: S606 - the program the user named
    except OSError as error:
        message = f"{argv[0]} cannot be executed: {error.strerror}."
        channel.sendall(frames.pack({"kind": "failed", "error": "start", "message": message}))
        os._exit(1)


def _keep_descriptors_from_the_program() -> None:
    """Descriptors that came over a socket are not closed by themselves when another program is executed."""
    own = Path("/proc/self/fd")
    for fd in [int(entry.name) for entry in own.iterdir()] if own.exists() else ():
        if fd > 2:
            try:
                os.set_inheritable(fd, False)
            except OSError:  # the one the listing was read from
                continue
