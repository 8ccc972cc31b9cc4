"""Servers of a world: they start, serve, drain and die; how many there are is what the policy of the baseline says."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from peaker.meter.price import Prices
from peaker.plan.workload import mean_of_quantiles
from peaker.policy.baseline import Baseline, Bounds, Economics, Seen, make_baseline
from peaker.policy.server_capacity import Capacity, Load, told, with_step
from peaker.policy.steering import Situation, steer
from peaker.simulate.case import Case, Scaling
from peaker.simulate.journal import Journal
from peaker.simulate.virtual_loop import VirtualHandle, VirtualLoop
from peaker.simulate.worker import Client, Place, Worker
from peaker.units import billed_ms


@dataclass(slots=True)
class Server:
    """One server, paid for from the moment it is asked for until it is gone."""

    number: int
    since_s: float
    workers: list[Worker] = field(default_factory=list[Worker])
    starting: VirtualHandle | None = None
    is_draining: bool = False

    @property
    def is_ready(self) -> bool:
        """It serves and takes new requests."""
        return self.starting is None and not self.is_draining


class Fleet:
    """All servers. `on_lost` hears of clients whose requests were in a worker that died."""

    def __init__(
        self, case: Case, place: Place, journal: Journal, chance: random.Random, on_lost: Callable[[Client], None]
    ) -> None:
        self._case = case
        self._place = place
        self._loop: VirtualLoop = place.loop
        self._journal = journal
        self._chance = chance
        self._on_lost = on_lost
        self._numbers = itertools.count()
        self._servers: list[Server] = []
        self._draining: dict[asyncio.Task[None], None] = {}
        self._paid_s = 0.0
        self.ready: list[Worker] = []
        """Workers that take new requests."""
        self.changes: list[tuple[float, int]] = []
        """When the number of servers that are ready changed, and to what."""

    def begin(self, servers: int) -> None:
        """So many are there from the start."""
        for _ in range(servers):
            self._ready(self._new())

    @property
    def asked_for(self) -> int:
        """Servers that are ready or starting."""
        return sum(not server.is_draining for server in self._servers)

    @property
    def ready_servers(self) -> int:
        """Servers that take new requests."""
        return sum(server.is_ready for server in self._servers)

    def set_count(self, servers: int) -> None:
        """Start what is missing; of too many the youngest end, those that still start first."""
        while self.asked_for < servers:
            server = self._new()
            server.starting = self._loop.call_later(self._case.server_start_s, self._ready, server)
            self._write(f"server {server.number} starts")
        surplus = self.asked_for - servers
        candidates = [server for server in self._servers if not server.is_draining]
        candidates.sort(key=lambda server: (server.starting is not None, server.number))
        for server in candidates[len(candidates) - surplus :] if surplus > 0 else []:
            self._end(server)

    def kill_oldest(self) -> None:
        """All its workers die at once; another is started in its place, as the supervisor does."""
        victims = [server for server in self._servers if server.starting is None and not server.is_draining]
        if not victims:
            return
        victim = victims[0]
        self._write(f"server {victim.number} dies")
        for worker in victim.workers:
            for client in worker.die():
                self._on_lost(client)
        self._gone(victim)
        replacement = self._new()
        replacement.starting = self._loop.call_later(self._case.server_start_s, self._ready, replacement)

    def paid_s(self, until_s: float) -> float:
        """Server seconds up to a moment, those still there included."""
        return self._paid_s + sum(max(0.0, until_s - server.since_s) for server in self._servers)

    async def end(self) -> None:
        """Drain all."""
        for server in list(self._servers):
            if not server.is_draining:
                self._end(server)
        while self._draining:
            await asyncio.wait(self._draining)

    def _new(self) -> Server:
        server = Server(next(self._numbers), self._loop.now_s())
        self._servers.append(server)
        return server

    def _ready(self, server: Server) -> None:
        server.starting = None
        for _ in range(self._case.pool.workers):
            row = next(row for row in itertools.count() if row not in self._place.workers)
            server.workers.append(Worker(self._place, row, server.number, random.Random(self._chance.random())))  # noqa: S311
        self._changed()
        self._write(f"server {server.number} is ready")

    def _end(self, server: Server) -> None:
        if server.starting is not None:
            server.starting.cancel()
            self._gone(server)
            return
        server.is_draining = True
        self._write(f"server {server.number} drains")
        self._changed()
        task = self._loop.create_task(self._drain(server))
        self._draining[task] = None
        task.add_done_callback(self._draining.pop)

    async def _drain(self, server: Server) -> None:
        for worker in server.workers:
            await worker.drain()
        self._gone(server)

    def _gone(self, server: Server) -> None:
        self._servers.remove(server)
        self._paid_s += self._loop.now_s() - server.since_s
        self._changed()

    def _changed(self) -> None:
        self.ready = [worker for server in self._servers if server.is_ready for worker in server.workers]
        self.changes.append((self._loop.now_s(), self.ready_servers))

    def _write(self, what: str) -> None:
        self._journal.write(f"{self._loop.now_s():.6f} {what}")


@dataclass(slots=True)
class Counted:
    """What the clients of one step came to."""

    served: int = 0
    elsewhere: int = 0
    busy_s: float = 0.0


class Steering:
    """The policy of the baseline over one fleet: sees a step, decides, asks for servers."""

    def __init__(self, case: Case, scaling: Scaling, fleet: Fleet, prices: Prices, loop: VirtualLoop) -> None:
        self._case, self._scaling, self._fleet, self._loop = case, scaling, fleet, loop
        self._prices = prices
        self.capacity: Capacity = told(case.pool.slots_per_server * 0.8 / case.workload.service_mean_s)
        self._baseline: Baseline = make_baseline(
            scaling.policy,
            self._economics(),
            Bounds(servers_min=scaling.servers_min, servers_max=scaling.servers_max),
        )
        self._late: float | None = None
        self._recent: list[float] = []
        self._added_s: float | None = None
        self._removed_s: float | None = None
        self._ready_before = fleet.ready_servers

    def step(self, counted: Counted, *, is_blind: bool, is_late: bool, functions_may_run: bool) -> str:
        """One step has ended; returns what was decided, for the journal."""
        demand = self._demand(counted)
        if is_late:
            demand, self._late = self._late, demand
        if is_blind:
            demand = None
        scaling, fleet, now_s = self._scaling, self._fleet, self._loop.now_s()
        if demand is not None:
            self._recent = [*self._recent[-5:], demand]
        ready, asked_for = fleet.ready_servers, fleet.asked_for
        decision = self._baseline.decide(
            Seen(
                now_s=self._loop.epoch_s(),
                demand_servers=demand,
                servers_ready=ready,
                servers_starting=max(0, asked_for - ready),
            )
        )
        steered = steer(
            decision.servers,
            Situation(
                now_s=now_s,
                servers=asked_for,
                servers_min=scaling.servers_min,
                servers_max=scaling.servers_max,
                demand_servers=max(self._recent, default=None),
                functions_may_run=functions_may_run,
                added_s=self._added_s,
                removed_s=self._removed_s,
                start_s=self._case.server_start_s,
                stay_s=scaling.stay_s,
            ),
        )
        if steered.servers > asked_for:
            self._added_s = now_s
        elif steered.servers < asked_for:
            self._removed_s = now_s
        fleet.set_count(steered.servers)
        seen = "none" if demand is None else f"{demand:.4f}"
        return f"demand {seen} ready {ready} wanted {decision.servers} asked {steered.servers} {steered.held_by.value}"

    def _demand(self, counted: Counted) -> float | None:
        ready = self._fleet.ready_servers
        unchanged = ready if ready == self._ready_before else None
        self._ready_before = ready
        load = Load(
            span_s=self._scaling.decide_every_s,
            servers=unchanged,
            served=counted.served,
            elsewhere=counted.elsewhere,
            busy_s=counted.busy_s,
            slots=self._case.pool.slots_per_server,
            workers=self._case.pool.workers,
        )
        self.capacity = with_step(self.capacity, load)
        self._baseline.reprice(self._economics())
        return self.capacity.servers(load.requests / load.span_s)

    def _economics(self) -> Economics:
        """Prices of the work that one server carries, which is a rate times what one request costs on a function."""
        work, prices = self._case.workload, self._prices
        run_s = mean_of_quantiles(work.service_quantiles_s) * self._case.functions.factor
        usd = prices.run_microusd(billed_ms(run_s), work.memory_mb) / 1e6
        return Economics(
            server_usd_per_hour=prices.server.usd_per_hour,
            function_usd_per_server_hour=max(1e-9, usd * self.capacity.per_s * 3600),
            server_start_s=self._case.server_start_s,
            step_s=self._scaling.decide_every_s,
        )
