"""Every setting: its name with unit, default, one line of help and check; frozen after load.

A section of `peaker.toml` is one dataclass here; its fields are the keys. The reference page is generated from these
fields, so a setting exists in exactly one place.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from peaker.errors import SettingsError

Check = Callable[[Any], str]
"""Returns "" for a good value, else the allowed values in words ("128 to 10240")."""

_SectionType = TypeVar("_SectionType")


def between(low: float, high: float) -> Check:
    """Allow numbers from `low` to `high`, both included."""
    return lambda value: "" if low <= value <= high else f"{low:g} to {high:g}"


def one_of(*allowed: str) -> Check:
    """Allow these words only."""
    return lambda value: "" if value in allowed else ", ".join(allowed)


def matching(pattern: str, meaning: str) -> Check:
    """Allow strings that match `pattern` whole; `meaning` says so in words."""
    compiled = re.compile(pattern)
    return lambda value: "" if compiled.fullmatch(value) else meaning


def setting(default: Any, help: str, check: Check | None = None) -> Any:  # noqa: A002 - it is the help text
    """One key of a section."""
    metadata = {"help": help, "check": check}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


Auto = Literal["auto"]

_NAME = matching(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}", "a letter, then up to 63 letters, digits, - or _")
_TARGET = matching(r"|[\w.]+:[\w.]+(\(\))?", "module:attribute, or module:factory()")
_ADDRESS = matching(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*):\d{1,5}", "host:port")
_ROUTE_PATH = matching(r"/[^\s]*", "a path that begins with /; * matches anything at its end")
_PLACEMENTS = one_of("servers", "functions", "hybrid")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSection:
    """What is run."""

    name: str = setting("app", "Name of the app; names processes, cgroups and functions.", _NAME)
    web: str = setting("", "ASGI or WSGI application, or a factory written with ().", _TARGET)
    spill: bool = setting(False, "Let requests leave the servers. Only for apps that keep no state in the process.")
    warm_up: str = setting("", "Path answered once by GET before instances are forked; must have no lasting effect.")
    listen: str = setting("127.0.0.1:8000", "Where the app is served; port 0 takes a free one.", _ADDRESS)
    ops_listen: str = setting("127.0.0.1:0", "Where /live, /ready and /status are answered.", _ADDRESS)
    trusted_proxies: list[str] = setting([], "Addresses or networks whose X-Forwarded-* headers are believed.")
    placement_header: bool = setting(False, "Say in the response header x-peaker-ran where the request ran.")
    access_log: str = setting("", 'File for one JSON line a request; "-" is standard output, "" is none.')
    env_file: str = setting("", "File of NAME=value lines put into the environment of app and functions.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSection:
    """What is to be kept."""

    latency_p95_ms: float = setting(500.0, "95 % of requests are answered within this time.", between(1, 900_000))
    spend_usd_per_day_max: float | None = setting(
        None, "Functions stop when they have cost this much in a UTC day; absent is no limit.", between(0, 1e9)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersSection:
    """The always-on side."""

    count_min: int = setting(1, "Servers that are always there.", between(0, 1000))
    count_max: int = setting(1, "Servers at the most.", between(1, 1000))
    workers: int | Auto = setting("auto", "Worker processes of a server; auto is one per core.", between(1, 256))
    in_flight_max: int | Auto = setting(
        "auto", "Slots of one worker; auto finds them by the latency gradient.", between(1, 100_000)
    )
    in_flight_outer_max: int = setting(256, "Slots that auto never exceeds.", between(1, 100_000))
    instance_type: str = setting("c7g.large", "EC2 type a server is priced as and deployed on.")
    queue_max: int = setting(1000, "Requests one worker lets wait.", between(0, 1_000_000))
    queue_wait_s_max: float = setting(1.0, "Longest wait for a slot before a request is refused.", between(0, 900))
    lag_ms_max: float = setting(25.0, "Event-loop lag above which a worker takes nothing new.", between(1, 10_000))
    connections_max: int = setting(10_000, "Open connections of one worker.", between(1, 1_000_000))
    keep_alive_s: float = setting(
        75.0, "How long an idle connection stays open; longer than the proxy's.", between(0, 3600)
    )
    proxy_idle_s: float | None = setting(
        None, "Idle time of the load balancer in front; absent is none.", between(1, 4000)
    )
    header_timeout_s: float = setting(15.0, "Time for a request head to arrive whole.", between(0.1, 900))
    body_timeout_s: float = setting(30.0, "Longest pause in an arriving request body.", between(0.1, 900))
    header_bytes_max: int = setting(65_536, "Size of a request head.", between(1024, 1_048_576))
    start_s_max: float = setting(60.0, "Time for a worker to import the app and start it.", between(1, 900))
    drain_s_max: float = setting(30.0, "Time for running requests to finish when a worker stops.", between(0, 900))
    drain_idle_s: float = setting(2.0, "Time idle connections stay open in a draining worker.", between(0, 900))
    orphan_s_max: float = setting(
        60.0, "How long workers serve without a supervisor before they drain.", between(0, 86_400)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsSection:
    """Defaults for all functions, and the function host of this machine."""

    memory_mb: int = setting(512, "Memory of an instance; it also sets its CPU share.", between(128, 10_240))
    timeout_s: float = setting(30.0, "An invocation is killed after this time.", between(0.1, 900))
    concurrency_max: int = setting(100, "Instances at the most.", between(1, 10_000))
    keep_alive_s: float | Auto = setting("auto", "An idle instance ends after this time.", between(0, 86_400))
    buffer: int = setting(0, "Spares: started instances held unused.", between(0, 10_000))
    like: str = setting(
        "local", "Start as fast as can be (local) or as Lambda does (lambda).", one_of("local", "lambda")
    )
    arn: str = setting("", "Spill to this Lambda function instead of the local host.")
    invoke_listen: str = setting("127.0.0.1:0", "Signed Invoke API port for boto3 and the AWS CLI.", _ADDRESS)
    spill_body_bytes_max: int = setting(
        1_048_576, "A request with a larger body stays on the servers.", between(0, 4_500_000)
    )
    spill_after_seen: int = setting(
        20, "Server responses a route must have shown before it may spill undeclared.", between(1, 1_000_000)
    )
    starts_in_flight_max: int | Auto = setting(
        "auto", "Instances being started at once; auto is two a core.", between(1, 1000)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSection:
    """Something behind the app that both sides share, and its limit."""

    name: str = setting("", "Name of the resource.", _NAME)
    connections_max: int = setting(0, "Connections it takes in all.", between(1, 10_000_000))
    per_worker: int = setting(1, "Connections one worker may open.", between(0, 100_000))
    per_instance: int = setting(1, "Connections one instance may open.", between(0, 100_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSection:
    """One path or pattern of paths of the web app."""

    path: str = setting("", "Exact path, or a prefix followed by *.", _ROUTE_PATH)
    placement: str = setting("hybrid", "Where it may run.", _PLACEMENTS)
    latency_p95_ms: float | None = setting(None, "Objective of this route; absent is the app's.", between(1, 900_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSection:
    """One event handler."""

    name: str = setting("", "Name of the function.", _NAME)
    handler: str = setting("", "module:attribute of handler(event, context).", _TARGET)
    memory_mb: int | None = setting(None, "Memory; absent is [functions].", between(128, 10_240))
    timeout_s: float | None = setting(None, "Time limit; absent is [functions].", between(0.1, 900))
    concurrency_max: int | None = setting(None, "Instances at the most; absent is [functions].", between(1, 10_000))
    keep_alive_s: float | Auto | None = setting(None, "Idle time; absent is [functions].", between(0, 86_400))
    buffer: int | None = setting(None, "Spares; absent is [functions].", between(0, 10_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A whole `peaker.toml`, checked."""

    app: AppSection = dataclasses.field(default_factory=AppSection)
    objective: ObjectiveSection = dataclasses.field(default_factory=ObjectiveSection)
    servers: ServersSection = dataclasses.field(default_factory=ServersSection)
    functions: FunctionsSection = dataclasses.field(default_factory=FunctionsSection)
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    resource: tuple[ResourceSection, ...] = ()
    route: tuple[RouteSection, ...] = ()
    function: tuple[FunctionSection, ...] = ()
    directory: str = "."
    """Where the settings file stands; imports and relative paths start there."""

    def to_json(self) -> str:
        """For handing to a process of the same run."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The reverse of `to_json`."""
        document = json.loads(text)
        directory = document.pop("directory")
        return _build_settings(document, _Source("generation file", ""), directory)


REQUIRED = {ResourceSection: ("name", "connections_max"), RouteSection: ("path",), FunctionSection: ("name", "handler")}
SINGLE_SECTIONS: dict[str, type] = {
    "app": AppSection,
    "objective": ObjectiveSection,
    "servers": ServersSection,
    "functions": FunctionsSection,
}
REPEATED_SECTIONS: dict[str, type] = {"resource": ResourceSection, "route": RouteSection, "function": FunctionSection}


def load_settings(path: Path, stage: str = "") -> Settings:
    """Read `peaker.toml`, or `[tool.peaker]` of a `pyproject.toml`, with the overlay `[stage.NAME]` applied.

    Raises:
        SettingsError: file, line, name, value and allowed range of the first thing that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"the settings file cannot be read: {error.strerror}.",
            where=str(path),
            remedy="Name it with --config, or run from the directory it stands in.",
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the settings file is not UTF-8 at byte {error.start}.", where=str(path)) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not valid TOML: {error}.", where=str(path)) from error
    source = _Source(str(path), text)
    if path.name == "pyproject.toml":
        document = document.get("tool", {}).get("peaker", {})
        source = _Source(str(path), text, prefix="tool.peaker.")
        if not document:
            raise SettingsError("there is no [tool.peaker] table.", where=str(path))
    stages = document.pop("stage", {})
    if stage:
        if stage not in stages:
            known = ", ".join(sorted(stages)) or "none are defined"
            raise SettingsError(f"stage = {stage!r} is not defined; there are: {known}.", where=str(path))
        document = _overlay(document, stages[stage])
    if isinstance(app := document.get("app", {}), dict):
        document["app"] = {"name": _default_name(path), **app}
    return _build_settings(document, source, str(path.resolve().parent))


def replaced(settings: Settings, name: str, value: Any, where: str = "") -> Settings:
    """The same settings with one value changed, checked as in the file; `name` is `section.key`.

    Raises:
        SettingsError: the value is not allowed.
    """
    section_name, _, key = name.partition(".")
    section = getattr(settings, section_name)
    field = next(field for field in dataclasses.fields(section) if field.name == key)
    _check_value(name, value, typing.get_type_hints(type(section))[key], field.metadata["check"], where)
    return dataclasses.replace(settings, **{section_name: dataclasses.replace(section, **{key: value})})


def _default_name(path: Path) -> str:
    cleaned = re.sub(r"[^a-zA-Z0-9_-]", "-", path.resolve().parent.name).strip("-")
    return cleaned if cleaned[:1].isalpha() else f"app-{cleaned}".rstrip("-")


def _overlay(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in above.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if both_tables else value
    return merged


@dataclass(frozen=True)
class _Source:
    """The file a value came from, able to say on which line."""

    path: str
    text: str
    prefix: str = ""

    def line_of(self, section: str, key: str, index: int = 0) -> str:
        """`path:line`; the section's line where the key stands in no line of its own, the path where neither is found.

        TOML parsers of the standard library drop positions, so the line is looked for in the text.
        """
        header = re.compile(r"^\s*\[\[?\s*" + re.escape(self.prefix + section) + r"\s*\]\]?\s*(#.*)?$")
        assignment = re.compile(r"""^\s*["']?""" + re.escape(key) + r"""["']?\s*=""")
        seen, found, inside = -1, "", not section
        for number, line in enumerate(self.text.splitlines(), 1):
            if header.match(line):
                seen += 1
                inside = seen == index
                if inside:
                    found = f"{self.path}:{number}"
            elif line.lstrip().startswith("["):
                inside = False
            elif inside and assignment.match(line):
                return f"{self.path}:{number}"
        return found or self.path


def _build_settings(document: Mapping[str, Any], source: _Source, directory: str) -> Settings:
    values: dict[str, Any] = {"directory": directory}
    known = [*SINGLE_SECTIONS, *REPEATED_SECTIONS, "env"]
    for name, value in document.items():
        if name in SINGLE_SECTIONS:
            values[name] = _build_section(SINGLE_SECTIONS[name], value, source, name)
        elif name in REPEATED_SECTIONS:
            if not isinstance(value, list):
                raise SettingsError(f"{name} is repeated: write [[{name}]].", where=source.line_of(name, ""))
            section = REPEATED_SECTIONS[name]
            values[name] = tuple(_build_section(section, item, source, name, i) for i, item in enumerate(value))
            _require_distinct(values[name], name, source)
        elif name == "env":
            values[name] = _build_env(value, source)
        else:
            where = source.line_of(name, "") if isinstance(value, (dict, list)) else source.line_of("", name)
            raise SettingsError(f"unknown section or key {name!r}.{_suggestion(name, known)}", where=where)
    return Settings(**values)


def _build_env(table: Any, source: _Source) -> dict[str, str]:
    if not isinstance(table, dict):
        raise SettingsError("env is a table of NAME = value.", where=source.line_of("", "env"))
    for name, value in table.items():
        if not isinstance(value, str):
            raise SettingsError(
                f"env.{name} = {value!r} is not text.", where=source.line_of("env", name), remedy="Put it in quotes."
            )
    return dict(table)


def _build_section(section: type[_SectionType], table: Any, source: _Source, name: str, index: int = 0) -> _SectionType:
    if not isinstance(table, dict):
        raise SettingsError(f"{name} is a table: write [{name}].", where=source.line_of("", name))
    fields = {field.name: field for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(section)
    for key, value in table.items():
        where = source.line_of(name, key, index)
        if key not in fields:
            raise SettingsError(f"unknown key {key!r} in [{name}].{_suggestion(key, list(fields))}", where=where)
        _check_value(f"{name}.{key}", value, hints[key], fields[key].metadata["check"], where)
    for key in REQUIRED.get(section, ()):
        if key not in table:
            raise SettingsError(f"[[{name}]] has no {key}.", where=source.line_of(name, "", index))
    return section(**table)


def _check_value(name: str, value: Any, hint: Any, check: Check | None, where: str) -> None:
    if value is None and type(None) in typing.get_args(hint):
        return
    if value == "auto" and Auto in typing.get_args(hint):
        return
    allowed_types = _plain_types(hint)
    is_number_for_float = float in allowed_types and isinstance(value, int) and not isinstance(value, bool)
    exact_type = type(value) in allowed_types
    if not (exact_type or is_number_for_float):
        wanted = " or ".join(sorted({_TYPE_WORDS[kind] for kind in allowed_types}))
        also = ' or "auto"' if Auto in typing.get_args(hint) else ""
        raise SettingsError(f"{name} = {value!r} is not {wanted}{also}.", where=where)
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{name} = {value!r} is not a list of texts.", where=where)
    allowed = check(value) if check else ""
    if allowed:
        raise SettingsError(f"{name} = {value!r} is not allowed; allowed: {allowed}.", where=where)


_TYPE_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
}


def _plain_types(hint: Any) -> set[type]:
    # `int | None` is a types.UnionType, `int | Literal["auto"]` a typing.Union.
    members = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    plain = {typing.get_origin(member) or member for member in members}
    return {kind for kind in plain if kind in _TYPE_WORDS}


def _require_distinct(sections: tuple[Any, ...], name: str, source: _Source) -> None:
    key = "path" if name == "route" else "name"
    seen: set[str] = set()
    for index, section in enumerate(sections):
        value = getattr(section, key)
        if value in seen:
            raise SettingsError(f"{name}.{key} = {value!r} stands twice.", where=source.line_of(name, key, index))
        seen.add(value)


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known))}."
