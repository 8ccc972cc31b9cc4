"""What names a process for good: its pid, and when it started."""

from __future__ import annotations

from pathlib import Path


def started_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with the pid it names a process. None if there is none.

    Field 22 of /proc/PID/stat, proc_pid_stat(5); the name in field 2 may hold spaces and brackets.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    state, ticks = fields[0], int(fields[19])
    return None if state in "ZX" else ticks
