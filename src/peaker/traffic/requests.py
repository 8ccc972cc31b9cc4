"""What a log or a metric export tells of the traffic: the frozen value that plans are made from.

`Traffic` is the load: requests that a server or a function would have to serve. What is not load (health checks,
WebSockets, what a proxy or cache answered by itself) stands in `excluded`, by kind, with the rule that recognised it.
`ReadingReport` accounts for every line: used + excluded + unreadable + skipped = lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from peaker.traffic.histogram import Histogram
from peaker.traffic.trace import Trace

OTHER = "other"
"""The pattern of all routes beyond ROUTES_MAX together."""

ROUTES_MAX = 200


class Kind(StrEnum):
    """Lines that are requests but not load."""

    HEALTH_CHECK = "health check"
    WEBSOCKET = "websocket"
    EVENT_STREAM = "event stream or long poll"
    NOT_PASSED_ON = "answered before the app"
    NO_REQUEST = "no HTTP request"


@dataclass(frozen=True, slots=True)
class Excluded:
    """Requests of one kind that one rule left out of the load; `open_time` is how long they lasted, where known."""

    kind: Kind
    rule: str
    count: int
    open_time: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Lines of one kind that could not be read; `first_line` counts from 1 within `source`."""

    kind: str
    count: int
    source: str
    first_line: int
    example: str


@dataclass(frozen=True, slots=True)
class RouteTraffic:
    """The load of one route; `pattern` is its path with what changes written as `{}`."""

    pattern: str
    count: int
    share: float
    service_time: Histogram | None
    """Seconds the app took; None where the log has no times. Answers of 500 and above are left out."""
    request_bytes: Histogram | None
    response_bytes: Histogram | None
    methods: Mapping[str, int] = field(default_factory=dict)
    status_classes: Mapping[int, int] = field(default_factory=dict)
    """Answers by hundred: 2 for 200 to 299; 0 where the status is not told."""


@dataclass(frozen=True, slots=True)
class FunctionFigures:
    """What Lambda REPORT lines tell besides time; sizes in MB, times in seconds."""

    memory_mb: int
    memory_used_mb_max: int
    cold_starts: int
    init_time: Histogram


@dataclass(frozen=True, slots=True)
class Traffic:
    """The load in all: `trace` by step, the rest over the whole span.

    `trace.total` is the number of requests; `routes` is sorted by count, OTHER last, and empty for metrics.
    """

    trace: Trace
    routes: tuple[RouteTraffic, ...]
    service_time: Histogram | None
    service_time_is: str
    """Which of the log's times is the service time and why; says so where there is none."""
    response_time: Histogram | None
    """Seconds the client saw, the client's own slowness included; None where the log does not tell it."""
    request_bytes: Histogram | None
    response_bytes: Histogram | None
    methods: Mapping[str, int]
    status_classes: Mapping[int, int]
    excluded: tuple[Excluded, ...]
    zone: str
    start_epoch_s: float | None
    """Begin of the first step; None where the source does not tell when it was."""
    functions: FunctionFigures | None = None

    @property
    def count(self) -> int:
        """Requests that are load."""
        return self.trace.total

    @property
    def source_has_times(self) -> bool:
        """Whether the source tells how long requests took."""
        return self.service_time is not None and self.service_time.count > 0

    def status_share(self, hundred: int) -> float:
        """Share of the load answered with this class: 5 for server errors, 3 for redirects."""
        known = sum(self.status_classes.values())
        return self.status_classes.get(hundred, 0) / known if known else 0.0

    def excluded_count(self, kind: Kind) -> int:
        """Requests of one kind that were left out."""
        return sum(each.count for each in self.excluded if each.kind == kind)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch in which nothing was recorded though load was to be expected; seconds since 1970."""

    start_epoch_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """What became of every line: used + excluded + unreadable + skipped = lines."""

    sources: tuple[str, ...]
    formats: Mapping[str, int]
    """Lines read, by the format they were read as."""
    lines: int
    used: int
    """Lines that are load; each is one request in a log, one step in a metric export."""
    excluded: int
    skipped: int
    """Lines that hold no request by the format's own rules: headers, comments, blank lines."""
    unreadable: tuple[Unreadable, ...]
    bytes_read: int
    first_epoch_s: float | None
    last_epoch_s: float | None
    gaps: tuple[Gap, ...]
    zone: str
    zones: tuple[str, ...]
    backwards: int
    """Lines more than a minute older than the line before: several servers' logs in one, or a clock set back."""
    notes: tuple[str, ...]
    """Sentences on what was found and decided."""

    @property
    def unreadable_count(self) -> int:
        """Lines that could not be read."""
        return sum(each.count for each in self.unreadable)
