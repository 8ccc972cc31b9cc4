"""The app on functions of this machine: warm runs, cold starts by fork, and the memory an instance used."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from peaker.app import WEB_FUNCTION
from peaker.clock import Clock
from peaker.engines.local.measuring.alone import AppAlone
from peaker.engines.local.measuring.idle import Ask
from peaker.errors import FunctionCrashed, PeakerError
from peaker.http1 import Address, Pool, request_head
from peaker.messages import Request
from peaker.wire.http_api import request_to_event

WARM_RUNS_MAX = 100
COLD_STARTS = 20
KEEP_ALIVE_S = 0.1
"""Idle instances end after this, so that the next request after a pause is a cold start."""

_PAUSE_S = 2.5 * KEEP_ALIVE_S
_REPORTED = {
    "duration_ms": re.compile(r"\tDuration: ([\d.]+) ms"),
    "init_ms": re.compile(r"\tInit Duration: ([\d.]+) ms"),
    "memory_mb": re.compile(r"\tMax Memory Used: (\d+) MB"),
}


@dataclass(slots=True)
class FunctionRuns:
    """Seconds of warm runs by name of the request, what warm and cold ones took beside their run, MB at the most."""

    warm_s: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    beside_warm_s: list[float] = field(default_factory=list[float])
    cold_start_s: list[float] = field(default_factory=list[float])
    memory_mb_max: float | None = None


async def run_on_functions(
    app: AppAlone, asks: Sequence[Ask], body: bytes, *, budget_s: float, timeout_s: float, clock: Clock
) -> FunctionRuns:
    """Invoke the web function for each request in turn: first without pauses, then with a pause before each.

    Raises:
        PeakerError: an invocation failed.
    """
    runs = FunctionRuns()
    pool = Pool(Address(unix=app.state.invoke_socket), connections_max=1)
    events = [(ask.name, _event(ask, body, clock)) for ask in asks]
    function = f"{app.settings.app.name}-{WEB_FUNCTION}"
    began_s = clock.now_s()
    try:
        for number in range(WARM_RUNS_MAX * len(events)):
            if number >= 3 * len(events) and clock.now_s() - began_s > budget_s / 2:
                break
            name, event = events[number % len(events)]
            _count(runs, name, await _invoke(pool, function, event, timeout_s, clock))
        for number in range(COLD_STARTS):
            if clock.now_s() - began_s > budget_s:
                break
            await asyncio.sleep(_PAUSE_S)
            name, event = events[number % len(events)]
            _count(runs, name, await _invoke(pool, function, event, timeout_s, clock))
    finally:
        pool.close()
    return runs


def _event(ask: Ask, body: bytes, clock: Clock) -> bytes:
    head = ask.request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in head))
    path, _, query = ask.target.path.partition("?")
    has_body = any(name == b"content-length" for name, _ in headers)
    request = Request(
        method=ask.target.method,
        raw_path=path.encode("ascii"),
        query_string=query.encode("ascii"),
        headers=headers,
        body=body if has_body else b"",
        client=("127.0.0.1", 0),
        server=("127.0.0.1", 80),
    )
    return request_to_event(request, request_id="measure", epoch_s=clock.epoch_s())


async def _invoke(pool: Pool, function: str, event: bytes, timeout_s: float, clock: Clock) -> dict[str, float]:
    """What the REPORT line of the run says, and `took_ms` until its answer was here."""
    headers = [("host", "localhost"), ("content-type", "application/json"), ("x-amz-log-type", "Tail")]
    headers += [("x-peaker-caller", "direct"), ("x-peaker-deadline-ms", str(int(timeout_s * 1000)))]
    target = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
    sent_s = clock.now_s()
    answer = await pool.exchange(request_head("POST", target, headers, len(event)), event, timeout_s=timeout_s)
    took_ms = (clock.now_s() - sent_s) * 1000
    if answer.status != 200 or "x-amz-function-error" in answer.headers:
        raise FunctionCrashed(f"a run on a function failed: {answer.body[:300].decode(errors='replace')}")
    status = _status_of(answer.body)
    if isinstance(status, int) and status >= 400:
        raise FunctionCrashed(f"a run on a function was answered with status {status}.")
    tail = base64.b64decode(answer.headers.get("x-amz-log-result", "")).decode(errors="replace")
    found = {name: pattern.search(tail) for name, pattern in _REPORTED.items()}
    return {"took_ms": took_ms} | {name: float(match[1]) for name, match in found.items() if match is not None}


def _status_of(body: bytes) -> Any:
    try:
        result = json.loads(body)
    except ValueError as error:
        raise PeakerError("a run on a function was answered with something that is no JSON.") from error
    return result.get("statusCode") if isinstance(result, dict) else None


def _count(runs: FunctionRuns, name: str, report: dict[str, float]) -> None:
    beside_s = (report["took_ms"] - report["duration_ms"]) / 1000 if "duration_ms" in report else None
    if beside_s is not None and "init_ms" in report:
        # Not the Init Duration alone: that begins when the process has been forked.
        runs.cold_start_s.append(max(0.0, beside_s))
    elif beside_s is not None:
        runs.warm_s.setdefault(name, []).append(report["duration_ms"] / 1000)
        runs.beside_warm_s.append(max(0.0, beside_s))
    if "memory_mb" in report:
        runs.memory_mb_max = max(report["memory_mb"], runs.memory_mb_max or 0.0)
