"""What `peaker measure` found out about an app on one machine, as a value that is saved and that plans are made from.

A figure that could not be measured is None, with the reason in `notes`; nothing stands in for it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from peaker.errors import PeakerError
from peaker.plan.cpu_benchmark import CpuScore, Speed, assumed_speed
from peaker.plan.json_values import value_from
from peaker.plan.workload import PlanError, check_quantiles, mean_of_quantiles, quantiles_of, require
from peaker.policy.knee import Verdict

if TYPE_CHECKING:  # numpy comes with it, and measuring needs none
    from peaker.plan.from_traffic import Known

FORMAT = 1
FILE_NAME = "measured.json"
POINTS = 101

FUNCTION_MEMORY_ROOM = 1.2
"""A function gets this much of the most that was used: one that meets its limit is killed."""

FUNCTION_MEMORY_MB = (128, 10_240)
_POOLED = 4000
_CPU_SHARE_MIN = 1e-4

_Value = TypeVar("_Value")


class MeasuredFileError(PeakerError):
    """The file holds no measurement."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMeasured:
    """One path, asked one request at a time.

    `share` is of the requests of the mix, `service_s` quantiles at 101 evenly spaced probabilities, `cpu_s` the mean
    CPU time of one request, None where no clock told it, `waited_s` how long a request waited for a core besides, mean:
    that is not in `service_s`.
    """

    target: str
    share: float
    requests: int
    service_s: tuple[float, ...]
    cpu_s: float | None
    response_bytes: float
    waited_s: float = 0.0

    def __post_init__(self) -> None:
        check_quantiles(f"service_s of {self.target}", self.service_s)
        require(0 < self.share <= 1, f"share of {self.target}", self.share, "above 0, up to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One rate that was offered; latencies count from when a request was due, None where failures hold the rank."""

    rate_per_s: float
    requests: int
    failed: int
    achieved_per_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    cpu_cores: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement.

    Attributes:
        app, directory_name, made_by, measured_at, machine, python: what was measured, when, and on what.
        objective_s: 95 % of the requests were to be answered within this.
        routes: each path by itself, idle.
        service_s: the mix in all, idle, as 101 quantiles; None with no route.
        cpu_s: mean CPU time of a request of the mix; None where unknown.
        response_bytes: mean size of an answer of the mix.
        worker_idle_mb, worker_memory_mb: proportional size of the worker before any load, and the most seen.
        capacity_per_s: the highest rate that one worker held; `missed_per_s` the lowest above it that it did not.
        is_bound_by_generator: no rate was missed by the worker itself, so it may hold more; a note says why none was.
        knee_per_s: where answers a second over p95 is highest.
        curve: every step, in the order it was made.
        fresh_start_s: starts of a process that imports and starts the app, as quantiles: what Lambda's init does.
        local_cold_start_s: cold starts of the local function host, which forks: nothing that Lambda can do.
        warm_function_s: runs on a warm instance with whole cores, as quantiles.
        function_overhead_s: what an invocation of a warm instance took beside its run: median, not billed.
        function_memory_mb: the most that an instance used.
        cpu: the score of this machine.
        speed: how fast the instance types are with this machine as 1.
        notes: what could not be measured and why, and what limits what was.
    """

    app: str
    made_by: str
    measured_at: str
    machine: str
    python: str
    objective_s: float
    routes: tuple[RouteMeasured, ...] = ()
    service_s: tuple[float, ...] | None = None
    cpu_s: float | None = None
    response_bytes: float | None = None
    worker_idle_mb: float | None = None
    worker_memory_mb: float | None = None
    capacity_per_s: float | None = None
    missed_per_s: float | None = None
    is_bound_by_generator: bool = False
    knee_per_s: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    fresh_start_s: tuple[float, ...] | None = None
    local_cold_start_s: tuple[float, ...] | None = None
    warm_function_s: tuple[float, ...] | None = None
    function_overhead_s: float | None = None
    function_memory_mb: float | None = None
    cpu: CpuScore | None = None
    speed: Speed | None = None
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def __post_init__(self) -> None:
        require(self.format == FORMAT, "format", self.format, f"{FORMAT}; a newer Peaker wrote it: update this one")
        for name in ("service_s", "fresh_start_s", "local_cold_start_s", "warm_function_s"):
            quantiles = getattr(self, name)
            if quantiles is not None:
                check_quantiles(name, quantiles)
        for name in (
            "cpu_s",
            "response_bytes",
            "worker_memory_mb",
            "capacity_per_s",
            "function_memory_mb",
            "function_overhead_s",
        ):
            value = getattr(self, name)
            require(value is None or 0 <= value < math.inf, name, value, "0 or more")

    @property
    def cpu_share(self) -> float | None:
        """The part of a request's time that computes, at most 1; None where either is not known."""
        if self.cpu_s is None or self.service_s is None or not mean_of_quantiles(self.service_s):
            return None
        return min(1.0, self.cpu_s / mean_of_quantiles(self.service_s))


def pooled(routes: Sequence[RouteMeasured]) -> tuple[tuple[float, ...], float | None, float]:
    """Of the whole mix: service time as 101 quantiles, mean CPU time (None if one route's is unknown), mean answer.

    Each route takes part with evenly spaced points of its own distribution, as many as its share of the requests.
    """
    require(bool(routes), "routes", 0, "1 or more")
    whole = sum(route.share for route in routes)
    points: list[float] = []
    for route in routes:
        count = max(1, round(_POOLED * route.share / whole))
        points += [_at(route.service_s, (place + 0.5) / count) for place in range(count)]
    known = [(route.share, route.cpu_s) for route in routes if route.cpu_s is not None]
    cpu_s = sum(share * cpu for share, cpu in known) / whole if len(known) == len(routes) else None
    size = sum(route.share * route.response_bytes for route in routes) / whole
    return quantiles_of(points, POINTS), cpu_s, size


def _at(quantiles: Sequence[float], probability: float) -> float:
    place = probability * (len(quantiles) - 1)
    low = int(place)
    high = min(low + 1, len(quantiles) - 1)
    return quantiles[low] + (quantiles[high] - quantiles[low]) * (place - low)


def known_of(measured: Measured) -> Known:
    """The figures of a plan that were measured; what was not stays unknown. Needs `peaker[plan]`.

    The cold start is that of a fresh process: the local host's forks are no measure of Lambda.
    """
    from peaker.plan.case import Figure, Origin, Route, Times
    from peaker.plan.from_traffic import Known

    here = f"on {measured.machine}, {measured.measured_at[:10]}"

    def times(quantiles: tuple[float, ...] | None, note: str) -> Times | None:
        return None if not quantiles or quantiles[-1] <= 0 else Times(quantiles, Origin.MEASURED, note)

    def figure(value: float | None, note: str) -> Figure | None:
        return None if value is None else Figure(value, Origin.MEASURED, note)

    share, worker_mb = measured.cpu_share, measured.worker_memory_mb
    return Known(
        service_s=times(measured.service_s, f"one request at a time, {here}"),
        cpu_share=figure(None if share is None else max(share, _CPU_SHARE_MIN), f"CPU time of the worker, {here}"),
        cold_start=times(
            measured.fresh_start_s,
            f"import and start of the app in a fresh process, {here}; what Lambda adds for its sandbox is not in it",
        ),
        worker_memory_mb=figure(worker_mb or None, f"proportional size after load, {here}"),
        function_memory_mb=figure(
            _function_size_mb(measured.function_memory_mb),
            f"the most an instance used ({measured.function_memory_mb or 0:.0f} MB) and a fifth more, at least 128 MB",
        ),
        response_bytes=figure(measured.response_bytes, here),
        routes=tuple(
            Route(
                pattern=route.target.rpartition(" ")[2],  # without the method
                share=route.share,
                service=Times(route.service_s, Origin.MEASURED, here),
                cpu_share=figure(_cpu_share(route), here),
            )
            for route in measured.routes
            if route.service_s[-1] > 0
        ),
    )


def _cpu_share(route: RouteMeasured) -> float | None:
    if route.cpu_s is None:
        return None
    return min(1.0, max(_CPU_SHARE_MIN, route.cpu_s / mean_of_quantiles(route.service_s)))


def _function_size_mb(used_mb: float | None) -> float | None:
    if not used_mb:
        return None
    least, most = FUNCTION_MEMORY_MB
    return float(min(most, max(least, math.ceil(used_mb * FUNCTION_MEMORY_ROOM))))


def speed_known(measured: Measured | None) -> Speed:
    """How fast the instance types are: what a score from one told, else the assumption that they are as fast."""
    return (measured.speed if measured is not None else None) or assumed_speed()


def to_json(measured: Measured) -> str:
    """As indented JSON; `from_json` gives an equal value."""
    return json.dumps(dataclasses.asdict(measured), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, where: str = FILE_NAME) -> Measured:
    """The measurement in a JSON text.

    Raises:
        MeasuredFileError: it is none, or of another format; says which member is wrong.
    """
    return _read(Measured, text, where)


def load_measured(path: Path) -> Measured:
    """Read a saved measurement; raises MeasuredFileError as `from_json`, or where the file cannot be read."""
    return from_json(_text_of(path), str(path))


def load_score(path: Path) -> CpuScore:
    """The score in a file of `peaker measure --cpu --save`, or in a whole measurement.

    Raises:
        MeasuredFileError: it holds no score.
    """
    text, where = _text_of(path), str(path)
    raw = _parsed(text, where)
    if isinstance(raw, dict) and "rounds_per_s" in raw:
        return _read(CpuScore, text, where)
    measured = _read(Measured, text, where)
    if measured.cpu is None:
        raise MeasuredFileError("there is no CPU score in it.", where=where)
    return measured.cpu


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MeasuredFileError(f"it cannot be read: {error}.", where=str(path)) from error


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MeasuredFileError(f"it is not JSON: {error}.", where=where) from error


def _read(kind: type[_Value], text: str, where: str) -> _Value:
    try:
        return value_from(kind, _parsed(text, where), where)
    except PlanError as error:
        raise MeasuredFileError(
            error.what,
            where=error.where if error.where.startswith(where) else where,
            remedy="`peaker measure` writes such a file.",
        ) from error
