"""One JSON object a line, as nginx, Caddy, Traefik, API Gateway and Lambda write them.

Each value is looked for under the names these programs give it; nginx's are those most people choose in `log_format`.
The unit goes with the name: nginx and Caddy write seconds, API Gateway milliseconds, Traefik nanoseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from peaker.traffic.columns import BadLine, Columns, Parsed, Remembered, Zones, flags, seconds_of, size_of, whole_of
from peaker.traffic.log_formats.pattern import BAD_TIME, NO_TIME

_TIME = ("StartUTC", "requestTimeEpoch", "requestTime", "ts", "time_iso8601", "time_local", "msec", "@timestamp",
         "timestamp", "time", "datetime", "date")  # fmt: skip
_METHOD = ("request_method", "method", "request.method", "RequestMethod", "httpMethod", "verb")
_TARGET = ("request_uri", "uri", "request.uri", "RequestPath", "resourcePath", "rawPath", "path", "url")
_ROUTE_KEY = ("routeKey",)
_REQUEST = ("request", "request_line")
_STATUS = ("status", "DownstreamStatus", "status_code", "statusCode", "response.status_code")
_RESPONSE_BYTES = (
    "body_bytes_sent",
    "bytes_sent",
    "size",
    "DownstreamContentSize",
    "responseLength",
    "length",
    "bytes",
)
_REQUEST_BYTES = ("request_length", "bytes_read", "RequestContentSize")
_AGENT = ("http_user_agent", "user_agent", "request.headers.User-Agent", "request_User-Agent", "userAgent", "agent")
_CLIENT = ("remote_addr", "request.remote_ip", "ClientHost", "sourceIp", "ip", "client_ip", "remote_ip")
_CONTENT_TYPE = ("resp_headers.Content-Type", "sent_http_content_type", "content_type", "downstream_Content-Type")
_RESPONSE_S = {"request_time": 1.0, "duration": 1.0, "Duration": 1e-9, "responseLatency": 1e-3, "duration_ms": 1e-3,
               "latency_ms": 1e-3, "response_time": 1.0, "generation_time_milli": 1e-3, "latency": 1.0}  # fmt: skip
_SERVICE_S = {"upstream_response_time": 1.0, "OriginDuration": 1e-9, "integrationLatency": 1e-3}
_UPSTREAM_STATUS = ("upstream_status",)

NOT_JSON = "not a JSON object"


@dataclass(frozen=True)
class JsonLines:
    """Reads objects; which times there were is told by `service_time_is`, learned from the first lines."""

    service_time_is: str = "the log has no times"
    name: str = "json"
    passed_on_rule: str = "upstream status '-': the web server answered by itself"

    def parse(self, data: bytes, zones: Zones) -> Parsed:
        """Requests of a block, and its lines that hold none."""
        rows: list[_Row] = []
        places: list[int] = []
        bad: list[BadLine] = []
        reports: list[tuple[int, int, float]] = []
        skipped = 0
        times = Remembered(zones.epoch_s)
        lines = data.split(b"\n")
        for index, line in enumerate(lines):
            if not line.strip():
                skipped += 1
                continue
            entry = _object(line)
            if entry is None:
                bad.append(BadLine(index, NOT_JSON, line))
            elif str(entry.get("type", "")).startswith("platform.") and entry["type"] != "platform.report":
                skipped += 1
            else:
                row = _row(entry, times)
                if np.isnan(row.time_s):
                    bad.append(BadLine(index, BAD_TIME if row.has_time else NO_TIME, line))
                    continue
                rows.append(row)
                places.append(index)
                if row.report:
                    reports.append(row.report)
        return Parsed(_columns(rows), len(lines), np.array(places, np.intp), bad, skipped, reports)


def json_lines(sample: bytes) -> JsonLines:
    """The reader for a log that begins like this."""
    for line in sample.split(b"\n"):
        entry = _object(line)
        if entry is None:
            continue
        if entry.get("type") == "platform.report":
            return JsonLines("durationMs: what the handler took, without initialisation")
        service, response = _first(entry, tuple(_SERVICE_S)), _first(entry, tuple(_RESPONSE_S))
        if service[1] is not None:
            return JsonLines(f"{service[0]}: the app's own time")
        if response[1] is not None:
            return JsonLines(f"{response[0]}: the only time there is; a slow client makes it longer than the app took")
        break
    return JsonLines()


@dataclass(slots=True)
class _Row:
    time_s: float
    has_time: bool
    method: bytes
    target: bytes
    status: int
    service_s: float
    response_s: float
    request_bytes: float
    response_bytes: float
    agent: bytes
    client: bytes
    passed_on: bool
    is_stream: bool
    report: tuple[int, int, float] | None


def _object(line: bytes) -> dict[str, Any] | None:
    start = line.find(b"{")
    if start < 0 or start > 200:  # a container's log puts a time or a name before it
        return None
    try:
        entry = json.loads(line[start:])
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _first(entry: Mapping[str, Any], names: Sequence[str]) -> tuple[str, Any]:
    for name in names:
        value: Any = entry
        for part in name.split(".") if name not in entry else (name,):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, list):
            value = value[0] if value else None
        if value is not None and not isinstance(value, dict):
            return name, value
    return "", None


def _text(entry: Mapping[str, Any], names: Sequence[str]) -> bytes:
    value = _first(entry, names)[1]
    return b"" if value is None else str(value).encode("utf-8", "replace")


def _seconds(entry: Mapping[str, Any], units: Mapping[str, float]) -> float:
    name, value = _first(entry, tuple(units))
    return seconds_of(str(value).encode()) * units[name] if value is not None else np.nan


def _row(entry: dict[str, Any], times: Mapping[bytes, float]) -> _Row:
    if entry.get("type") == "platform.report":
        return _report(entry, times)
    method, target = _text(entry, _METHOD), _text(entry, _TARGET)
    request = _text(entry, _REQUEST) or _text(entry, _ROUTE_KEY)
    if (not method or not target) and b" " in request:
        verb, _, rest = request.partition(b" ")
        method, target = method or verb, target or rest.split(b" ")[0]
    if target.startswith((b"http://", b"https://")):
        target = b"/" + target.split(b"/", 3)[3] if target.count(b"/") > 2 else b"/"
    service_s, response_s = _seconds(entry, _SERVICE_S), _seconds(entry, _RESPONSE_S)
    upstream_status = _first(entry, _UPSTREAM_STATUS)[1]
    time_text = _text(entry, _TIME)
    return _Row(
        time_s=times[time_text] if time_text else np.nan,
        has_time=bool(time_text),
        method=method or (b"GET" if target else b""),
        target=target.split(b"?", 1)[0],
        status=whole_of(_text(entry, _STATUS)),
        service_s=response_s if np.isnan(service_s) else service_s,
        response_s=response_s,
        request_bytes=size_of(_text(entry, _REQUEST_BYTES)),
        response_bytes=size_of(_text(entry, _RESPONSE_BYTES)),
        agent=_text(entry, _AGENT),
        client=_text(entry, _CLIENT),
        passed_on=upstream_status not in ("-", ""),
        is_stream=_text(entry, _CONTENT_TYPE).startswith(b"text/event-stream"),
        report=None,
    )


def _report(entry: dict[str, Any], times: Mapping[bytes, float]) -> _Row:
    record = entry.get("record")
    found = record.get("metrics") if isinstance(record, dict) else None
    metrics: dict[str, Any] = found if isinstance(found, dict) else {}

    def number(name: str) -> float:
        return seconds_of(str(metrics.get(name, "")).encode())

    init_ms = number("initDurationMs")
    memory = (number("memorySizeMB"), number("maxMemoryUsedMB"))
    sizes = tuple(0 if np.isnan(value) else int(value) for value in memory)
    time_text = str(entry.get("time", "")).encode()
    duration_s = number("durationMs") / 1000
    return _Row(times[time_text] if time_text else np.nan, bool(time_text), b"INVOKE", b"", 0, duration_s, np.nan,
                np.nan, np.nan, b"", b"", True, False, (sizes[0], sizes[1], init_ms / 1000))  # fmt: skip


def _columns(rows: list[_Row]) -> Columns:
    def floats(take: Callable[[_Row], float]) -> Any:
        column = np.fromiter(map(take, rows), np.float64, len(rows))
        return None if np.isnan(column).all() else column

    status = np.fromiter((row.status if 100 <= row.status < 1000 else 0 for row in rows), np.int16, len(rows))
    return Columns(
        time_s=np.fromiter((row.time_s for row in rows), np.float64, len(rows)),
        targets=[row.target for row in rows],
        methods=[row.method for row in rows],
        status=status,
        service_s=floats(lambda row: row.service_s),
        response_s=floats(lambda row: row.response_s),
        request_bytes=floats(lambda row: row.request_bytes),
        response_bytes=floats(lambda row: row.response_bytes),
        agents=[row.agent for row in rows],
        clients=[row.client for row in rows],
        not_passed_on=~flags((row.passed_on for row in rows), len(rows)) & (status < 500),
        event_stream=flags((row.is_stream for row in rows), len(rows)),
        no_request=~flags((bool(row.method) for row in rows), len(rows)),
    )
