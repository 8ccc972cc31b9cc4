"""A table with one request a line: a time, and where there are such columns how long it took, its path and status."""

from __future__ import annotations

import re

import numpy as np

from peaker.traffic.columns import Zones
from peaker.traffic.log_formats.pattern import PatternFormat

_ROLES = {
    "time": ("timestamp", "time", "ts", "datetime", "date", "@timestamp", "start", "arrival"),
    "service": (
        "duration",
        "latency",
        "service_time",
        "response_time",
        "request_time",
        "elapsed",
        "took",
        "time_taken",
    ),
    "method": ("method", "verb"),
    "target": ("path", "uri", "url", "route", "target"),
    "status": ("status", "status_code", "code"),
    "response_bytes": ("bytes", "size", "response_bytes"),
    "request_bytes": ("request_bytes",),
}
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ns": 1e-9, "milliseconds": 1e-3}
_COLUMN = re.compile(r"(.*?)(?:[ _]?\(?(us|ms|ns|s|sec|seconds|milliseconds)\)?)?")


def request_csv(sample: bytes) -> PatternFormat | None:
    """The reader that the header of these lines asks for; without a header, `time` or `time,duration in seconds`."""
    header, _, _ = sample.lstrip(b"\xef\xbb\xbf").partition(b"\n")
    columns = [column.strip().strip('"').lower() for column in header.decode("utf-8", "replace").split(",")]
    roles = [_role(column) for column in columns]
    if "time" in [role for role, _ in roles]:
        return _made(roles, header.strip(), columns)
    if len(columns) <= 2 and not np.isnan(Zones().epoch_s(columns[0].encode())):
        return _made([("time", 1.0), ("service", 1.0)][: len(columns)], b"", ["time", "duration"])
    return None


def _role(column: str) -> tuple[str, float]:
    for role, names in _ROLES.items():
        if column in names:
            return role, 1.0
    match = _COLUMN.fullmatch(column)
    if match and match[2] and match[1] in _ROLES["service"]:
        return "service", _UNITS[match[2]]
    return "", 1.0


def _made(roles: list[tuple[str, float]], header: bytes, columns: list[str]) -> PatternFormat:
    parts, seen, unit, name = [], set(), 1.0, ""
    for (role, factor), column in zip(roles, columns, strict=False):
        if not role or role in seen:
            parts.append(rb'(?:"[^"\n]*+"|[^,\n\r]*+)')
            continue
        seen.add(role)
        value = rb"[^,?\"\n\r]++" if role == "time" else rb"[^,?\"\n\r]*+"
        parts.append(rb'"?(?P<' + role.encode() + rb">" + value + rb")" + rb'[^,"\n\r]*+"?')
        if role == "service":
            unit, name = factor, column
    return PatternFormat(
        name="requests_csv",
        pattern=(rb"(?!" + re.escape(header) + rb"\r?$)" if header else b"") + rb",".join(parts),
        time="any",
        seconds={"service": unit},
        service_time_is=f"the column {name}" if name else "the log has no times",
        comment=header,
    )
