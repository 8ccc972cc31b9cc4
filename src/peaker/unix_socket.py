"""Listening unix sockets that survive restarts: a stale file never blocks a start, a successor never loses its file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from peaker.errors import ListenError

_BACKLOG = 1024


class UnixListener:
    """A listening, non-blocking unix socket of mode 0600 at `path`.

    It is bound under a name of its own and then renamed, so the path always leads to a listening socket: whatever
    stood there before, a dead process's leftover or a predecessor that still drains, is replaced in one step.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        fresh = path.with_name(f"{path.stem}.{os.getpid()}")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            self.socket.bind(str(fresh))
            fresh.chmod(0o600)
            self.socket.setblocking(False)
            self.socket.listen(_BACKLOG)
            self._inode = fresh.stat().st_ino
            fresh.replace(path)
        except OSError as error:
            self.socket.close()
            raise ListenError(f"the socket cannot be made: {error.strerror or error}.", where=str(path)) from error

    def close(self) -> None:
        """Close, and remove the file unless it is a successor's by now."""
        self.socket.close()
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            return  # The whole state directory may be gone already.


def is_listened_on(path: Path) -> bool:
    """A process takes connections there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def link_newest(link: Path, target: Path) -> None:
    """Let `link` lead to `target` beside it, in one step; names end in the number of a generation: the highest wins.

    So a host of an outgoing generation that is started again does not take the name from the newer one.

    Raises:
        ListenError: the link cannot be made.
    """
    try:
        if link.is_symlink() and link.exists() and _number(link.readlink()) > _number(target):
            return
        fresh = link.with_name(f"{link.stem}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target.name)
        fresh.replace(link)
    except OSError as error:
        raise ListenError(f"the link cannot be made: {error.strerror or error}.", where=str(link)) from error


def unlink_if_leads_to(link: Path, target: Path) -> None:
    """Remove `link` unless it leads to somebody else by now."""
    if link.is_symlink() and link.readlink() == Path(target.name):
        link.unlink(missing_ok=True)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
