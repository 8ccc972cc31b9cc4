"""What the running app is doing, second by second: from its shared tables and its ops port."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from peaker.gate.slots import WorkerStatus, open_slot_table
from peaker.http1 import Address, NotSent, Pool, request_head
from peaker.meter.usage import open_usage_table, read_usage
from peaker.state import StateDirectory


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What happened between two looks `seconds` apart, and what there is now."""

    seconds: float
    on_server: int
    on_sibling: int
    on_function: int
    refused: int
    cold_starts: int
    latency_p95_ms: float | None
    in_flight: int
    slots: int
    waiting: int
    websockets: int
    instances: int

    @property
    def requests(self) -> int:
        """All that ended in this time, wherever."""
        return self.on_server + self.on_sibling + self.on_function + self.refused


class Observer:
    """Looks at one app; the first look counts from when this was made."""

    def __init__(self, state: Path, ops_url: str, now_s: float) -> None:
        directory = StateDirectory(state)
        self._slots = open_slot_table(directory.slots)
        self._usage = open_usage_table(directory.usage)
        self._before = read_usage(self._usage)
        self._looked_at_s = now_s
        parts = urlsplit(ops_url)
        self._pool = Pool(Address(host=parts.hostname or "", port=parts.port or 0), connections_max=1)
        self._head = request_head("GET", "/status", [("host", parts.netloc)], 0)

    async def look(self, now_s: float) -> Moment:
        """What happened since the last look."""
        after = read_usage(self._usage)
        since = after - self._before
        p95_s = since.percentile_s(0.95)
        rows = [self._slots.row(number) for number in range(self._slots.rows)]
        ready = [row for row in rows if row["status"] == WorkerStatus.READY]
        moment = Moment(
            seconds=now_s - self._looked_at_s,
            **{name: since.counters[name] for name in ("on_server", "on_sibling", "on_function", "refused")},
            cold_starts=since.counters["cold_starts"],
            latency_p95_ms=None if p95_s is None else p95_s * 1000,
            in_flight=sum(row["in_flight"] for row in ready),
            slots=sum(row["slots"] for row in ready),
            waiting=sum(row["waiting"] for row in ready),
            websockets=sum(row["websockets"] for row in ready),
            instances=await self.instances(),
        )
        self._before, self._looked_at_s = after, now_s
        return moment

    def usage(self) -> dict[str, int]:
        """All counters since the app was started."""
        return read_usage(self._usage).counters

    async def instances(self) -> int:
        """Instances there are of all functions; 0 while nobody can tell."""
        try:
            answer = await self._pool.exchange(self._head, timeout_s=2.0)
        except NotSent:
            return 0
        host: dict[str, Any] = json.loads(answer.body).get("host") or {}
        counts = [function.get("instances", {}) for function in host.get("functions", [])]
        return sum(count.get(state, 0) for count in counts for state in ("starting", "busy", "idle", "ending"))

    def close(self) -> None:
        """Unmap the tables and close the connection."""
        self._pool.close()
        self._slots.close()
        self._usage.close()
