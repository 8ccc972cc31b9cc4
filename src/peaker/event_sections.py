"""Sections of `peaker.toml` that are about events."""

from __future__ import annotations

from dataclasses import dataclass

from peaker.section_reader import setting
from peaker.setting_checks import between


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsSection:
    """Events: what is kept, and how often a function is tried."""

    retries_max: int = setting(2, "Runs after the first that failed.", between(0, 2))
    age_s_max: float = setting(21_600.0, "An event older than this is given up.", between(60, 21_600))
    retry_s: float = setting(
        60.0, "Wait after the first run that failed; twice as long after the second.", between(0.01, 3600)
    )
    hops_max: int = setting(
        16, "Runs in a row that may lead from one to the next by events; what comes after is a dead letter.",
        between(1, 1000),
    )  # fmt: skip
    lease_s: float = setting(
        15.0, "After the events process was killed, what it was running is asked for again this much later.",
        between(0.5, 900),
    )  # fmt: skip
    waiting_max: int = setting(100_000, "Events that wait or run; more are refused.", between(1, 10_000_000))
    waiting_mb_max: int = setting(512, "Payloads of those, in MB.", between(1, 1_000_000))
    dead_max: int = setting(10_000, "Dead letters kept; the oldest goes for a new one.", between(1, 10_000_000))
