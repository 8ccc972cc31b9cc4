"""What one step of the running app showed: the work that came, the servers there were, and what functions cost.

Counts are read from the tables that workers and function host write, servers from the fleet. A step of which something
is missing (the first one, one that came late, one with tables made anew) has no load; the next one has its own again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peaker.app import WEB_FUNCTION
from peaker.clock import Clock
from peaker.engines.local.cost import functions_usd
from peaker.engines.local.state_dir import read_run
from peaker.errors import CapacityUnavailable
from peaker.gate.slots import WorkerStatus
from peaker.interfaces import Fleet, Server, ServerStatus
from peaker.meter.counterfactual import latency_sum_s
from peaker.meter.function_usage import Caller, read_functions
from peaker.meter.price import Prices
from peaker.meter.usage import Ran, Usage, read_usage
from peaker.policy.estimate import cpu_stretch
from peaker.policy.server_capacity import Load
from peaker.policy.step_time import STEPS_LATE_MAX
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory
from peaker.units import billed_ms

STARTED_S_MAX = 600.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """Cumulative figures at one moment."""

    now_s: float
    usage: Usage
    functions_usd: float
    functions_requests: int
    waiting: int
    ready: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One step.

    Attributes:
        now_s: of the clock that never goes back; `epoch_s` of the calendar.
        span_s: how long the step was.
        load: what happened, None where `missing` says why nothing is known.
        ready, starting: servers; of the last time where the fleet did not answer, which `fleet_error` tells.
        asked: servers that were asked for.
        functions_usd, functions_requests: what functions ran for the web app.
        request_usd_guess: what a request would cost on a function, by its times on servers; None without requests.
    """

    now_s: float
    epoch_s: float
    span_s: float
    load: Load | None
    missing: str
    ready: int
    starting: int
    asked: int
    fleet_error: str = ""
    functions_usd: float = 0.0
    functions_requests: int = 0
    request_usd_guess: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The shared tables of a run, opened for reading, and the prices of what they count."""

    slots: SharedTable
    usage: SharedTable
    functions: SharedTable
    prices: Prices


class Observer:
    """Looks once a step; keeps the last reading, so that a step is what came between two."""

    def __init__(self, state: StateDirectory, settings: Settings, tables: Tables, fleet: Fleet, clock: Clock) -> None:
        self._state = state
        self._settings = settings
        self._prices = tables.prices
        self._tables = tables
        self._fleet = fleet
        self._clock = clock
        self._web = f"{settings.app.name}-{WEB_FUNCTION}"
        self._before: _Reading | None = None
        self._ready, self._starting = 0, 0

    async def observe(self) -> Observation:
        """What came since the last call.

        Raises:
            StateError: run.json cannot be read.
        """
        error, ready = "", None
        try:
            servers = await self._fleet.servers()
        except CapacityUnavailable as unavailable:
            error = str(unavailable)
        else:
            ready = _count(servers, ServerStatus.READY)
            self._ready, self._starting = ready, _count(servers, ServerStatus.STARTING, ServerStatus.FAILED)
        now, before = self._read(None if self._starting else ready), self._before
        self._before = now
        span_s = now.now_s - before.now_s if before is not None else 0.0
        missing = self._missing(before, span_s)
        load = None if before is None or missing else self._load(before, now, span_s)
        return Observation(
            now_s=now.now_s,
            epoch_s=self._clock.epoch_s(),
            span_s=span_s,
            load=load,
            missing=missing,
            ready=self._ready,
            starting=self._starting,
            asked=self._asked(),
            fleet_error=error,
            functions_usd=now.functions_usd - before.functions_usd if before is not None else 0.0,
            functions_requests=now.functions_requests - before.functions_requests if before is not None else 0,
            request_usd_guess=self._guess_usd(load),
        )

    def _missing(self, before: _Reading | None, span_s: float) -> str:
        if before is None:
            return "nothing was read before"
        every_s = self._settings.servers.decide_every_s
        if span_s > STEPS_LATE_MAX * every_s:
            return f"the last look was {span_s:.1f} s ago instead of {every_s:g} s"
        return "" if span_s > 0 else "no time has passed"

    def _asked(self) -> int:
        record = read_run(self._state)
        return record.servers if record is not None else self._ready + self._starting

    def _read(self, ready: int | None) -> _Reading:
        slots, usage = self._tables.slots, read_usage(self._tables.usage)
        if self._settings.functions.arn:
            usd, requests = usage.counters["spend_microusd"] / 1e6, usage.counters["on_function"]
        else:
            web = [
                one
                for one in read_functions(self._tables.functions)
                if one.caller is Caller.GATE and one.name == self._web
            ]
            usd, requests = functions_usd(web, self._prices), sum(one.invocations for one in web)
        return _Reading(
            now_s=self._clock.now_s(),
            usage=usage,
            functions_usd=usd,
            functions_requests=requests,
            waiting=sum(slots.get(row, "waiting") for row in _ready_rows(slots)),
            ready=ready,
        )

    def _load(self, before: _Reading, now: _Reading, span_s: float) -> Load:
        since = now.usage - before.usage
        counters, slots = since.counters, self._tables.slots
        rows, ready = _ready_rows(slots), max(1, self._ready)
        is_unchanged = now.ready is not None and now.ready == before.ready
        return Load(
            span_s=span_s,
            servers=now.ready if is_unchanged else None,
            served=counters["on_server"] + counters["on_sibling"],
            elsewhere=counters["spilled"] + counters["refused"] + max(0, now.waiting - before.waiting),
            busy_s=sum(latency_sum_s(since.histograms[ran]) for ran in (Ran.SERVER, Ran.SIBLING)),
            cpu_s=counters["cpu_us"] / 1e6,
            slots=sum(slots.get(row, "slots") for row in rows) // ready,
            workers=max(1, len(rows) // ready),
        )

    def _guess_usd(self, load: Load | None) -> float | None:
        """CPU time as long as it takes on the function, and what the request waits besides."""
        if load is None or not load.served:
            return None
        functions = self._settings.functions
        is_lambda = functions.like == "lambda" or bool(functions.arn)
        cpu_s, latency_s = load.cpu_s / load.served, load.busy_s / load.served
        busy_s = min(cpu_s, latency_s)
        run_s = busy_s * (cpu_stretch(functions.memory_mb) if is_lambda else 1.0) + latency_s - busy_s
        return self._prices.run_microusd(billed_ms(run_s), functions.memory_mb) / 1e6


class StartTimes:
    """How long servers take from being asked for until they are ready, by looking every now and then."""

    def __init__(self) -> None:
        self._began_s: dict[str, float] = {}
        self._known: set[str] = set()
        self._asked_s: float | None = None
        self._is_first = True

    @property
    def is_under_way(self) -> bool:
        """Some server starts, or was asked for and has not been seen yet."""
        return bool(self._began_s) or self._asked_s is not None

    def asked(self, now_s: float) -> None:
        """More servers were asked for."""
        self._asked_s = now_s

    def see(self, servers: Sequence[Server], *, now_s: float, epoch_s: float) -> list[float]:
        """Seconds that each server took that is ready for the first time; those of before tell nothing."""
        took, names = [], {server.name for server in servers}
        self._known &= names
        self._began_s = {name: began_s for name, began_s in self._began_s.items() if name in names}
        if self._asked_s is not None and now_s - self._asked_s > STARTED_S_MAX:
            self._asked_s = None
        for server in servers:
            if server.name in self._known:
                continue
            is_new = server.name not in self._began_s
            if server.status is ServerStatus.READY:
                self._known.add(server.name)
                began_s = self._began_s.pop(server.name, None if self._is_first else self._asked_s)
                if began_s is not None:
                    took.append(now_s - began_s)
            elif server.status is ServerStatus.STARTING and is_new:
                # Its own start time where nobody saw it asked for; within limits, for that is of another clock.
                age_s = min(max(epoch_s - server.started_at_s, 0.0), STARTED_S_MAX)
                self._began_s[server.name] = self._asked_s if self._asked_s is not None else now_s - age_s
        if self._asked_s is not None and took and not self._began_s:
            self._asked_s = None
        self._is_first = False
        return took


def _count(servers: Sequence[Server], *statuses: ServerStatus) -> int:
    return sum(server.status in statuses for server in servers)


def _ready_rows(slots: SharedTable) -> list[int]:
    return [row for row in range(slots.rows) if slots.get(row, "status") == WorkerStatus.READY]
