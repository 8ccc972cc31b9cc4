"""What is running, as one JSON value: for `peaker status`, and for `/status` on the ops port.

It is read from the state directory and shared memory, so it also tells the truth when the supervisor is dead.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from peaker.clock import Clock
from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable
from peaker.engines.local.baseline_report import baseline_report
from peaker.engines.local.cost import Metered, cost_summary, function_summary, read_meter
from peaker.engines.local.event_report import events_report
from peaker.engines.local.state_dir import RunRecord, read_run, started_ticks
from peaker.errors import StateError
from peaker.functions.credentials import PROFILE
from peaker.gate.route_report import merged
from peaker.gate.slots import WorkerStatus, open_slot_table
from peaker.meter.usage import HISTOGRAMS, Ran, Usage, open_usage_table, read_usage
from peaker.policy.lease import UNLIMITED_MICROUSD
from peaker.policy.supervision import Kind
from peaker.settings import Settings
from peaker.shared_table import SharedTable
from peaker.state import StateDirectory
from peaker.unix_socket import is_listened_on

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
HOST_ANSWER_S_MAX = 2.0
WORKERS_ASKED_MAX = 16
"""Workers see the same routes, so that a few know as much as all."""


@dataclass(frozen=True, slots=True)
class RunningApp:
    """The state directory of an app that has been started, opened for reading."""

    state: StateDirectory
    record: RunRecord
    slots: SharedTable
    usage: SharedTable

    @classmethod
    def open(cls, state: StateDirectory) -> RunningApp:
        """Open it.

        Raises:
            StateError: no app was ever started there.
        """
        record = read_run(state)
        if record is None:
            raise StateError(
                "no app has been started here.", where=str(state.root), remedy="Start it with `peaker run`."
            )
        return cls(state, record, open_slot_table(state.slots), open_usage_table(state.usage))

    @property
    def is_supervised(self) -> bool:
        """The supervisor of the record lives."""
        return started_ticks(self.record.supervisor_pid) == self.record.supervisor_ticks

    def close(self) -> None:
        """Unmap the tables."""
        self.slots.close()
        self.usage.close()


async def report(state: StateDirectory, clock: Clock) -> dict[str, Any]:
    """Everything there is to tell; see `peaker status --help` for the fields. Raises StateError as RunningApp.open."""
    app = RunningApp.open(state)
    try:
        settings = Settings.from_json(state.settings_of(app.record.generation).read_text(encoding="utf-8"))
        host, routes, events = await asyncio.gather(
            _host_details(app),
            _routes(app),
            events_report(state, app.record.process(Kind.EVENTS.value), asks=app.is_supervised),
        )
        metered = read_meter(state, settings, clock, is_running=overall_status(app) != "stopped")
        return {
            **_head(app, settings),
            **_body(app, settings, host, clock),
            **_metered(metered),
            "routes": routes,
            "events": events,
        }
    except OSError as error:
        raise StateError(f"the settings of the run cannot be read: {error}.", where=str(state.root)) from error
    finally:
        app.close()


def _head(app: RunningApp, settings: Settings) -> dict[str, Any]:
    record = app.record
    return {
        "app": record.app,
        "stage": settings.stage,
        "status": overall_status(app),
        "app_url": record.app_url,
        "ops_url": record.ops_url,
        "lambda_endpoint": record.lambda_endpoint,
        "aws_profile": PROFILE if record.lambda_endpoint else "",
        "aws_config_file": str(app.state.aws_config) if record.lambda_endpoint else "",
        "aws_shared_credentials_file": str(app.state.credentials) if record.lambda_endpoint else "",
        "generation": record.generation,
        "version": record.version,
        "state": str(app.state.root),
        "supervisor": {"pid": record.supervisor_pid, "alive": app.is_supervised},
        "servers": {
            "count": record.servers,
            "count_min": settings.servers.count_min,
            "count_max": settings.servers.count_max,
            **baseline_report(app.state, settings),
        },
    }


def _body(app: RunningApp, settings: Settings, host: dict[str, Any] | None, clock: Clock) -> dict[str, Any]:
    now_ms = int(clock.now_s() * 1000)
    workers = [process for process in app.record.processes if process.kind == Kind.WORKER.value]
    return {
        "workers": [
            {"name": worker.name, "server": worker.server, **worker_row(app.slots, worker.row, now_ms)}
            for worker in workers
            if worker.row is not None
        ],
        "host": host,
        "usage": usage_summary(read_usage(app.usage)),
        "spend": spend_summary(app.state, settings),
    }


def _metered(metered: Metered) -> dict[str, Any]:
    return {
        "objective": {"latency_p95_ms": metered.settings.objective.latency_p95_ms},
        "rates": None if metered.rates_now is None else asdict(metered.rates_now),
        "functions": [function_summary(one, metered.prices) for one in metered.functions],
        "cost": cost_summary(metered),
    }


def overall_status(app: RunningApp) -> str:
    """`ready` once a worker serves, or without a web app the function host; else `starting`, `draining`, `stopped`."""
    alive = [p for p in app.record.processes if started_ticks(p.pid) == p.started_ticks]
    rows = [app.slots.get(process.row, "status") for process in alive if process.row is not None]
    if WorkerStatus.READY in rows or (alive and not app.record.app_url and is_listened_on(app.state.invoke_socket)):
        return "ready"
    if not alive:
        return "starting" if app.is_supervised and app.record.processes else "stopped"
    return "draining" if rows and all(row == WorkerStatus.DRAINING for row in rows) else "starting"


def worker_row(slots: SharedTable, row: int, now_ms: int) -> dict[str, Any]:
    """One worker for a person: names instead of numbers, milliseconds and dollars."""
    cells = slots.row(row)
    lease = cells["lease_microusd"]
    return {
        "row": row,
        "pid": cells["pid"],
        "status": WorkerStatus(cells["status"]).name.lower(),
        "slots": cells["slots"],
        "in_flight": cells["in_flight"],
        "waiting": cells["waiting"],
        "spilling": cells["spilling"],
        "lag_ms": cells["lag_us"] / 1000,
        "heartbeat_age_ms": max(0, now_ms - cells["heartbeat_ms"]) if cells["heartbeat_ms"] else None,
        "connections": cells["connections"],
        "websockets": cells["websockets"],
        "lease_usd": None if lease >= UNLIMITED_MICROUSD else lease / 1e6,
        "spent_usd": cells["spent_microusd"] / 1e6,
    }


def usage_summary(usage: Usage) -> dict[str, Any]:
    """Counters since the app was started, and latency percentiles in milliseconds by where requests ran."""
    return {
        **usage.counters,
        "latency_ms": {
            "all": _percentiles(usage, HISTOGRAMS),
            **{ran.name.lower(): _percentiles(usage, (ran,)) for ran in HISTOGRAMS},
        },
    }


def spend_summary(state: StateDirectory, settings: Settings) -> dict[str, Any]:
    """What functions have cost in this UTC day, and the limit; the first is 0 before control has written."""
    try:
        spent = json.loads(state.spend.read_text(encoding="utf-8"))["spent_microusd"] / 1e6
    except FileNotFoundError:
        spent = 0.0
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"the day's spend cannot be read: {error}.", where=str(state.spend)) from error
    return {"today_usd": spent, "usd_per_day_max": settings.objective.spend_usd_per_day_max}


def _percentiles(usage: Usage, rans: tuple[Ran, ...]) -> dict[str, float | None]:
    found = {name: usage.percentile_s(fraction, rans) for name, fraction in PERCENTILES.items()}
    return {name: None if seconds is None else seconds * 1000 for name, seconds in found.items()}


async def _routes(app: RunningApp) -> list[dict[str, Any]]:
    """What the workers have learned about routes; nothing from those that do not answer, or have no supervisor."""
    if not app.is_supervised:
        return []
    workers = [process.name for process in app.record.processes if process.kind == Kind.WORKER.value]
    answers = await asyncio.gather(*(_ask_routes(app, name) for name in workers[:WORKERS_ASKED_MAX]))
    return merged(answers)


async def _ask_routes(app: RunningApp, worker: str) -> list[Mapping[str, Any]]:
    try:
        client = await ControlClient.connect(app.state.control_socket(worker), timeout_s=HOST_ANSWER_S_MAX)
    except ControlUnavailable:
        return []
    try:
        reply: list[Mapping[str, Any]] = (await client.command("routes", timeout_s=HOST_ANSWER_S_MAX))["routes"]
    except (ControlUnavailable, CommandRefused):
        return []
    else:
        return reply
    finally:
        client.close()


async def _host_details(app: RunningApp) -> dict[str, Any] | None:
    """What the function host says of itself.

    A host without a supervisor is not asked: the connection would count as one and keep an orphan alive for as long
    as somebody looks.
    """
    process = app.record.process(Kind.HOST.value)
    if process is None:
        return None
    about = {"pid": process.pid, "status": "unknown"}
    if not app.is_supervised:
        return about
    try:
        client = await ControlClient.connect(app.state.control_socket(process.name), timeout_s=HOST_ANSWER_S_MAX)
    except ControlUnavailable:
        return about
    try:
        hello = await client.hello(timeout_s=HOST_ANSWER_S_MAX)
    except (ControlUnavailable, CommandRefused):
        return about
    finally:
        client.close()
    return {"pid": hello.pid, "status": hello.status.value, **hello.details}
