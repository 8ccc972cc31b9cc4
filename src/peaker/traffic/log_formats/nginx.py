"""nginx and Apache: a `log_format` string becomes a pattern; the formats most logs are in; what stands after them.

`$request_time` runs until the client has the last byte, `$upstream_response_time` is the app's own: where both are
there the second is the service time.
"""

from __future__ import annotations

import re
import statistics
from functools import cache

from peaker.errors import LogError
from peaker.traffic.log_formats.pattern import QUOTED, REQUEST, PatternFormat, share_read, without_groups

COMMON = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent'
COMBINED = COMMON + ' "$http_referer" "$http_user_agent"'
NGINX_TIMED = (
    COMMON
    + ' "$host" "$http_referer" $body "$http_user_agent" "$http_x_forwarded_for"'
    + " $upstream_addr $upstream_status $upstream_response_time $request_time"
)
FORWARDED = COMBINED + ' "$http_x_forwarded_for"'
VIRTUAL_HOST = "$host:$server_port "
CSV_FIELDS = "$remote_addr,[$time_local,$bare_request,$status,$empty"

TEMPLATES = {
    "nginx_timed": NGINX_TIMED,
    "combined": COMBINED,
    "common": COMMON,
    "nginx_main": FORWARDED,
    "vhost_combined": VIRTUAL_HOST + COMBINED,
    "vhost_common": VIRTUAL_HOST + COMMON,
    "fields": CSV_FIELDS,
}

_GROUPS = {
    "remote_addr": "client",
    "time_local": "time",
    "time_iso8601": "time",
    "msec": "time",
    "status": "status",
    "body_bytes_sent": "response_bytes",
    "bytes_sent": "response_bytes",
    "request_length": "request_bytes",
    "http_user_agent": "agent",
    "request_time": "response",
    "request_time_us": "response",
    "upstream_response_time": "service",
    "upstream_status": "reached",
    "request_method": "method",
    "uri": "target",
    "request_uri": "target",
}
_TIMES = {"time_local": "clf", "time_iso8601": "iso", "msec": "number"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_BARE_REQUEST = rb"(?P<method>[A-Z]++) (?P<target>[^ ?,\n]*+)[^,\n]*+"


@cache
def from_template(template: str, name: str = "") -> PatternFormat:
    """The format of an nginx `log_format` string.

    Raises:
        LogError: it holds no time or no request, or a variable twice.
    """
    pieces: list[bytes] = []
    names: list[str] = []
    at = 0
    for match in _VARIABLE.finditer(template):
        literal = template[at : match.start()]
        variable = match[1] or match[2]
        at = match.end()
        if variable == "request" and literal.endswith('"') and template[at:].startswith('"'):
            pieces += [re.escape(literal[:-1].encode()), REQUEST]
            at += 1
        else:
            pieces += [re.escape(literal.encode()), _value(variable, template[at:], names)]
        names.append(variable)
    pieces.append(re.escape(template[at:].encode()))
    _require(template, names)
    has_service, has_response = "upstream_response_time" in names, "request_time" in names
    return PatternFormat(
        name=name or template,
        pattern=b"".join(pieces),
        time=next(_TIMES[variable] for variable in names if variable in _TIMES),
        seconds={"response": 1e-6} if "request_time_us" in names else {},
        service_time_is=_service_time_is(has_service, has_response, "request_time_us" in names),
        not_passed_on=frozenset((b"-", b"")) if "upstream_status" in names else frozenset(),
        passed_on_rule="upstream status '-': the web server answered by itself" if "upstream_status" in names else "",
    )


def _service_time_is(has_service: bool, has_response: bool, has_apache: bool) -> str:  # noqa: FBT001
    if has_service:
        return "upstream_response_time: the app's own time; of tries that were repeated, the sum"
    if has_response:
        return "request_time: the only time there is; a slow client makes it longer than the app took"
    if has_apache:
        return "%D: the only time there is; a slow client makes it longer than the app took"
    return "the log has no times"


def _require(template: str, names: list[str]) -> None:
    times = [name for name in names if name in _TIMES]
    groups = [_GROUPS[name] for name in names if name in _GROUPS]
    if len(times) != 1 or len(set(groups)) != len(groups):
        raise LogError(
            f"the format {template!r} does not have exactly one time and each other value once.",
            remedy="Give it as in nginx's log_format, with $time_local, $time_iso8601 or $msec.",
        )


def _value(variable: str, after: str, names: list[str]) -> bytes:
    if variable == "bare_request":
        return _BARE_REQUEST
    if variable == "empty":
        return rb",*+"
    if after.startswith('"'):
        value = QUOTED
    elif variable.startswith("upstream_"):
        one = rb"[^ ,\n" + re.escape(after[:1].encode()) + rb"]++"
        value = one + rb"(?:(?:, | : )" + one + rb")*+"
    elif after.startswith(" ["):
        value = rb"[^\[\n]*?"  # a user's name may hold blanks
    else:
        value = rb"[^" + re.escape(after[:1].encode() or b" ") + rb"\n]*+"
    group = _GROUPS.get(variable)
    if variable == "request_uri":
        end = re.escape(after[:1].encode() or b" ")
        return rb"(?P<target>[^ ?\n" + end + rb"]*+)[^\n" + end + rb"]*+"
    if group is None or variable in names:
        return value
    if group == "time":
        value = value.replace(b"*+", b"++")
    if group == "status":
        value = rb"\d{3}"
    return rb"(?P<" + group.encode() + rb">" + value + rb")"


_TAIL = re.compile(r'(?:(\w+)=)?("(?:[^"\\]|\\.)*"|[^ ,"]+(?:(?:, | : )[^ ,"]+)*)')
_NAMED = {
    "rt": "request_time", "request_time": "request_time", "req_time": "request_time",
    "urt": "upstream_response_time", "upstream_response_time": "upstream_response_time",
    "us": "upstream_status", "ustatus": "upstream_status", "upstream_status": "upstream_status",
    "ua": "upstream_addr", "rl": "request_length", "request_length": "request_length",
}  # fmt: skip
_SHORTEST_APACHE_US = 1000


def with_tail(sample: bytes) -> PatternFormat | None:
    """Combined or common with more after it: names or numbers tell which of it are times; None if it does not fit."""
    for base in (COMBINED, COMMON):
        found = re.findall(without_groups(from_template(base).pattern) + rb" (\S.*?)\r?$", sample, re.MULTILINE)
        tails = [[(key, value) for key, value in _TAIL.findall(tail.decode("latin-1"))] for tail in found]
        if not tails or len(tails) < sample.count(b"\n") / 2:
            continue
        width = statistics.mode(len(tail) for tail in tails)
        columns = list(zip(*(tail for tail in tails if len(tail) == width), strict=True))
        made = from_template(base + "".join(" " + part for part in _named(columns)), f"{_name(base)} and more")
        if share_read(made, sample) >= 0.5:
            return made
    return None


def _name(base: str) -> str:
    return "combined" if base == COMBINED else "common"


def _named(columns: list[tuple[tuple[str, str], ...]]) -> list[str]:
    """A template for what stands behind; a column whose meaning is not known is read over."""
    names = [_NAMED.get(column[0][0], "") for column in columns]
    if not any(names):
        seconds = [
            place
            for place, column in enumerate(columns)
            if all(re.fullmatch(r'"?(-|\d+\.\d{3}((, | : )\d+\.\d{3})*)"?', value) for _, value in column)
            and any("." in value for _, value in column)
        ]
        sums = {place: sum(_number(value) for _, value in columns[place]) for place in seconds}
        longest_first = sorted(seconds, key=lambda place: -sums[place])
        # The time until the client had all is never shorter than the app's.
        for place, name in zip(longest_first, ("request_time", "upstream_response_time"), strict=False):
            names[place] = name
        if not seconds and columns and _is_microseconds([value for _, value in columns[-1]]):
            names[-1] = "request_time_us"
    parts = []
    for place, (name, column) in enumerate(zip(names, columns, strict=True)):
        key, value = column[0]
        variable = f"${name or f'other{place}'}"
        quoted = f'"{variable}"' if value.startswith('"') else variable
        parts.append(f"{key}={quoted}" if key else quoted)
    return parts


def _is_microseconds(values: list[str]) -> bool:
    """Apache's %D; whole numbers that are smaller on the whole may be seconds (%T) or anything else."""
    if not all(re.fullmatch(r"\d+", value) for value in values):
        return False
    return statistics.median(_number(value) for value in values) >= _SHORTEST_APACHE_US


def _number(text: str) -> float:
    return sum(float(part) for part in re.findall(r"\d+(?:\.\d+)?", text))
