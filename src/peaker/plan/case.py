"""What a plan is made for: the traffic, the work of a request, what it needs, the objective, and what may be chosen.

Each figure of the work says where it comes from, because a plan is as good as its weakest figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from peaker.plan.workload import check_quantiles, mean_of_quantiles, require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Origin(StrEnum):
    """Where a figure comes from, the surest first."""

    LOG = "from the log"
    MEASURED = "measured"
    GIVEN = "given"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the work; `note` says more about where it comes from."""

    value: float
    origin: Origin
    note: str = ""


@dataclass(frozen=True, slots=True)
class Times:
    """Times of one kind in seconds, as quantiles at evenly spaced probabilities from 0 to 1."""

    quantiles_s: tuple[float, ...]
    origin: Origin
    note: str = ""

    def __post_init__(self) -> None:
        check_quantiles("quantiles_s", self.quantiles_s)

    @property
    def mean_s(self) -> float:
        """Their mean."""
        return mean_of_quantiles(self.quantiles_s)

    def scaled(self, factor: float) -> Times:
        """All of them times a factor."""
        return Times(tuple(value * factor for value in self.quantiles_s), self.origin, self.note)


class Trigger(StrEnum):
    """What starts the work: somebody who waits for the answer, something that happened, or a long task."""

    REQUEST = "request"
    EVENT = "event"
    JOB = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of one request or event.

    Attributes:
        service: time on a server that does nothing else.
        cpu_share: the part of it that computes on a vCPU of the instance types compared; the rest waits for others.
        cold_start: what starting an instance of a function adds.
        worker_memory_mb, function_memory_mb: what a worker process, and an instance, need at least.
        response_bytes: mean size of an answer.
    """

    service: Times
    cpu_share: Figure
    cold_start: Times
    worker_memory_mb: Figure
    function_memory_mb: Figure
    response_bytes: Figure

    def __post_init__(self) -> None:
        require(self.service.mean_s > 0, "mean service time", self.service.mean_s, "above 0")
        require(0 < self.cpu_share.value <= 1, "cpu_share", self.cpu_share.value, "above 0, up to 1")
        require(self.worker_memory_mb.value > 0, "worker_memory_mb", self.worker_memory_mb.value, "above 0")
        require(
            128 <= self.function_memory_mb.value <= 10_240,
            "function_memory_mb",
            self.function_memory_mb.value,
            "within 128..10240",
        )
        require(self.response_bytes.value >= 0, "response_bytes", self.response_bytes.value, "0 or more")

    @property
    def cpu_s(self) -> float:
        """Mean CPU time of one request, in seconds of one vCPU."""
        return self.service.mean_s * self.cpu_share.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route's part in the work: its share of the requests, and the time of one of them on a server.

    `cpu_share` is the part of that time that computes, None for that of all; `may_leave` the servers as far as known.
    """

    pattern: str
    share: float
    service: Times
    cpu_share: Figure | None = None
    may_leave: bool = True

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"share of {self.pattern}", self.share, "above 0, up to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that all of them share, such as a database: how many connections it takes, and what each opens."""

    name: str
    connections_max: int
    per_worker: int = 1
    per_instance: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the work cannot do without; it decides what is possible before any sum.

    `longest_s` is the longest run that must come to its end; `connections` are WebSockets and streams without an end;
    `state` is kept in the process between requests; sizes are the largest in bytes. These are about all of the work.
    Where only a part of it needs servers, `servers_also_for` says which parts, a sentence each, and `spillable_share`
    is the share of the requests that may run on a function. `resources` are shared by workers and instances.
    """

    trigger: Trigger = Trigger.REQUEST
    longest_s: float = 0.0
    connections: bool = False
    state: bool = False
    request_bytes_max: float = 0.0
    response_bytes_max: float = 0.0
    servers_also_for: tuple[str, ...] = ()
    spillable_share: float = 1.0
    resources: tuple[Resource, ...] = ()

    def __post_init__(self) -> None:
        require(0 <= self.longest_s <= 31_536_000, "longest_s", self.longest_s, "within 0..31536000")
        require(0 <= self.spillable_share <= 1, "spillable_share", self.spillable_share, "within 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The share `percentile` of requests is answered within `latency_s`, and at most `refused_share_max` refused."""

    latency_s: float
    percentile: float = 0.95
    refused_share_max: float = 0.001

    def __post_init__(self) -> None:
        require(0 < self.latency_s <= 86_400, "latency_s", self.latency_s, "above 0, up to 86400")
        require(0.5 <= self.percentile < 1, "percentile", self.percentile, "within 0.5..1")
        require(0 <= self.refused_share_max < 1, "refused_share_max", self.refused_share_max, "within 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Hours a month that people spend on what an architecture needs, and what their hour costs; nothing by default."""

    servers_h: float = 0.0
    functions_h: float = 0.0
    usd_per_h: float = 0.0

    def __post_init__(self) -> None:
        for name in ("servers_h", "functions_h", "usd_per_h"):
            require(0 <= getattr(self, name) <= 10_000, name, getattr(self, name), "within 0..10000")


class Purchase(StrEnum):
    """How servers are bought. A commitment pays for those that always run; spot capacity may be taken away."""

    ON_DEMAND = "on demand"
    ONE_YEAR = "1 year"
    THREE_YEARS = "3 years"
    SPOT = "spot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What may be chosen from, and how careful the choice is.

    Attributes:
        instance_types: those tried; empty for all of the region of current families that fit.
        servers_min: how many servers there are always, where there are any.
        utilisation_max: CPU a server is filled to; above it, queueing for the core costs the objective.
        slots_per_worker_max: requests in flight that one event loop is trusted with.
        server_start_s, task_start_s: from the decision to the first request, for EC2 and for Fargate.
        keep_alive_s: how long an idle instance of a function stays; AWS does not promise any.
        invoke_overhead_s: what an invocation adds to the latency and not to the bill.
        concurrency_max: instances that the account allows.
        simpler_within: an architecture with fewer parts is recommended if it costs no more than this share above.
        purchase: how servers are bought, at the rates of the price table.
        commitment_discounts: share off the on-demand price for servers that always run, by name of the commitment.
        speed: how fast a vCPU of the instance types is, with that of the machine where times were taken as 1.
        speed_measured: within what it lies, where a benchmark told it.
    """

    region: str = "us-east-1"
    architecture: str = "arm64"
    instance_types: tuple[str, ...] = ()
    servers_min: int = 1
    utilisation_max: float = 0.7
    slots_per_worker_max: int = 64
    server_start_s: float = 90.0
    task_start_s: float = 60.0
    keep_alive_s: float = 300.0
    invoke_overhead_s: float = 0.008
    concurrency_max: int = 1000
    queue_wait_s_max: float = 10.0
    simpler_within: float = 0.05
    speed: float = 1.0
    speed_measured: tuple[float, float] | None = None
    free_tier: bool = False
    operations: Operations = field(default_factory=Operations)
    purchase: Purchase = Purchase.ON_DEMAND
    commitment_discounts: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        require(self.architecture in {"arm64", "x86_64"}, "architecture", self.architecture, "arm64 or x86_64")
        require(0 <= self.servers_min <= 1000, "servers_min", self.servers_min, "within 0..1000")
        require(0.05 <= self.utilisation_max <= 1, "utilisation_max", self.utilisation_max, "within 0.05..1")
        require(0.1 <= self.speed <= 10, "speed", self.speed, "within 0.1..10")
        require(0 <= self.simpler_within <= 1, "simpler_within", self.simpler_within, "within 0..1")
        for name, share in self.commitment_discounts:
            require(0 < share < 0.9, f"discount of {name}", share, "within 0..0.9")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One question. `counts` are requests by step of `step_s`, float64, nan where nothing was collected.

    `routes` are all of the requests by route where that is known, empty where it is not.
    """

    name: str
    counts: NDArray[np.float64]
    step_s: float
    work: Work
    needs: Needs
    objective: Objective
    choices: Choices
    routes: tuple[Route, ...] = ()
