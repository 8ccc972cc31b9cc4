"""What a process costs: its CPU time and its memory, with that of all it has started."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from peaker.functions import proc

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2


def cpu_time_s(pid: int) -> float | None:
    """CPU time of all threads of a process, its living descendants and its children waited for; None once it ended.

    The kernel's CPU clock of a process (clock_getcpuclockid(3)) counts nanoseconds; /proc/PID/stat counts hundredths.
    Grandchildren that somebody else waited for are in it by hundredths as well.
    """
    total_s = 0.0
    for each in proc.descendants(pid):
        try:
            total_s += time.clock_gettime((~each << 3) | _CPUCLOCK_SCHED) + _waited_for_s(each)
        except (OSError, IndexError, ValueError):
            if each == pid:
                return None
            continue  # A descendant has ended just now; its parent counts it from now on.
    return total_s


def _waited_for_s(pid: int) -> float:
    """Fields 16 and 17 of proc_pid_stat(5), counted behind the name, which may hold blanks and brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_S


def core_wait_s(pid: int) -> float:
    """How long its threads have been ready to run while others had the cores; 0 where the kernel does not tell it.

    Field 2 of /proc/PID/task/TID/schedstat, in nanoseconds (Linux, Documentation/scheduler/sched-stats).
    """
    waited_ns = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            waited_ns += int((task / "schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):  # no such file in this kernel, or a thread that has just ended
        return waited_ns / 1e9
    return waited_ns / 1e9


def memory_mb(pid: int) -> float | None:
    """Proportional set size in MB of a process and all below it: shared pages count by the part that is its own.

    None where the kernel does not tell it or the process has ended.
    """
    sizes = [_proportional_kb(each) for each in proc.descendants(pid)]
    if sizes[0] is None:
        return None
    return sum(size for size in sizes if size is not None) / 1024


def _proportional_kb(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), None)


def machine_name() -> str:
    """What the CPU calls itself, and how many cores there are for us."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_model()}, {cores} core{'s' if cores > 1 else ''}"


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.machine() or "unknown CPU"
