"""The log of all functions: what they print, and Lambda's START, END and REPORT lines; one bounded file.

    2026-11-23T21:59:02.123Z thumbnail 7c9e6679 REPORT RequestId: 7c9e6679  Duration: 3.25 ms  Billed Duration: 4 ms ...

With `functions.log_format = "json"` the lines of the platform are the objects Lambda writes in its JSON format
(`platform.start`, `platform.report`, `platform.initReport`), after the same three words.

Lines are written together, at most a twentieth of a second late: three writes an invocation would cost more than the
warm path of the host.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peaker.clock import Clock
from peaker.units import MIB, billed_ms
from peaker.wire.function_names import LATEST
from peaker.wire.invoke_api import LOG_TAIL_BYTES

FILE_BYTES_MAX = 8 * MIB
"""The file is renamed to functions.log.1 at this size, replacing the one before."""

TIMED_OUT = "Sandbox.Timedout"
"""The error type of an invocation that was ended at its deadline."""

_FLUSH_S = 0.05
_WAITING_BYTES_MAX = 4 * MIB

_logger = logging.getLogger("peaker.functions.log")


@dataclass(slots=True, kw_only=True)  # not frozen: that costs a call for each field of each invocation
class Report:
    """What Lambda reports of one invocation; `status` is "" for success, else `timeout` or `error`."""

    request_id: str
    duration_ms: float
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None = None
    status: str = ""
    error_type: str = ""
    billed_ms: int = field(init=False)
    """Whole milliseconds of the run and of the start it waited for, which Lambda bills since 2025-08-01."""

    def __post_init__(self) -> None:
        self.billed_ms = billed_ms((self.duration_ms + (self.init_ms or 0.0)) / 1000)

    def __str__(self) -> str:
        fields = [
            f"REPORT RequestId: {self.request_id}",
            f"Duration: {self.duration_ms:.2f} ms",
            f"Billed Duration: {self.billed_ms} ms",
            f"Memory Size: {self.memory_mb} MB",
            f"Max Memory Used: {self.max_memory_mb} MB",
        ]
        if self.init_ms is not None:
            fields.append(f"Init Duration: {self.init_ms:.2f} ms")
        if self.error_type or self.status == "timeout":
            # Not for what the handler raised: that is an answer of the runtime.
            fields.append(f"Status: {self.status}")
        if self.error_type:
            fields.append(f"Error Type: {self.error_type}")
        return "\t".join(fields)

    def record(self) -> dict[str, Any]:
        """What the JSON form says."""
        metrics = {
            "durationMs": round(self.duration_ms, 3),
            "billedDurationMs": self.billed_ms,
            "memorySizeMB": self.memory_mb,
            "maxMemoryUsedMB": self.max_memory_mb,
        }
        if self.init_ms is not None:
            metrics["initDurationMs"] = round(self.init_ms, 3)
        told = {"requestId": self.request_id, "metrics": metrics, "status": self.status or "success"}
        return told | ({"errorType": self.error_type} if self.error_type else {})


class Tail:
    """The last lines of one invocation, for X-Amz-Log-Type: Tail."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._bytes = 0

    def add(self, line: str) -> None:
        """Keep it until 4 KB have come after it."""
        encoded = line.encode(errors="replace") + b"\n"
        self._lines.append(encoded)
        self._bytes += len(encoded)
        while self._bytes - len(self._lines[0]) >= LOG_TAIL_BYTES:
            self._bytes -= len(self._lines.popleft())

    def text(self) -> bytes:
        """At least the last 4 KB, if there were so many."""
        return b"".join(self._lines)


class FunctionLog:
    """Call from one event loop; `close` writes what is left."""

    def __init__(
        self, path: Path, *, clock: Clock, file_bytes_max: int = FILE_BYTES_MAX, log_format: str = "text"
    ) -> None:
        self._is_json = log_format == "json"
        self._path = path
        self._clock = clock
        self._file_bytes_max = file_bytes_max
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tails: dict[str, Tail] = {}
        self._second = self._now_ms = -1
        self._now_text = ""
        self._second_text = ""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def of(self, function: str) -> Callable[[str, str], None]:
        """Takes (request id, line) of one function."""
        return lambda request_id, line: self.write(function, request_id, line)

    def write(self, function: str, request_id: str, line: str) -> None:
        """One line; request_id is "" for what belongs to no invocation."""
        if tail := self._tails.get(request_id):
            tail.add(line)
        self._put(f"{self._now()} {function} {request_id or '-'} {line}\n")

    def _put(self, text: str) -> None:
        if self._waiting_bytes > _WAITING_BYTES_MAX:
            self._lost += text.count("\n")
            return
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)

    def start(self, function: str, request_id: str, *, with_tail: bool = False) -> None:
        """An invocation begins."""
        if with_tail:
            self._tails[request_id] = Tail()
        if self._is_json:
            line = self._system_line("platform.start", {"requestId": request_id, "version": LATEST})
        else:
            line = f"START RequestId: {request_id} Version: {LATEST}"
        self.write(function, request_id, line)

    def died(self, function: str, request_id: str, message: str, error_type: str) -> None:
        """Its instance ended while it ran; in JSON the report says so."""
        if self._is_json:
            return
        if error_type == TIMED_OUT:
            self.write(function, request_id, f"{self._now()} {request_id} {message}")
            return
        self.write(function, request_id, f"RequestId: {request_id} Error: {message}")
        self.write(function, request_id, error_type)

    def init_failed(self, function: str, request_id: str, init_ms: float, error_type: str) -> None:
        """No instance could be made for it."""
        if self._is_json:
            record = {
                "initializationType": "on-demand",
                "phase": "invoke",
                "status": "error",
                "errorType": error_type,
                "metrics": {"durationMs": round(init_ms, 3)},
            }
            line = self._system_line("platform.initReport", record)
        else:
            line = f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: invoke\tStatus: error"
            line += f"\tError Type: {error_type}"
        self.write(function, request_id, line)

    def end(self, function: str, report: Report) -> bytes | None:
        """It has ended; returns its tail where one was asked for."""
        if self._is_json:
            self.write(function, report.request_id, self._system_line("platform.report", report.record()))
        elif report.request_id in self._tails:
            self.write(function, report.request_id, f"END RequestId: {report.request_id}")
            self.write(function, report.request_id, str(report))
        else:  # both lines at once
            now, name = self._now(), f"{function} {report.request_id}"
            self._put(f"{now} {name} END RequestId: {report.request_id}\n{now} {name} {report}\n")
        tail = self._tails.pop(report.request_id, None)
        return tail.text() if tail is not None else None

    def _system_line(self, kind: str, record: dict[str, Any]) -> str:
        return json.dumps({"time": self._now(), "type": kind, "record": record}, separators=(",", ":"))

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        os.close(self._descriptor)

    def _flush(self) -> None:
        self._timer = None
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self._lost:
            lines.append(f"{self._now()} - - {self._lost} lines were lost\n")
        try:
            os.write(self._descriptor, "".join(lines).encode(errors="replace"))
            if os.fstat(self._descriptor).st_size > self._file_bytes_max:
                self._rotate()
        except OSError as error:
            if not self._lost:
                _logger.warning("the function log is not written: %s", error, extra={"action": "log"})
            self._lost += "".join(lines).count("\n")
        else:
            self._lost = 0

    def _rotate(self) -> None:
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.close(self._descriptor)
        self._descriptor = fresh

    def _now(self) -> str:
        now_ms = int(self._clock.epoch_s() * 1000)
        if now_ms != self._now_ms:
            self._now_ms = now_ms
            second, rest_ms = divmod(now_ms, 1000)
            if second != self._second:
                self._second = second
                self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._now_text = f"{self._second_text}.{rest_ms:03d}Z"
        return self._now_text
