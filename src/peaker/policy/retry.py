"""What becomes of an event after an attempt to run its function.

Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation": a function
that returns an error is run two more times, one and two minutes later; an attempt that was throttled or met a system
error is made again after 1 s, doubling up to 5 minutes; whatever is older than six hours is given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

RETRY_DELAYS_S = (60.0, 120.0)
"""Waits after the first and the second run that failed; there is no third."""

EVENT_AGE_S_MAX = 21_600.0

NOT_STARTED_S_FIRST = 1.0
NOT_STARTED_S_MAX = 300.0


class Ending(Enum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The function ran and returned an error, timed out or crashed."""
    NOT_STARTED = "not started"
    """Throttled, or the platform failed."""


class Reason(Enum):
    """Why an event is given up; Lambda's names, as in the `condition` of a destination record."""

    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What has happened to one event: runs that failed, attempts in a row that did not start, age in seconds."""

    failures: int = 0
    not_started: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after this many seconds."""

    after_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Discard it, and say why."""

    reason: Reason


def next_step(history: History, *, age_s_max: float = EVENT_AGE_S_MAX) -> Retry | GiveUp:
    """After an attempt that did not succeed; `history` counts it already.

    An event that would be too old at its next attempt is given up now: nothing would change until then.
    """
    if history.not_started:
        after_s = min(NOT_STARTED_S_MAX, NOT_STARTED_S_FIRST * 2.0 ** min(history.not_started - 1, 20))
    elif history.failures > len(RETRY_DELAYS_S):
        return GiveUp(Reason.RETRIES_EXHAUSTED)
    else:
        after_s = RETRY_DELAYS_S[history.failures - 1]
    if history.age_s + after_s > age_s_max:
        return GiveUp(Reason.EVENT_AGE_EXCEEDED)
    return Retry(after_s)
