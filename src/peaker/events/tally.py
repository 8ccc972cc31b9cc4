"""What the events process has done since it was started, as counters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Each only grows. An event that is tried three times is one that was accepted, two retries and one ending."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    """At intake, for want of room."""
    started: int = 0
    """Attempts."""
    finished: int = 0
    failed: int = 0
    """Attempts that the function failed."""
    not_started: int = 0
    """Attempts that were throttled or met a failure of the platform."""
    retried: int = 0
    dead: int = 0
    late: int = 0
    """Endings that came after the event had been leased again: it was run once more."""
    delivered: int = 0
    undelivered: int = 0
    """Records for destinations that could not be kept."""
