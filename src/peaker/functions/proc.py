"""What /proc says about processes, and how to end a group of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def memory_bytes(pid: int | str = "self") -> tuple[int, int]:
    """Virtual and resident size; zeros where the process has ended or the system has no /proc."""
    try:
        virtual, resident, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0, 0
    return int(virtual) * _PAGE_BYTES, int(resident) * _PAGE_BYTES


def children(pid: int | str = "self") -> list[int]:
    """Direct children of all threads of a process; none where it has ended."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:  # it ended while it was being looked at
        return found
    return found


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:  # grows while it is walked
        found += children(parent)
    return found


def kill_group(pid: int) -> None:
    """Kill all of a process group that may already be empty."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
