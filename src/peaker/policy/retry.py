"""What becomes of an event after an attempt to run its function.

Sources: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation" (a function
that returns an error is run two more times, one and two minutes later; an attempt that was throttled or met a system
error is made again after 1 s, growing exponentially up to 5 minutes; whatever is older than six hours is given up), and
"Use Lambda recursive loop detection" (about 16 runs in one chain; the event goes where failures go). How much the
growing wait is spread is not said there; here it is between half of it and all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

RETRY_S = 60.0
"""Wait after the first run that failed; after the second it is twice as long, and there is no third."""

RETRIES_MAX = 2

EVENT_AGE_S_MAX = 21_600.0

NOT_STARTED_S_FIRST = 1.0
NOT_STARTED_S_MAX = 300.0

HOPS_MAX = 16


class Ending(Enum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The function ran and returned an error, timed out or crashed."""
    NOT_STARTED = "not started"
    """Throttled, or the platform failed."""
    REFUSED = "refused"
    """It will never be started as it stands."""


class Reason(Enum):
    """Why an event is given up; the first two are Lambda's names, as in the `condition` of a destination record."""

    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    RECURSIVE_LOOP = "RecursiveInvocation"
    """Too many runs in a row led to it."""
    REFUSED = "InvocationRefused"
    """There is no such function any more, or it cannot take this event."""
    CANCELLED = "Cancelled"
    """A person has cancelled the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """What the settings say of one function's events."""

    retries_max: int = RETRIES_MAX
    retry_s: float = RETRY_S
    age_s_max: float = EVENT_AGE_S_MAX
    hops_max: int = HOPS_MAX


LAMBDA_RULES = RetryRules()


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


def give_up_before(*, age_s: float, hops: int, rules: RetryRules = LAMBDA_RULES) -> Reason | None:
    """Why an event is not even tried: it is too old, or too many runs in a row led to it."""
    if hops >= rules.hops_max:
        return Reason.RECURSIVE_LOOP
    return Reason.EVENT_AGE_EXCEEDED if age_s > rules.age_s_max else None


def next_step(
    ending: Ending, history: History, *, rules: RetryRules = LAMBDA_RULES, chance: float = 1.0
) -> Retry | GiveUp:
    """After an attempt that did not succeed; `history` counts it already. `chance` is drawn from 0 to 1.

    An event that would be too old at its next attempt is given up now: nothing would change until then.
    """
    if ending is Ending.REFUSED:
        return GiveUp(Reason.REFUSED)
    if ending is Ending.NOT_STARTED:
        after_s = not_started_s(history.not_started) * (0.5 + 0.5 * chance)
    elif history.failures > rules.retries_max:
        return GiveUp(Reason.RETRIES_EXHAUSTED)
    else:
        after_s = rules.retry_s * 2.0 ** (history.failures - 1)
    if history.age_s + after_s > rules.age_s_max:
        return GiveUp(Reason.EVENT_AGE_EXCEEDED)
    return Retry(after_s)


def not_started_s(in_a_row: int) -> float:
    """The longest wait after this many attempts in a row that did not start: 1, 2, 4 .. 300 s."""
    return min(NOT_STARTED_S_MAX, NOT_STARTED_S_FIRST * 2.0 ** min(max(0, in_a_row - 1), 20))
