"""How many cores this process may use: those it is bound to, and no more than its container is given time on."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
"""Inside a container its own group stands at the root (cgroup namespaces)."""


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """At least 1. A quota of one and a half cores is two: with one worker the half would never be used."""
    bound_to = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound_to, _quota(cgroups))))


def _quota(cgroups: Path) -> float:
    """Cores' worth of CPU time that the control group allows; infinity without a limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (cpu.cfs_*_us).
    """
    quota, period = (
        _words(cgroups / "cpu.max")
        or (
            *_words(cgroups / "cpu/cpu.cfs_quota_us"),
            *_words(cgroups / "cpu/cpu.cfs_period_us"),
        )
        or ("max", "")
    )
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)


def _words(file: Path) -> tuple[str, ...]:
    try:
        return tuple(file.read_text(encoding="ascii").split())
    except OSError:
        return ()
