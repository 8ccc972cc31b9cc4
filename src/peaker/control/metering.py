"""The meter of the running app: each second it notes how far the counts have come, and keeps what may not be lost."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from peaker.clock import Clock
from peaker.engines.local.cost import functions_usd, read_book, read_meter, totals
from peaker.engines.local.state_dir import RunRecord, read_run, started_ticks, write_private
from peaker.gate.slots import WorkerStatus
from peaker.meter.counterfactual import latency_sum_s
from peaker.meter.days import with_totals
from peaker.meter.function_usage import Caller, FunctionUsage, read_functions
from peaker.meter.price import prices_of
from peaker.meter.servers import with_servers
from peaker.meter.usage import Ran, Usage, read_usage
from peaker.meter.work import WINDOW_S, Tick, Window, WorkHistory
from peaker.policy.supervision import Kind
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory

KEEP_S = 60.0
"""How often the day's sums are written; none is lost with a killed control process: its heir adds them."""


class Metering:
    """Ticks once a second; `close` is the last tick."""

    def __init__(
        self,
        state: StateDirectory,
        *,
        slots: SharedTable,
        usage: SharedTable,
        functions: SharedTable,
        work: SharedTable,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._state = state
        self._settings = settings
        self._slots = slots
        self._usage = usage
        self._functions = functions
        self._history = WorkHistory(work)
        self._prices = prices_of(settings)
        self._clock = clock
        self._book = read_book(state, usage.made_ns)
        self._window_began_s = clock.now_s()
        self._window_usage = read_usage(usage)
        self._ready: list[float] = []
        self._kept_at_s = -KEEP_S

    def tick(self) -> None:
        """Note one second.

        Raises:
            StateError: run.json cannot be read.
            OSError: what must be kept could not be written.
        """
        now_s, record = self._clock.now_s(), read_run(self._state)
        functions = read_functions(self._functions)
        self._history.add_tick(self._tick(now_s, functions))
        if record is not None:
            self._ready.append(_servers_ready(record, self._slots))
            self._note_servers(servers_there(record, is_ending=False))
        if now_s - self._window_began_s >= WINDOW_S:
            self._end_window(now_s)
        if now_s - self._kept_at_s >= KEEP_S:
            self._keep()
            self._kept_at_s = now_s

    def close(self) -> None:
        """The last tick: servers whose processes are gone are not paid for any more. Raises as `tick` does."""
        functions = read_functions(self._functions)
        self._history.add_tick(self._tick(self._clock.now_s(), functions))
        record = read_run(self._state)
        if record is not None:
            self._note_servers(servers_there(record, is_ending=True))
        self._keep()

    def _tick(self, now_s: float, functions: tuple[FunctionUsage, ...]) -> Tick:
        counts = {name: self._count(name) for name in ("on_server", "on_sibling", "on_function", "refused")}
        return Tick(
            epoch_s=self._clock.epoch_s(),
            now_s=now_s,
            direct=sum(one.invocations for one in functions if one.caller is not Caller.GATE),
            functions_usd=functions_usd(functions, self._prices),
            **counts,
        )

    def _count(self, name: str) -> int:
        return sum(self._usage.cells[self._usage.columns[name] :: self._usage.width].tolist())

    def _note_servers(self, there: dict[int, float]) -> None:
        epoch_s = self._clock.epoch_s()
        servers = with_servers(self._book.servers, there, epoch_s)
        if servers != self._book.servers:
            self._book = self._book.with_servers(servers)
            self._write()

    def _end_window(self, now_s: float) -> None:
        usage = read_usage(self._usage)
        since: Usage = usage - self._window_usage
        counters = since.counters
        server_busy_s = sum(latency_sum_s(since.histograms[ran]) for ran in (Ran.SERVER, Ran.SIBLING))
        self._history.add_window(
            Window(
                epoch_s=self._clock.epoch_s(),
                span_s=now_s - self._window_began_s,
                on_servers=counters["on_server"] + counters["on_sibling"],
                on_functions=counters["on_function"],
                refused=counters["refused"],
                spilled=counters["spilled"],
                server_busy_s=server_busy_s,
                function_busy_s=latency_sum_s(since.histograms[Ran.FUNCTION]),
                servers=sum(self._ready) / len(self._ready) if self._ready else 0.0,
            )
        )
        self._window_began_s, self._window_usage, self._ready = now_s, usage, []

    def _keep(self) -> None:
        metered = replace(read_meter(self._state, self._settings, self._clock, is_running=True), book=self._book)
        self._book = with_totals(self._book, totals(metered), metered.until_epoch_s)
        self._write()

    def _write(self) -> None:
        write_private(self._state.meter, json.dumps(self._book.to_document()) + "\n")


def servers_there(record: RunRecord, *, is_ending: bool) -> dict[int, float]:
    """Servers by number, with when their first process was started; infinite for one that has none.

    One whose processes have all died is there all the same, as long as it is to be there: an EC2 instance is paid for
    while its processes are started again. At the end of all, what has no process left is gone.
    """
    there: dict[int, float] = {}
    for process in record.processes:
        if process.kind != Kind.WORKER.value:
            continue
        if is_ending and started_ticks(process.pid) != process.started_ticks:
            continue
        there[process.server] = min(there.get(process.server, process.started_epoch_s), process.started_epoch_s)
    missing = set() if is_ending else set(range(1, record.servers + 1)) - set(there)
    return there | dict.fromkeys(missing, math.inf)


def _servers_ready(record: RunRecord, slots: SharedTable) -> float:
    """Servers that take requests; one of which only some workers do counts as that part of one."""
    by_server: dict[int, list[bool]] = {}
    for process in record.processes:
        if process.row is not None:
            is_ready = slots.get(process.row, "status") == WorkerStatus.READY
            by_server.setdefault(process.server, []).append(is_ready)
    return sum(sum(ready) / len(ready) for ready in by_server.values())
