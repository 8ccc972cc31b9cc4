"""What the simulation is given: the work, the servers, the functions and the rules. Imports no numpy, no numba."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from peaker.errors import PeakerError
from peaker.policy.placement import Placement

STARTS_PER_S = 100.0
STARTS_BURST = 1000
"""Lambda starts at most 1,000 instances of a function in 10 s, refilled continuously (AWS Lambda Developer Guide,
"Lambda scaling behavior")."""


class PlanError(PeakerError):
    """What the plan was asked to compute makes no sense."""

    exit_code = 2


def require(holds: bool, name: str, value: object, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Stop at a value that is out of range.

    Raises:
        PlanError: with name, value and allowed range.
    """
    if not holds:
        raise PlanError(f"{name} = {value} is not {allowed}.", where="plan")


def check_quantiles(name: str, quantiles: Sequence[float]) -> None:
    """Quantiles are finite, not negative and do not fall.

    Raises:
        PlanError: with the name and the first value that is wrong.
    """
    require(len(quantiles) >= 1, f"len({name})", len(quantiles), "1 or more")
    before = 0.0
    for index, value in enumerate(quantiles):
        require(math.isfinite(value) and value >= before, f"{name}[{index}]", value, f"finite and >= {before:g}")
        before = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The work of one request.

    Attributes:
        service_quantiles_s: time on a server that does nothing else, as quantiles at evenly spaced probabilities from
            0 to 1 (101 points are the percentiles); between them it is linear. One point is a constant.
        cpu_share: the part of that time that computes; the rest waits for others. 0 simulates slots alone; above it
            each worker has one core, for which its requests queue.
        cold_start_quantiles_s: what starting an instance adds, in the same form.
        memory_mb: of a function, for the bill.
        spillable_share: share of the requests that may run on a function at all.
    """

    service_quantiles_s: tuple[float, ...]
    cpu_share: float = 0.0
    cold_start_quantiles_s: tuple[float, ...] = (0.0,)
    memory_mb: int = 512
    spillable_share: float = 1.0

    def __post_init__(self) -> None:
        check_quantiles("service_quantiles_s", self.service_quantiles_s)
        check_quantiles("cold_start_quantiles_s", self.cold_start_quantiles_s)
        require(self.service_quantiles_s[-1] > 0, "service_quantiles_s[-1]", self.service_quantiles_s[-1], "> 0")
        require(0 <= self.cpu_share <= 1, "cpu_share", self.cpu_share, "within 0..1")
        require(128 <= self.memory_mb <= 10_240, "memory_mb", self.memory_mb, "within 128..10240")
        require(0 <= self.spillable_share <= 1, "spillable_share", self.spillable_share, "within 0..1")

    @property
    def service_mean_s(self) -> float:
        """Mean time on a server that does nothing else."""
        return mean_of_quantiles(self.service_quantiles_s)

    @property
    def service_deviation_s(self) -> float:
        """Standard deviation of that time."""
        return deviation_of_quantiles(self.service_quantiles_s)

    @property
    def cold_start_mean_s(self) -> float:
        """Mean time that starting an instance adds."""
        return mean_of_quantiles(self.cold_start_quantiles_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPool:
    """One server: `workers` processes with `slots` requests in flight each.

    `lag_s_max`: a worker whose core is behind by more takes no new request (only with a `cpu_share`).
    """

    slots: int
    workers: int = 1
    lag_s_max: float = 0.05

    def __post_init__(self) -> None:
        require(1 <= self.slots <= 100_000, "slots", self.slots, "within 1..100000")
        require(1 <= self.workers <= 1024, "workers", self.workers, "within 1..1024")
        require(self.lag_s_max > 0, "lag_s_max", self.lag_s_max, "> 0")

    @property
    def slots_per_server(self) -> int:
        """Requests in flight on one server."""
        return self.slots * self.workers


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionPool:
    """Instances, one request at a time each.

    Attributes:
        concurrency_max: instances at once.
        keep_alive_s: how long an idle instance stays.
        factor: time on a function over time on a server (`policy.estimate.cpu_stretch` tells it for computing).
        overhead_s: what an invocation adds to the latency and not to the bill.
        starts_per_s, starts_burst: a bucket of this size is filled at this rate; each start takes one.
    """

    concurrency_max: int = 1000
    keep_alive_s: float = 300.0
    factor: float = 1.0
    overhead_s: float = 0.0
    starts_per_s: float = STARTS_PER_S
    starts_burst: int = STARTS_BURST

    def __post_init__(self) -> None:
        require(0 <= self.concurrency_max <= 1_000_000, "concurrency_max", self.concurrency_max, "within 0..1000000")
        require(self.keep_alive_s >= 0, "keep_alive_s", self.keep_alive_s, ">= 0")
        require(0 < self.factor < math.inf, "factor", self.factor, "> 0")
        require(0 <= self.overhead_s < math.inf, "overhead_s", self.overhead_s, ">= 0")
        require(0 <= self.starts_per_s < math.inf, "starts_per_s", self.starts_per_s, ">= 0")
        require(0 <= self.starts_burst < 2**31, "starts_burst", self.starts_burst, ">= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the gate is told, by the names of the settings: `queue_max` is of one worker.

    `spill = False` is servers only; `placement = FUNCTIONS` is functions only, whatever servers there are.
    """

    objective_s: float
    queue_max: int = 100
    queue_wait_s_max: float = 10.0
    spill: bool = True
    placement: Placement = Placement.HYBRID

    def __post_init__(self) -> None:
        require(self.objective_s > 0, "objective_s", self.objective_s, "> 0")
        require(0 <= self.queue_max <= 1_000_000, "queue_max", self.queue_max, "within 0..1000000")
        require(0 <= self.queue_wait_s_max < math.inf, "queue_wait_s_max", self.queue_wait_s_max, ">= 0")


Spacing = Literal["poisson", "even"]
"""How the requests of one step lie in it: by chance, each independent of the others, or equally far apart."""


def mean_of_quantiles(quantiles: Sequence[float]) -> float:
    """Mean of a distribution that is linear between evenly spaced quantiles: the trapezoidal rule."""
    if len(quantiles) == 1:
        return float(quantiles[0])
    return (math.fsum(quantiles) - (quantiles[0] + quantiles[-1]) / 2) / (len(quantiles) - 1)


def deviation_of_quantiles(quantiles: Sequence[float]) -> float:
    """Standard deviation of the same: E[x^2] of a linear piece from a to b is (a^2 + ab + b^2) / 3."""
    if len(quantiles) == 1:
        return 0.0
    pieces = itertools.pairwise(quantiles)
    square = math.fsum((low * low + low * high + high * high) / 3 for low, high in pieces) / (len(quantiles) - 1)
    return math.sqrt(max(0.0, square - mean_of_quantiles(quantiles) ** 2))


def quantiles_of(samples: Iterable[float], points: int = 101) -> tuple[float, ...]:
    """Evenly spaced quantiles of samples, smallest and largest included, linear between order statistics.

    Raises:
        PlanError: there are no samples, or a sample is negative or not finite.
    """
    ordered = sorted(samples)
    require(points >= 2, "points", points, "2 or more")
    require(bool(ordered), "samples", 0, "1 or more")
    last = len(ordered) - 1
    places = [last * index / (points - 1) for index in range(points)]
    quantiles = tuple(
        ordered[int(at)] + (ordered[min(int(at) + 1, last)] - ordered[int(at)]) * (at - int(at)) for at in places
    )
    check_quantiles("samples", quantiles)
    return quantiles


def exponential_quantiles(mean_s: float, points: int = 4097) -> tuple[float, ...]:
    """An exponential distribution as quantiles; the last one is set so that the mean is exact.

    The pieces between -mean * ln(1 - p) overrate each piece's mean a little, all in all by less than 1e-3 with 4,097
    points; the last point, which stands for an infinite tail, takes that up.
    """
    require(mean_s > 0, "mean_s", mean_s, "> 0")
    require(points >= 3, "points", points, "3 or more")
    pieces = points - 1
    inner = [-mean_s * math.log1p(-index / pieces) for index in range(pieces)]
    last = 2 * (mean_s * pieces - math.fsum(inner) + inner[0] / 2)
    return (*inner, max(last, inner[-1]))
