"""What came of each replayed request, counted: where it ran, how long it took, how it failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from peaker.traffic.latencies import Latencies

LAG_S_MAX = 0.010
"""A generator that sends 1 % of its requests later than this did not offer the load it says; the run is void."""

PLACEMENTS_MAX = 16
"""Names of placements come from a response header, so their number is bounded here; more are counted as OTHER."""

UNSAID = "unsaid"
OTHER = "other"
PERCENTILES = (0.50, 0.95, 0.99)


class Outcome(StrEnum):
    """The end of one request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SERVER_ERROR = "server_error"
    CLIENT_ERROR = "client_error"
    TIMED_OUT = "timed_out"
    CONNECTION_FAILED = "connection_failed"
    CONNECTION_BROKEN = "connection_broken"
    NO_CONNECTION_FREE = "no_connection_free"
    GENERATOR_FULL = "generator_full"


MEANINGS = {
    Outcome.REFUSED: "refused with 503",
    Outcome.SERVER_ERROR: "another 5xx",
    Outcome.CLIENT_ERROR: "4xx",
    Outcome.TIMED_OUT: "no whole answer in time",
    Outcome.CONNECTION_FAILED: "the connection could not be made",
    Outcome.CONNECTION_BROKEN: "the connection broke",
    Outcome.NO_CONNECTION_FREE: "every connection was in use until the time-out (--connections)",
    Outcome.GENERATOR_FULL: "not sent: too many requests were waiting in the generator",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; times in seconds from the beginning of the replay, `placement` as the answer says it."""

    due_s: float
    sent_s: float
    done_s: float
    outcome: Outcome
    placement: str = UNSAID
    status: int = 0


class Tally:
    """Counts samples as they come in, in bounded memory."""

    def __init__(self) -> None:
        self.sent = 0
        self.unfinished = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.statuses: Counter[int] = Counter()
        self.elapsed_s = 0.0
        self._from_due: dict[str, Latencies] = {}
        self._from_sent: dict[str, Latencies] = {}
        self._all_from_due = Latencies()
        self._lag = Latencies()

    @property
    def finished(self) -> int:
        """Requests that came to an end of any kind."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """Requests that ended in anything but an answer below 400."""
        return self.finished - self.outcomes[Outcome.ANSWERED]

    @property
    def is_void(self) -> bool:
        """The generator kept its schedule so badly that the run says nothing."""
        return (self._lag.percentile_s(0.99) or 0.0) > LAG_S_MAX

    def add(self, sample: Sample) -> None:
        """Count one ended request."""
        self.outcomes[sample.outcome] += 1
        self.elapsed_s = max(self.elapsed_s, sample.done_s)
        if sample.outcome is not Outcome.GENERATOR_FULL:
            self._lag.add(sample.sent_s - sample.due_s)
        if sample.status:
            self.statuses[sample.status] += 1
        if sample.outcome is Outcome.ANSWERED:
            name = sample.placement
            if name not in self._from_due and len(self._from_due) >= PLACEMENTS_MAX:
                name = OTHER
            self._from_due.setdefault(name, Latencies()).add(sample.done_s - sample.due_s)
            self._from_sent.setdefault(name, Latencies()).add(sample.done_s - sample.sent_s)
            self._all_from_due.add(sample.done_s - sample.due_s)

    def summary(self) -> dict[str, Any]:
        """Everything counted, as JSON values; latencies in milliseconds, null where failures hold the rank.

        `latency_ms` counts from when a request was due, so waiting for a stalled server or generator is in it;
        `latency_from_sent_ms` from when it was sent. `all` ranks failed requests above every answered one.
        """
        by_placement = {
            name: {
                "requests": latencies.count,
                "latency_ms": _figures(latencies),
                "latency_from_sent_ms": _figures(self._from_sent[name]),
            }
            for name, latencies in sorted(self._from_due.items())
        }
        return {
            "sent": self.sent,
            "answered": self.outcomes[Outcome.ANSWERED],
            "failed": self.failed,
            "unfinished": self.unfinished,
            "elapsed_s": round(self.elapsed_s, 3),
            "all": {"latency_ms": _figures(self._all_from_due, failed=self.failed)},
            "placements": by_placement,
            "failures": {str(kind): count for kind, count in sorted(self.outcomes.items()) if kind in MEANINGS},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "generator_lag_ms": _figures(self._lag),
            "void": self.is_void,
        }


def _figures(latencies: Latencies, failed: int = 0) -> dict[str, float | None]:
    figures: dict[str, float | None] = {
        f"p{fraction * 100:g}": _ms(latencies.percentile_s(fraction, failed=failed)) for fraction in PERCENTILES
    }
    figures["max"] = _ms(latencies.max_s) if latencies.count else None
    return figures


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
