"""What makes a process unfit to be forked: other threads, and connections its copies would share.

Only the forking thread lives on in a copy, so whatever lock another one held stays locked for ever; and two copies
that write to one connection corrupt it for both.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Container
from pathlib import Path

_SETTLE_S = 0.5
"""Threads that were told to stop and connections that were closed get this long to be gone."""

_PAUSE_S = 0.005


NOT_PYTHON = " (not Python's)"


def find_hazards(own_fds: Container[int], settle_s: float = _SETTLE_S) -> str:
    """What speaks against forking this process now, as part of a sentence; "" for nothing.

    `own_fds` are the descriptors that belong to Peaker.
    """
    give_up_s = time.monotonic() + settle_s
    while hazards := _hazards_now(own_fds):
        if time.monotonic() > give_up_s:
            return hazards
        time.sleep(_PAUSE_S)
    return ""


def _hazards_now(own_fds: Container[int]) -> str:
    hazards = []
    if threads := other_threads():
        hazards.append(_counted(threads, "thread"))
    if connections := open_connections(own_fds):
        hazards.append(_counted(connections, "connection"))
    return " and ".join(hazards)


def other_threads() -> list[str]:
    """Names of all threads but the calling one, Python's first: those are the user's to stop."""
    python_names = {thread.native_id: thread.name for thread in threading.enumerate()}
    own = threading.get_native_id()
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return sorted(name for native_id, name in python_names.items() if native_id != own)
    names = (
        python_names.get(int(entry.name)) or _thread_command(entry)
        for entry in tasks.iterdir()
        if int(entry.name) != own
    )
    return sorted(names, key=lambda name: (name.endswith(NOT_PYTHON), name))


def _thread_command(entry: Path) -> str:
    try:
        return (entry / "comm").read_text().strip() + NOT_PYTHON
    except OSError:  # it ended meanwhile; the next look will not find it
        return "a thread that is ending"


def open_connections(own_fds: Container[int]) -> list[str]:
    """Peers of all connected sockets, and event loops left open, among the descriptors that are not our own."""
    listing = Path("/proc/self/fd")
    fds = [int(entry.name) for entry in listing.iterdir()] if listing.exists() else []
    return sorted(peer for fd in fds if fd not in own_fds and (peer := _peer(fd)))


def _peer(fd: int) -> str:
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISSOCK(mode):
            is_loop = os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"  # noqa: PTH115 - not a file's path
            return "an event loop left open" if is_loop else ""
        with socket.socket(fileno=os.dup(fd)) as connection:
            return _peer_name(connection)
    except OSError:  # closed meanwhile (the listing's own descriptor is), or not connected
        return ""


def _peer_name(connection: socket.socket) -> str:
    peer = connection.getpeername()
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        return f"{peer[0]}:{peer[1]}"
    if connection.family == socket.AF_UNIX:
        path = os.fsdecode(peer)
        return f"unix socket {path}" if path else "a socket pair"
    return ""  # netlink and the like talk to the kernel, not to a peer


def _counted(names: list[str], noun: str) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'} ({shown})"
