"""Seconds, bytes, GB-seconds and dollars, rounded as the bill rounds them."""

from __future__ import annotations

import math
import re

KIB = 1024
MIB = 1024 * KIB

MEMORY_MB_PER_VCPU = 1769
"""Lambda gives one vCPU at 1,769 MB and scales linearly below (AWS Lambda Developer Guide, "Configure memory")."""

DOLLARS_PER_MICRODOLLAR = 1e-6


def billed_ms(duration_s: float) -> int:
    """Lambda bills duration in whole milliseconds, rounded up (AWS Lambda pricing page).

    The tolerance keeps 0.1 s, which is not exact in binary, from being billed as 101 ms.
    """
    return max(1, math.ceil(duration_s * 1000 - 1e-6))


def gb_seconds(billed_duration_ms: int, memory_mb: int) -> float:
    """Memory times billed time; Lambda's GB is 1,024 MB."""
    return billed_duration_ms / 1000 * memory_mb / 1024


def vcpus(memory_mb: int) -> float:
    """CPU share of a function of this size, in vCPUs."""
    return memory_mb / MEMORY_MB_PER_VCPU


def human_bytes(count: float) -> str:
    """`1536` -> `1.5 KB`, for people."""
    for unit in ("B", "KB", "MB"):
        if abs(count) < KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= KIB
    return f"{count:.1f} GB"


def human_duration(seconds: float) -> str:
    """`0.0042` -> `4.2 ms`, for people."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s"


_DURATION_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|s|m|h|d)")


def parse_duration_s(text: str) -> float:
    """`90s`, `10m`, `1h30m`, `2d`, or a bare number of seconds; raises ValueError for anything else."""
    stripped = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", stripped):
        return float(stripped)
    parts = _DURATION_PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ValueError(f"{text!r} is not a duration; write 90s, 10m, 1h30m or a number of seconds")
    return sum(float(number) * _DURATION_UNITS_S[unit] for number, unit in parts)
