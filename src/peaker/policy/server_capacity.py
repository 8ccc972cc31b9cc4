"""How much one server carries, learned from the running app: requests a second when requests begin to find no room.

A rate and not a number of requests at once, since requests at once grow faster than the load as a server fills up: at
half the load they would be less than half, and a server would be taken away that is needed.

Whoever wants the price of that work needs no more: what functions cost for a server's hour of work is this rate times
3,600 times what one request costs on a function. Is the rate learned too low, as it is from short bursts, the demand
in servers comes out too high and the price of each too low by the same factor: the dollars stay those that are paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from peaker.errors import StateError

FULL_SHARE = 0.02
"""From this share of requests that found no room on, servers count as full. Uneven connections make a few spill at
any load; those tell nothing."""

FULL_REQUESTS = 3
FULL_SHARE_SURE = 0.2
"""With this share the servers were full for most of the step, and what they held is what they hold."""

CALM_SHARE = 0.5
"""Below this share of a server's rate its requests do not slow each other down, so their time is the work's own."""

CALM_WEIGHT = 0.1
DRIFT_MAX = 8.0
PRIOR_UTILISATION = 0.7
"""What of slots and cores is used before requests begin to find none, until it has been seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What happened in one step.

    Attributes:
        span_s: how long it was.
        servers: ready servers, None where their number changed within the step.
        served: requests that servers answered.
        elsewhere: requests that servers had no room for: on functions, refused, or still waiting.
        busy_s: sum of the latencies of those served.
        cpu_s: CPU time of the workers.
        slots: of one server, all workers together; 0 where unknown.
        workers: of one server.
    """

    span_s: float
    servers: int | None
    served: int
    elsewhere: int
    busy_s: float = 0.0
    cpu_s: float = 0.0
    slots: int = 0
    workers: int = 1

    @property
    def requests(self) -> int:
        """All that came."""
        return self.served + self.elsewhere

    @property
    def share_elsewhere(self) -> float:
        """Of all requests, those that found no room."""
        return self.elsewhere / self.requests if self.requests else 0.0

    @property
    def is_full(self) -> bool:
        """Servers had no room for more than a few."""
        return self.elsewhere >= FULL_REQUESTS and self.share_elsewhere >= FULL_SHARE

    @property
    def held_per_s(self) -> float | None:
        """Requests a second of one server; None where nothing can be told."""
        return self.served / self.span_s / self.servers if self.servers and self.span_s > 0 and self.served else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What is known of one server.

    Attributes:
        learned_per_s: the rate it carries, 0 before it was ever seen full or told.
        full_steps: from how many steps with full servers that was learned.
        carried_per_s: the most it was seen to carry with room left.
        prior_per_s: what its slots and cores allow, by the work's own times.
        service_s: mean time of a request in calm steps, 0 before one.
        learned_service_s: the same when the rate was learned; work that has become heavier or lighter since moves it.
    """

    learned_per_s: float = 0.0
    full_steps: int = 0
    carried_per_s: float = 0.0
    prior_per_s: float = 0.0
    service_s: float = 0.0
    learned_service_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Requests a second that one server carries; 0 where nothing is known."""
        if not self.learned_per_s:
            return max(self.prior_per_s, self.carried_per_s)
        return self.learned_per_s * self._drift

    @property
    def source(self) -> str:
        """In words for a person: what the rate rests on."""
        if self.full_steps:
            return "seen when servers were full"
        if self.learned_per_s:
            return "measured by peaker measure"
        return "by slots, cores and times, no server was full yet" if self.per_s else "not known yet"

    @property
    def _drift(self) -> float:
        if not self.learned_service_s or not self.service_s:
            return 1.0
        return min(max(self.learned_service_s / self.service_s, 1 / DRIFT_MAX), DRIFT_MAX)

    def servers(self, requests_per_s: float) -> float | None:
        """A rate in servers' worth; None where nothing is known."""
        return requests_per_s / self.per_s if self.per_s else None

    def to_document(self) -> dict[str, float]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Capacity:
        """The reverse; raises StateError where a value is missing or no number from 0 on."""
        values = {}
        for field in fields(cls):
            value = document.get(field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
                raise StateError(f"saved capacity: {field.name} = {value!r} is no number from 0 on.")
            values[field.name] = value
        return cls(**values)  # type: ignore[arg-type]  # full_steps is whole, as it was written


def with_step(capacity: Capacity, load: Load) -> Capacity:
    """What is known after one more step.

    A step with full servers moves the rate towards what they held, the more the fuller they were. One that had room
    raises it to what was carried, if that is more.
    """
    held = load.held_per_s
    if held is None:
        return capacity
    if load.is_full:
        weight = 1.0 if not capacity.full_steps else min(1.0, load.share_elsewhere / FULL_SHARE_SURE)
        before = capacity.per_s if capacity.full_steps else held
        return replace(
            capacity,
            learned_per_s=before + weight * (held - before),
            full_steps=capacity.full_steps + 1,
            learned_service_s=capacity.service_s,
        )
    capacity = _with_times(capacity, load, held)
    if capacity.learned_per_s:
        if held > capacity.per_s:
            capacity = replace(capacity, learned_per_s=held, learned_service_s=capacity.service_s)
        return capacity
    return replace(capacity, carried_per_s=max(capacity.carried_per_s, held), prior_per_s=_prior_per_s(capacity, load))


def told(per_s: float) -> Capacity:
    """What `peaker measure` found out; it holds until servers were seen full."""
    return Capacity(learned_per_s=per_s)


def _with_times(capacity: Capacity, load: Load, held: float) -> Capacity:
    if capacity.per_s and held > CALM_SHARE * capacity.per_s and capacity.service_s:
        return capacity
    service_s = load.busy_s / load.served
    if capacity.service_s:
        service_s = capacity.service_s + CALM_WEIGHT * (service_s - capacity.service_s)
    learned_service_s = capacity.learned_service_s or (service_s if capacity.learned_per_s else 0.0)
    return replace(capacity, service_s=service_s, learned_service_s=learned_service_s)


def _prior_per_s(capacity: Capacity, load: Load) -> float:
    """Slots by the time a request holds one, cores by the CPU time it takes: the smaller, at the usual utilisation."""
    bounds = []
    if load.slots and capacity.service_s:
        bounds.append(load.slots / capacity.service_s)
    if load.cpu_s > 0:
        bounds.append(load.workers / (load.cpu_s / load.served))
    return PRIOR_UTILISATION * min(bounds) if bounds else 0.0
