"""What becomes of a job when one of its processes has ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What follows."""

    FINISHED = "finished"
    FAILED = "failed"
    """Counted against `retries_max`."""
    CANCELLED = "cancelled"
    SET_ASIDE = "set aside"
    """It was told to stop: it goes on when somebody looks after jobs again, and nothing is counted."""
    AGAIN = "again"
    """It goes on at its checkpoint in a moment, and nothing is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnd:
    """How a process ended.

    Args:
        outcome: what it wrote down itself: succeeded, failed, stopped; "" where it died before that.
        was_cancelled: a person has asked for the end of the job.
        was_told: this side told it to stop, or killed it for not stopping.
        has_new_checkpoint: it wrote one at least, so that the next process begins further on than it did.
    """

    outcome: str
    was_cancelled: bool
    was_told: bool
    has_new_checkpoint: bool


def verdict_of(end: ProcessEnd) -> Verdict:
    """What follows from the end of a process.

    A death (killed, out of memory, the machine restarted) after a new checkpoint is no failure: a job of days may
    meet any number of them, and each time comes further. One that dies again and again at the same place is given up.
    """
    if end.outcome == "succeeded":
        return Verdict.FINISHED
    if end.was_cancelled:
        return Verdict.CANCELLED
    if end.outcome == "failed":
        return Verdict.FAILED
    if end.was_told:
        return Verdict.SET_ASIDE
    return Verdict.AGAIN if end.outcome == "stopped" or end.has_new_checkpoint else Verdict.FAILED
