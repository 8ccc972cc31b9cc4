"""What is predicted, and measured, of a run: nine figures, and how near a prediction must come to each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Judged(StrEnum):
    """How a measure is held against another: by the share it is off, or by the points between two shares."""

    RELATIVE = "relative"
    POINTS = "points"


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: its name as a member, as people read it, its unit ("" for a share), and how it is judged."""

    name: str
    title: str
    unit: str
    judged: Judged = Judged.RELATIVE


MEASURES = (
    Measure("latency_p50_ms", "latency p50", "ms"),
    Measure("latency_p95_ms", "latency p95", "ms"),
    Measure("latency_p99_ms", "latency p99", "ms"),
    Measure("spilled_share", "spilled", "", Judged.POINTS),
    Measure("refused_share", "refused", "", Judged.POINTS),
    Measure("cold_starts", "cold starts", ""),
    Measure("server_s", "server seconds", "s"),
    Measure("gb_s", "GB-seconds", "GB-s"),
    Measure("usd", "dollars", "$"),
)
BY_NAME = {measure.name: measure for measure in MEASURES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The figures of one run.

    Attributes:
        latency_p50_ms, latency_p95_ms, latency_p99_ms: from when a request was due to its answer, refused ones above
            every answered one; None where the rank falls on one without a good answer.
        spilled_share, refused_share: of all requests, those that ran on functions and those that got a 503.
        cold_starts: invocations that waited for an instance to start.
        server_s: seconds of servers.
        gb_s: billed GB-seconds of functions.
        usd: server seconds, GB-seconds and invocations at list prices.
    """

    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    spilled_share: float | None
    refused_share: float | None
    cold_starts: float | None
    server_s: float | None
    gb_s: float | None
    usd: float | None


def combined(runs: Sequence[Measures], of: Callable[[Sequence[float]], float]) -> Measures:
    """Each figure of several runs made one, by `of`; None where it is None in any run."""
    found: dict[str, float | None] = {}
    for field in dataclasses.fields(Measures):
        values = [getattr(run, field.name) for run in runs]
        known = [value for value in values if value is not None]
        found[field.name] = of(known) if len(known) == len(values) and known else None
    return Measures(**found)
