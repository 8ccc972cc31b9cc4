"""A prediction as a frozen value: what was given, what came out of it, and between which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from peaker.plan.workload import check_quantiles, require
from peaker.policy.placement import Placement
from peaker.simulate.measures import Measures
from peaker.simulate.saved import FORMAT, load_document, read_value
from peaker.traffic.sent import Sent

KIND = "prediction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Every number that a prediction rests on; times in seconds, distributions as quantiles at even probabilities.

    Attributes:
        service_s: of a request on a server that does nothing else.
        cpu_share: the part of it that computes; 0 where it is not known, and then nobody queues for a core.
        function_factor: the billed run on a function over the time on a server; `function_overhead_s` comes on top of
            its latency and is not billed.
        cold_start_s: what starting an instance adds.
        spillable_share: of the requests that may run on functions at all.
        servers: how many are ready; several numbers are spread evenly over the traffic.
        workers, slots: of one server, and of one worker.
        placement: where requests may run, a value of `policy.placement.Placement`.
        starts_per_s, starts_burst: how quickly instances may be started.
        like: "local" or "lambda": what the gate expects of a start before it has seen one.
        learns_keep_alive: `keep_alive_s` holds only until idle times have shown what is cheaper.
        client_s: what a replay's own timers add to each latency that it measures.
        server_usd_per_hour, request_usd, gb_second_usd: list prices.
    """

    service_s: tuple[float, ...]
    cpu_share: float
    function_factor: float
    function_overhead_s: float
    cold_start_s: tuple[float, ...]
    memory_mb: int
    spillable_share: float
    servers: tuple[int, ...]
    workers: int
    slots: int
    lag_s_max: float
    queue_max: int
    queue_wait_s_max: float
    objective_s: float
    placement: str
    concurrency_max: int
    keep_alive_s: float
    starts_per_s: float
    starts_burst: int
    like: str
    learns_keep_alive: bool
    client_s: float
    server_usd_per_hour: float
    request_usd: float
    gb_second_usd: float

    def __post_init__(self) -> None:
        check_quantiles("service_s", self.service_s)
        check_quantiles("cold_start_s", self.cold_start_s)
        require(self.placement in {each.value for each in Placement}, "placement", self.placement, "a placement")
        require(bool(self.servers) and min(self.servers) >= 0, "servers", self.servers, "one count or more, each >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input for a person: its name, its value in words, and where it comes from."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One prediction: `expected` are medians of `runs` simulations, `low` and `high` their least and most.

    `of` says what was simulated, `seed` is that of the first run, `made_at` is ISO 8601.
    """

    of: str
    made_by: str
    made_at: str
    traffic: Sent
    model: Model
    inputs: tuple[Input, ...]
    simulator: str
    seed: int
    runs: int
    expected: Measures
    low: Measures
    high: Measures
    notes: tuple[str, ...] = ()
    kind: str = KIND
    format: int = FORMAT


def load_prediction(path: Path) -> Prediction:
    """Read a saved prediction; raises ProofFileError."""
    return read_value(Prediction, KIND, load_document(path), str(path))
