"""The plan: a frozen value that says what runs where, what it costs and how fast it is, and why.

It can be saved, loaded, compared with another and replayed. Everything in it is plain: numbers, sentences, tuples.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from peaker.errors import PlanFileError
from peaker.plan.json_values import value_from
from peaker.plan.workload import PlanError

FORMAT = 1
"""Of the file; a later Peaker reads earlier ones."""


class Architecture(StrEnum):
    """Where the code runs."""

    SERVERS = "servers"
    FUNCTIONS = "functions"
    HYBRID = "hybrid"


class Kind(StrEnum):
    """The candidates, those with fewer parts first."""

    FUNCTIONS = "functions"
    SERVERS_FIXED = "servers for the peak"
    TASKS_FIXED = "Fargate for the peak"
    PROVISIONED = "functions, provisioned"
    SERVERS_SCALED = "servers, auto scaled"
    TASKS_SCALED = "Fargate, auto scaled"
    MANAGED = "functions on managed instances"
    HYBRID_FIXED = "hybrid, fixed baseline"
    HYBRID_BY_ROUTE = "hybrid, some routes on functions"
    HYBRID_CONTROLLED = "hybrid, controlled baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """One line of a month's bill."""

    item: str
    quantity: float
    unit: str
    usd: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Servers over time; `ready` are their counts at evenly spaced moments of the trace, for pictures and replay."""

    size: str
    usd_per_hour: float
    slots: int
    requests_per_s: float
    least: int
    mean: float
    most: int
    ready: tuple[int, ...] = ()
    workers: int = 1

    @property
    def slots_per_worker(self) -> int:
        """`slots` are those of all workers of a server."""
        return max(1, self.slots // self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One architecture on this traffic. Shares are of all requests; times in milliseconds; dollars a month.

    `breaks` says which needs or objectives it does not meet, a sentence each; with any, it is not recommended.
    `simulated` requests were looked at one by one for the times. `function_routes` never run on servers.
    """

    kind: Kind
    architecture: Architecture
    title: str
    usd_per_month: float
    bill: tuple[PlanLine, ...]
    servers: Servers | None
    memory_mb: int
    front: str
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    objective_share: float
    spilled_share: float
    refused_share: float
    cold_share: float
    utilisation: float
    simulated: int
    breaks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    function_routes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it meets every need and the objective."""
        return not self.breaks


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFigure:
    """A figure the plan rests on, as a person reads it, and where it comes from."""

    name: str
    value: str
    origin: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A stretch of the traffic: mean and highest requests a second, for pictures."""

    start_s: float
    mean_per_s: float
    peak_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Load-duration: the load is at or above `requests_per_s` for `share` of the time."""

    share: float
    requests_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CountCost:
    """What a hybrid with this many fixed servers costs a month: its servers, and the functions above them."""

    servers: int
    servers_usd: float
    functions_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Where the answer changes: `factor` on one figure at which `instead` becomes the answer; None if at no factor."""

    figure: str
    now: str
    factor: float | None
    instead: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedWith:
    """The numbers that all candidates were simulated with, so that a saved plan can be simulated again.

    Times in seconds as taken from the log or measured, distributions as quantiles at even probabilities; `speed` is
    that of the instance types' cores over the core where times were taken.
    """

    service_s: tuple[float, ...]
    cpu_share: float
    cold_start_s: tuple[float, ...]
    spillable_share: float
    speed: float
    queue_wait_s_max: float
    keep_alive_s: float
    invoke_overhead_s: float
    concurrency_max: int
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole answer; `recommended` is the index of a candidate, None where none meets the objective.

    `optimum_usd_per_month` is what servers and functions would cost at the least if all of the traffic were known
    beforehand, without front, disks, data out and CPU above a burstable share; 0 where there are no servers.
    """

    name: str
    made_by: str
    region: str
    prices_published: str
    requests: int
    hours: float
    step_s: float
    start: str
    objective_ms: float
    percentile: float
    figures: tuple[NamedFigure, ...]
    candidates: tuple[Candidate, ...]
    recommended: int | None
    reasons: tuple[str, ...]
    turns: tuple[Turn, ...]
    sureness: tuple[str, ...]
    left_out: tuple[str, ...]
    traffic: tuple[Moment, ...]
    curve: tuple[CurvePoint, ...]
    count_costs: tuple[CountCost, ...]
    optimum_usd_per_month: float = 0.0
    simulated_with: SimulatedWith | None = None
    format: int = FORMAT

    @property
    def answer(self) -> Candidate | None:
        """The recommended candidate."""
        return None if self.recommended is None else self.candidates[self.recommended]


def to_json(plan: Plan) -> str:
    """The plan as indented JSON; `from_json` gives an equal plan."""
    return json.dumps(dataclasses.asdict(plan), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, where: str = "plan") -> Plan:
    """The plan in a JSON text.

    Raises:
        PlanFileError: it is no plan, or one of a later format; says which member is wrong.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise PlanFileError(f"it is not JSON: {error}.", where=where) from error
    if not isinstance(raw, dict) or "format" not in raw:
        raise PlanFileError("it is no plan.", where=where, remedy="`peaker plan LOG --save FILE` writes one.")
    if raw["format"] != FORMAT:
        raise PlanFileError(
            f"format = {raw['format']!r} is not allowed; allowed: {FORMAT}.",
            where=where,
            remedy="A newer Peaker wrote it; update this one.",
        )
    try:
        return value_from(Plan, raw, where)
    except PlanError as error:
        raise PlanFileError(error.what, where=error.where) from error


def load_plan(path: Path) -> Plan:
    """Read a saved plan; raises PlanFileError as `from_json`."""
    try:
        return from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFileError(f"the plan cannot be read: {error}.", where=str(path)) from error
