"""The production gate, hand-over, pool, keep-alive, spend leases and baseline policy on a virtual clock.

    ran = run_world(case, seed=7)
    ran.outcome.measures.latency_p95_ms

Simulated is only what surrounds them: clients, an app that takes time, instances that take time, servers that start.
All chance comes from the seed, so the same case and seed write the same journal, and a run that fails is told by them.
"""

from __future__ import annotations

import asyncio
import math
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peaker.app import WEB_FUNCTION, FunctionSpec
from peaker.gate.slots import create_slot_table
from peaker.meter.function_usage import FunctionMeter, create_function_table, read_functions
from peaker.meter.price import prices_of
from peaker.meter.usage import create_usage_table
from peaker.policy.learned_keep_alive import LearnedKeepAlive, Levels
from peaker.policy.lease import Holding, Ledger, count_spend, is_used_up, share_out
from peaker.simulate.case import Case, Drawn, Fault, FaultKind
from peaker.simulate.fleet import Counted, Fleet, Steering
from peaker.simulate.functions import WorldFunctions
from peaker.simulate.journal import Journal
from peaker.simulate.measures import Measures
from peaker.simulate.virtual_loop import VirtualLoop
from peaker.simulate.worker import Client, Place

DAY_S = 86_400
SPEND_TICK_S = 1.0

SERVER, SIBLING, FUNCTION, REFUSED, FAILED = range(5)
WHERE = ("server", "sibling", "function", "refused", "failed")
"""Where a request had its end: its worker, a sibling, a function, a 503, or with the worker that had it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One request: when it was sent, what it took, and where it had its end (a place in WHERE)."""

    sent_s: float
    latency_s: float
    where: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to.

    Attributes:
        requests: all that were sent.
        ends: how many had each end, in the order of WHERE.
        within_objective: answered and not late.
        measures: percentiles, shares and costs, as a prediction has them.
        spent_usd: on functions.
        servers: what was ready, by the moment of each change.
        instances: alive at the end.
    """

    requests: int
    ends: tuple[int, ...]
    within_objective: int
    measures: Measures
    spent_usd: float
    servers: tuple[tuple[float, int], ...]
    asked_for: tuple[tuple[float, int], ...]
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run: its outcome, its journal, and every request in the order of their ends."""

    outcome: Outcome
    journal: bytes
    digest: str
    requests: tuple[Ended, ...]
    billed: tuple[tuple[float, float, int], ...]
    """Once a second: the moment, the calendar's moment, and the microdollars that functions were billed for so far."""
    errors: tuple[str, ...]
    """What nobody caught; a run is right only without any."""


def run_world(case: Case, *, seed: int, keep_journal: bool = True) -> Ran:
    """Run one world from its first request until everything has come to rest."""
    with tempfile.TemporaryDirectory(prefix="peaker-world-") as directory:
        loop = VirtualLoop()
        errors: list[str] = []

        def caught(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            errors.append(f"{context['message']}: {type(error).__name__}: {error}")

        loop.set_exception_handler(caught)

        async def main() -> World:
            world = World(case, seed, loop, Path(directory), Journal(keep=keep_journal))
            await world.run()
            return world

        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            world = runner.run(main())
            return world.result(tuple(errors))


class World:
    """One world, to be run once."""

    def __init__(self, case: Case, seed: int, loop: VirtualLoop, directory: Path, journal: Journal) -> None:
        self._case, self._loop, self._journal = case, loop, journal
        chance = {name: random.Random(f"{seed}/{name}") for name in ("arrivals", "work", "starts", "workers", "fleet")}  # noqa: S311
        self._arrivals = chance["arrivals"]
        self._choice = chance["workers"].random
        settings = case.settings()
        rows = case.servers_max * case.pool.workers * 2 + 2  # Those that drain are there beside those that came.
        self._slots = create_slot_table(directory / "slots.table", rows)
        self._usage = create_usage_table(directory / "usage.table", rows)
        self._function_table = create_function_table(directory / "functions.table", 2)
        self._prices = prices_of(settings)
        self._limit_microusd = None if case.spend_usd_per_day_max is None else round(case.spend_usd_per_day_max * 1e6)
        self._ledger = Ledger()
        self._billed: list[tuple[float, float, int]] = []
        service_s = Drawn(case.workload.service_quantiles_s, chance["work"].random)
        self.functions = self._make_functions(service_s, chance["starts"], directory / "functions.table")
        self._place = Place(
            loop=loop,
            settings=settings,
            slots=self._slots,
            usage=self._usage,
            functions=self.functions if case.functions.concurrency_max else None,
            service_s=service_s,
            cpu_share=case.workload.cpu_share,
            workers={},
        )
        self.fleet = Fleet(case, self._place, journal, chance["fleet"], self._lost)
        self._counted = Counted()
        self._ended: list[Ended] = []
        self._sent = 0
        self._under_way = 0
        self._at_rest: asyncio.Future[None] = loop.create_future()
        self._step = 0
        self._times: list[float] = []
        self._next = 0
        self._blind = self._late = self._away = 0
        self._throttles: list[float] = []
        self._steering: Steering | None = None
        self._asked_for: list[tuple[float, int]] = []
        self._paid_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def _make_functions(self, service_s: Drawn, chance: random.Random, table: Path) -> WorldFunctions:
        case = self._case
        spec = FunctionSpec(
            name=f"app-{WEB_FUNCTION}",
            target="",
            web=True,
            memory_mb=case.workload.memory_mb,
            timeout_s=900.0,
            concurrency_max=max(1, case.functions.concurrency_max),
            keep_alive_s=case.functions.keep_alive_s,
            buffer=0,
            is_keep_alive_learned=case.learned_keep_alive,
        )
        factor = case.functions.factor
        levels = Levels()  # Kept in a file by the host: a new one goes on with it.
        return WorldFunctions(
            spec,
            case.functions,
            loop=self._loop,
            run_s=service_s if factor == 1.0 else lambda: service_s() * factor,
            start_s=Drawn(case.workload.cold_start_quantiles_s, chance.random),
            meter=FunctionMeter(table, "arm64"),
            learned=lambda: LearnedKeepAlive(levels) if case.learned_keep_alive else None,
        )

    async def run(self) -> None:
        """All of it."""
        case, loop = self._case, self._loop
        self.fleet.begin(case.servers)
        self._tick_spend()
        if case.scaling is not None:
            self._steering = Steering(case, case.scaling, self.fleet, self._prices, loop)
            self._repeat(case.scaling.decide_every_s, self._decide)
        self._repeat(SPEND_TICK_S, self._tick_spend)
        for fault in sorted(case.faults, key=lambda one: (one.at_s, one.kind)):
            loop.call_at(fault.at_s, self._begin_fault, fault)
        self._fill()
        await asyncio.sleep(case.end_s - loop.now_s())
        self._paid_s = self.fleet.paid_s(case.end_s)
        if self._under_way:
            await self._at_rest
        for task in self._tasks:
            task.cancel()
        await self.fleet.end()
        self._tick_spend()

    def _repeat(self, every_s: float, call: Any) -> None:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(every_s)
                call()

        self._tasks.append(self._loop.create_task(repeat()))

    # Arrivals.

    def _fill(self) -> None:
        """The arrivals of the next step that has any."""
        counts, step_s = self._case.counts, self._case.step_s
        while self._step < len(counts):
            count, start_s = counts[self._step], self._step * step_s
            self._step += 1
            if count:
                chance = self._arrivals.random
                self._times = sorted([start_s + step_s * chance() for _ in range(count)])
                self._next = 0
                self._loop.call_at(self._times[0], self._arrive)
                return

    def _arrive(self) -> None:
        sent_s = self._times[self._next]
        self._next += 1
        if self._next < len(self._times):
            self._loop.call_at(self._times[self._next], self._arrive)
        else:
            self._fill()
        self._sent += 1
        ready = self.fleet.ready
        if not ready:
            self._end(sent_s, REFUSED)  # Nobody listens: the connection is refused.
            return
        self._under_way += 1
        worker = ready[int(self._choice() * len(ready))]
        worker.take(Client(worker, sent_s, self._done))

    def _done(self, client: Client) -> None:
        """The last byte of a response."""
        status = client.status
        if status == 200:
            row = client.server_row
            where = FUNCTION if row < 0 else (SERVER if row == client.worker.row else SIBLING)
        else:
            where = REFUSED if status == 503 else FAILED
        self._under_way -= 1
        self._end(client.sent_s, where)

    def _lost(self, client: Client) -> None:
        """Its worker died."""
        self._under_way -= 1
        self._end(client.sent_s, FAILED)

    def _end(self, sent_s: float, where: int) -> None:
        latency_s = self._loop.now_s() - sent_s
        self._ended.append(Ended(sent_s, latency_s, where))
        self._journal.write(f"{sent_s:.6f} {latency_s:.6f} {WHERE[where]}")
        counted = self._counted
        if where <= SIBLING:
            counted.served += 1
            counted.busy_s += latency_s
        else:
            counted.elsewhere += 1
        if not self._under_way and self._loop.now_s() >= self._case.end_s and not self._at_rest.done():
            self._at_rest.set_result(None)

    # Control.

    def _decide(self) -> None:
        assert self._steering is not None
        counted, self._counted = self._counted, Counted()
        may_run = not is_used_up(self._ledger, len(self._place.workers), self._limit_microusd)
        decided = self._steering.step(
            counted, is_blind=self._blind > 0, is_late=self._late > 0, functions_may_run=may_run
        )
        self._asked_for.append((self._loop.now_s(), self.fleet.asked_for))
        self._journal.write(f"{self._loop.now_s():.6f} decided: {decided}")

    def _tick_spend(self) -> None:
        """As `control.lease.Spend.tick`, with the ledger in memory."""
        slots = self._slots
        holdings = {
            row: Holding(
                lease_microusd=slots.get(row, "lease_microusd"), spent_microusd=slots.get(row, "spent_microusd")
            )
            for row in self._place.workers
        }
        epoch_s, total = self._loop.epoch_s(), self._total_microusd()
        self._ledger = count_spend(self._ledger, day=int(epoch_s // DAY_S), run=1, total_microusd=total)
        self._billed.append((self._loop.now_s(), epoch_s, total))
        for row, lease in share_out(self._ledger, holdings, self._limit_microusd).items():
            slots.set(row, "lease_microusd", lease)

    def _total_microusd(self) -> int:
        rows = read_functions(self._function_table)
        return round(
            sum(self._prices.functions_usd(row.invocations, row.billed_mb_ms, row.architecture) for row in rows) * 1e6
        )

    # Faults.

    def _begin_fault(self, fault: Fault) -> None:
        self._journal.write(f"{self._loop.now_s():.6f} fault: {fault.kind} for {fault.for_s:g} s, {fault.size:g}")
        if fault.kind is FaultKind.SERVER_DIES:
            self.fleet.kill_oldest()
            return
        if fault.kind is FaultKind.CLOCK_JUMPS:
            self._loop.set_calendar(fault.size)
            return
        self._apply(fault, 1)
        self._loop.call_at(fault.end_s, self._apply, fault, -1)

    def _apply(self, fault: Fault, by: int) -> None:
        """It begins (`by` 1) or is over (-1); of one kind several may last at once."""
        if fault.kind is FaultKind.HOST_AWAY:
            self._away += by
            if not self._away:
                self.functions.come_back()
            elif not self.functions.is_away:
                self.functions.go_away()
        elif fault.kind is FaultKind.THROTTLED:
            if by > 0:
                self._throttles.append(fault.size)
            else:
                self._throttles.remove(fault.size)
            self.functions.throttled_to = min(self._throttles, default=math.inf)
        elif fault.kind is FaultKind.BLIND:
            self._blind += by
        else:
            self._late += by

    # The end.

    def result(self, errors: tuple[str, ...]) -> Ran:
        """What it came to."""
        ends = [0] * len(WHERE)
        for one in self._ended:
            ends[one.where] += 1
        return Ran(
            outcome=self._outcome(tuple(ends)),
            journal=self._journal.to_bytes(),
            digest=self._journal.digest,
            requests=tuple(self._ended),
            billed=tuple(self._billed),
            errors=errors,
        )

    def _outcome(self, ends: tuple[int, ...]) -> Outcome:
        case = self._case
        rows = read_functions(self._function_table)
        spent_usd = self._total_microusd() / 1e6
        answered = sorted(one.latency_s for one in self._ended if one.where <= FUNCTION)
        total = len(self._ended)
        measures = Measures(
            latency_p50_ms=_quantile_ms(answered, total, 0.50),
            latency_p95_ms=_quantile_ms(answered, total, 0.95),
            latency_p99_ms=_quantile_ms(answered, total, 0.99),
            spilled_share=ends[FUNCTION] / total if total else 0.0,
            refused_share=ends[REFUSED] / total if total else 0.0,
            cold_starts=float(sum(row.cold_starts for row in rows)),
            server_s=self._paid_s,
            gb_s=sum(row.gb_seconds for row in rows),
            usd=self._prices.servers_usd(self._paid_s) + spent_usd,
        )
        objective_s = case.rules.objective_s
        return Outcome(
            requests=total,
            ends=ends,
            within_objective=sum(latency_s <= objective_s for latency_s in answered),
            measures=measures,
            spent_usd=spent_usd,
            servers=tuple(self.fleet.changes),
            asked_for=tuple(self._asked_for),
            instances=self.functions.instances,
        )


def _quantile_ms(ordered_s: list[float], of: int, share: float) -> float | None:
    """By nearest rank among `of` requests, those without a good answer above all; None where the rank is theirs."""
    rank = max(1, math.ceil(share * of))
    return ordered_s[rank - 1] * 1000 if rank <= len(ordered_s) else None
