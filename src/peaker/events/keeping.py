"""What every body of the queue does alike: check what is put, bound what is kept, tell what is dropped."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from peaker.errors import QueueFull
from peaker.events.queue import ATTEMPTS_KEPT_MAX, ERROR_CHARACTERS_MAX, LISTED_MAX, Attempt, Bounds, Outcome
from peaker.messages import Event
from peaker.units import MIB

NAME_CHARACTERS_MAX = 512
"""Of an id, function, source, qualifier, deduplication key, group and reason."""

HEADERS_CHARACTERS_MAX = 65_536
PAYLOAD_BYTES_MAX = 8 * MIB

_logger = logging.getLogger("peaker.events.queue")


def check_event(event: Event) -> None:
    """Raises ValueError with the field that cannot be kept as it is."""
    for name in ("id", "function", "source"):
        if not getattr(event, name):
            raise ValueError(f"an event needs its {name}: {_told(event)}")
    for name in ("id", "function", "source", "qualifier", "dedup_key", "group"):
        check_name(name, getattr(event, name))
    for name in ("dedup_s", "not_before_s", "accepted_at_s"):
        seconds = getattr(event, name)
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"{name} of an event is {seconds}; allowed: a finite number from 0 on: {_told(event)}")
    headers = sum(len(name) + len(value) for name, value in event.headers)
    if headers > HEADERS_CHARACTERS_MAX:
        raise ValueError(f"headers of an event have {headers} characters; allowed: up to {HEADERS_CHARACTERS_MAX}")
    if len(event.payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"payload of an event has {len(event.payload)} bytes; allowed: up to {PAYLOAD_BYTES_MAX}")
    if event.hops < 0:
        raise ValueError(f"hops of an event is {event.hops}; allowed: from 0 on: {_told(event)}")


def check_name(name: str, text: str) -> None:
    """Raises ValueError where a text is too long to be kept, or is none."""
    if not text.isascii():
        text.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    if len(text) > NAME_CHARACTERS_MAX:
        raise ValueError(f"{name} has {len(text)} characters; allowed: up to {NAME_CHARACTERS_MAX}: {text[:80]}…")


def check_lease(at_most: int, lease_s: float) -> None:
    """Raises ValueError for a lease of nothing."""
    if at_most < 1:
        raise ValueError(f"at_most is {at_most}; allowed: from 1 on")
    check_lease_s(lease_s)


def check_lease_s(lease_s: float) -> None:
    """Raises ValueError for a lease that ends at once or never."""
    if not (math.isfinite(lease_s) and lease_s > 0):
        raise ValueError(f"lease_s is {lease_s}; allowed: a finite number above 0")


def check_limit(limit: int) -> None:
    """Raises ValueError for a page that is empty or too large."""
    if not 1 <= limit <= LISTED_MAX:
        raise ValueError(f"limit is {limit}; allowed: 1 to {LISTED_MAX}")


def check_retry(not_before_s: float, outcome: Outcome) -> None:
    """Raises ValueError for an outcome after which nothing is tried again, or a moment that never comes."""
    if outcome not in (Outcome.FAILED, Outcome.NOT_STARTED):
        raise ValueError(f"outcome of a retry is {outcome}; allowed: FAILED, NOT_STARTED")
    if not math.isfinite(not_before_s):
        raise ValueError(f"not_before_s is {not_before_s}; allowed: a finite number")


def check_room(bounds: Bounds, *, events: int, payload_bytes: int, more: int, more_bytes: int) -> None:
    """Raises QueueFull where `more` events with `more_bytes` do not fit beside what there is."""
    if not more:
        return
    if events + more > bounds.events_max:
        raise QueueFull(
            f"{events} events wait or run; {more} more would pass the limit of {bounds.events_max}.",
            remedy="Send them again later.",
        )
    if payload_bytes + more_bytes > bounds.bytes_max:
        raise QueueFull(
            f"waiting and running events hold {payload_bytes} bytes; {more_bytes} more would pass the limit of "
            f"{bounds.bytes_max}.",
            remedy="Send them again later.",
        )


def check_keys(bounds: Bounds, *, keys: int, more: int) -> None:
    """Raises QueueFull where there is no room for `more` deduplication keys."""
    if more and keys + more > bounds.keys_max:
        raise QueueFull(
            f"{keys} deduplication keys are held; {more} more would pass the limit of {bounds.keys_max}.",
            remedy="Send them again later, or let keys hold for a shorter time.",
        )


def cut(error: str) -> str:
    """An error text within its bound, and such that it can be written."""
    error = error.encode("utf-8", "replace").decode()
    return error if len(error) <= ERROR_CHARACTERS_MAX else error[: ERROR_CHARACTERS_MAX - 1] + "…"


def with_attempt(attempts: Sequence[Attempt], ended: Attempt) -> tuple[Attempt, ...]:
    """The attempts that are kept: the first, which often tells the cause, and the newest."""
    if len(attempts) < ATTEMPTS_KEPT_MAX:
        return (*attempts, ended)
    return (attempts[0], *attempts[-(ATTEMPTS_KEPT_MAX - 2) :], ended)


def tell_dropped(event_id: str, function: str, source: str, reason: str, error: str) -> None:
    """A dead letter went for a newer one: that is the end of it, so it is said."""
    _logger.error(
        "dead letter dropped, there is no room for more: %s of %s from %s, dead by %s: %s",
        event_id, function, source, reason, error[:300], extra={"action": "event"},
    )  # fmt: skip


def _told(event: Event) -> str:
    return f"id={event.id[:80]!r} function={event.function[:80]!r} source={event.source[:80]!r}"
