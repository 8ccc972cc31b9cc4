"""Every setting: its name with unit, default, one line of help and check; frozen after load.

A section of `peaker.toml` is one dataclass here; its fields are the keys. The reference page is generated from these
fields, so a setting exists in exactly one place.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from peaker.aws_section import AwsSection
from peaker.errors import SettingsError
from peaker.event_sections import EventsSection, check_destinations
from peaker.job_section import JobSection, check_jobs
from peaker.local_aws_section import LocalAwsSection
from peaker.section_reader import Auto, Source, build_section, check_value, repeated, setting, suggestion
from peaker.setting_checks import (
    ADDRESS,
    DESTINATION,
    FUNCTION_ARN,
    FUNCTION_TIMEOUT,
    HANDLER,
    INVOKE_ENDPOINT,
    NAME,
    NETWORKS,
    OPTIONAL_PATH,
    OPTIONAL_TARGET,
    ROUTE_PATH,
    VARIABLES,
    between,
    one_of,
)
from peaker.toml_lines import Place, TomlLines
from peaker.triggers import TriggerSection, check_triggers
from peaker.variable_tables import build_env, build_secrets

NO_WEB_APP = "peaker.no_web_app:app"
"""What servers run where there are webhooks and no web app."""

_PLACEMENTS = one_of("servers", "functions", "hybrid")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSection:
    """What is run."""

    name: str = setting("app", "Name of the app, absent that of its directory; names processes and functions.", NAME)
    web: str = setting("", "ASGI or WSGI application, or a factory written with ().", OPTIONAL_TARGET)
    spill: bool = setting(False, "Let requests leave the servers. Only for apps that keep no state in the process.")
    warm_up: str = setting(
        "", "Path answered once by GET before instances are forked; must have no lasting effect.", OPTIONAL_PATH
    )
    listen: str = setting("127.0.0.1:8000", "Where the app is served; port 0 takes a free one.", ADDRESS)
    ops_listen: str = setting("127.0.0.1:0", "Where /live, /ready, /status, /usage and /metrics are answered.", ADDRESS)
    trusted_proxies: list[str] = setting(
        [], "Addresses or networks whose X-Forwarded-* headers are believed.", NETWORKS
    )
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
    policy: str = setting(
        "auto",
        "What decides on the number of servers between these; auto learns and weighs prices, fixed leaves it.",
        one_of("auto", "fixed", "break-even", "target-tracking"),
    )
    decide_every_s: float = setting(10.0, "How often that is decided.", between(0.1, 3600))
    stay_s_min: float = setting(
        60.0, "A server that the policy has added stays this long; EC2 bills a minute at least.", between(0, 86_400)
    )
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
        60.0, "How long workers serve without a supervisor before they drain.", between(0.1, 86_400)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsSection:
    """Defaults for all functions, and the function host of this machine."""

    memory_mb: int = setting(512, "Memory of an instance; it also sets its CPU share.", between(128, 10_240))
    timeout_s: float = setting(30.0, "An invocation is killed after this time.", FUNCTION_TIMEOUT)
    concurrency_max: int = setting(100, "Instances at the most.", between(1, 10_000))
    keep_alive_s: float | Auto = setting(
        "auto",
        "An idle instance ends after this time; auto is 600, or what each function's idle times show to be clearly "
        "cheaper (never with like = lambda).",
        between(0, 86_400),
    )
    buffer: int = setting(0, "Spares: started instances held unused.", between(0, 10_000))
    like: str = setting(
        "local", "Start as fast as can be (local) or as Lambda does (lambda).", one_of("local", "lambda")
    )
    architecture: str = setting("arm64", "What functions are priced as and deployed on.", one_of("arm64", "x86_64"))
    log_format: str = setting(
        "text", "What handlers and the host log: text or json, as on Lambda.", one_of("text", "json")
    )
    log_level: str = setting(
        "",
        "Level of the handlers' root logger; absent is WARNING.",
        one_of("", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"),
    )
    invoke_listen: str = setting("127.0.0.1:0", "Signed Invoke API port for boto3 and the AWS CLI.", ADDRESS)
    spill_body_bytes_max: int = setting(
        1_048_576, "A request with a larger body stays on the servers.", between(0, 4_500_000)
    )
    spill_after_seen: int = setting(
        20, "Server responses a route must have shown before it may spill undeclared.", between(1, 1_000_000)
    )
    starts_in_flight_max: int | Auto = setting(
        "auto", "Instances being started at once; auto is two a core.", between(1, 1000)
    )
    layers: list[str] = setting([], "Folders laid out as Lambda layers, the last above the others.")
    arn: str = setting(
        "", "Spill to this function on AWS Lambda, a version or alias included; absent: here.", FUNCTION_ARN
    )
    endpoint: str = setting("", "Where its Invoke API is; absent: that of the region of arn.", INVOKE_ENDPOINT)
    connections_warm: int = setting(4, "TLS connections to it that each worker opens ahead of need.", between(0, 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSection:
    """Something behind the app that both sides share, and its limit."""

    name: str = setting("", "Name of the resource.", NAME)
    connections_max: int = setting(0, "Connections it takes in all.", between(1, 10_000_000))
    per_worker: int = setting(1, "Connections one worker may open.", between(0, 100_000))
    per_instance: int = setting(1, "Connections one instance may open.", between(0, 100_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSection:
    """One path or pattern of paths of the web app."""

    path: str = setting("", "Exact path, or a prefix followed by *.", ROUTE_PATH)
    placement: str = setting("hybrid", "Where it may run.", _PLACEMENTS)
    stream: bool = setting(False, "Pass responses on as they are written; the objective is then to the first byte.")
    latency_p95_ms: float | None = setting(None, "Objective of this route; absent is the app's.", between(1, 900_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSection:
    """One event handler."""

    name: str = setting("", "Name of the function.", NAME)
    runtime: str = setting(
        "python",
        "Forked with its Python code imported (python), or a command that speaks the Runtime API (provided).",
        one_of("python", "provided"),
    )
    handler: str = setting(
        "",
        "module:attribute of handler(event, context), or folder/module.function as on Lambda; "
        "for provided any text, given as _HANDLER.",
    )
    command: list[str] = setting([], "Program and arguments of a provided runtime; absent is the file bootstrap.")
    memory_mb: int | None = setting(None, "Memory; absent is [functions].", between(128, 10_240))
    timeout_s: float | None = setting(None, "Time limit; absent is [functions].", FUNCTION_TIMEOUT)
    concurrency_max: int | None = setting(None, "Instances at the most; absent is [functions].", between(1, 10_000))
    keep_alive_s: float | Auto | None = setting(None, "Idle time; absent is [functions].", between(0, 86_400))
    buffer: int | None = setting(None, "Spares; absent is [functions].", between(0, 10_000))
    layers: list[str] | None = setting(None, "Layer folders; absent is [functions].")
    retries_max: int | None = setting(
        None, "Runs of an event after the first that failed; absent is [events].", between(0, 2)
    )
    event_age_s_max: float | None = setting(
        None, "An event older than this is given up; absent is [events].", between(60, 21_600)
    )
    on_success: str = setting("", "Where the record of an event that succeeded goes.", DESTINATION)
    on_failure: str = setting("", "Where the record of an event that was given up goes.", DESTINATION)
    env: dict[str, str] = setting({}, "Variables of this function alone, above [env]: [function.env].", VARIABLES)
    on: tuple[TriggerSection, ...] = repeated(TriggerSection, "What starts it: [[function.on]].")
    writes: list[str] = setting(
        [], "Objects it writes, bucket/prefix*suffix each; a function that these would start again is refused."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A whole `peaker.toml`, checked."""

    app: AppSection = dataclasses.field(default_factory=AppSection)
    objective: ObjectiveSection = dataclasses.field(default_factory=ObjectiveSection)
    servers: ServersSection = dataclasses.field(default_factory=ServersSection)
    functions: FunctionsSection = dataclasses.field(default_factory=FunctionsSection)
    events: EventsSection = dataclasses.field(default_factory=EventsSection)
    aws: AwsSection = dataclasses.field(default_factory=AwsSection)
    local_aws: LocalAwsSection = dataclasses.field(default_factory=LocalAwsSection)
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    secrets: dict[str, str] = dataclasses.field(default_factory=dict)
    """Where each secret stands, never what it is: `peaker.secret_values` reads it."""
    resource: tuple[ResourceSection, ...] = ()
    route: tuple[RouteSection, ...] = ()
    function: tuple[FunctionSection, ...] = ()
    job: tuple[JobSection, ...] = ()
    directory: str = "."
    """Where the settings file stands; imports and relative paths start there."""
    stage: str = ""
    """The overlay that was applied."""

    @property
    def started(self) -> tuple[FunctionSection | JobSection, ...]:
        """Whatever an event can start."""
        return (*self.function, *self.job)

    def to_json(self) -> str:
        """For handing to a process of the same run."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The reverse of `to_json`."""
        document = json.loads(text)
        directory, stage = document.pop("directory"), document.pop("stage", "")
        return _build_settings(document, Source("generation file", TomlLines(""), stage=stage), directory)


REQUIRED = {
    ResourceSection: ("name", "connections_max"),
    RouteSection: ("path",),
    FunctionSection: ("name",),
    JobSection: ("name", "handler"),
}
SINGLE_SECTIONS: dict[str, type] = {
    "app": AppSection,
    "objective": ObjectiveSection,
    "servers": ServersSection,
    "functions": FunctionsSection,
    "events": EventsSection,
    "aws": AwsSection,
    "local_aws": LocalAwsSection,
}
REPEATED_SECTIONS: dict[str, type] = {
    "resource": ResourceSection,
    "route": RouteSection,
    "function": FunctionSection,
    "job": JobSection,
}


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
        line = re.search(r"\(at line (\d+)", str(error))
        raise SettingsError(f"not valid TOML: {error}.", where=f"{path}:{line[1]}" if line else str(path)) from error
    above: Place = ()
    if path.name == "pyproject.toml":
        above = ("tool", "peaker")
        document = document.get("tool", {}).get("peaker", {})
        if not document or not isinstance(document, dict):
            raise SettingsError("there is no [tool.peaker] table.", where=str(path))
    return _with_stages(document, Source(str(path), TomlLines(text), above), path, stage)


def _with_stages(document: dict[str, Any], source: Source, path: Path, stage: str) -> Settings:
    """The settings of `stage`. All other stages are checked too: a mistake in one shows before the day it is used."""
    stages = document.pop("stage", {})
    if not isinstance(stages, dict) or not all(isinstance(overlay, dict) for overlay in stages.values()):
        raise SettingsError("stage is a table of tables: write [stage.NAME.SECTION].", where=source.line_of("stage"))
    if stage and stage not in stages:
        known = ", ".join(sorted(stages)) or "none are defined"
        raise SettingsError(f"stage = {stage!r} is not defined; there are: {known}.", where=str(path))
    if isinstance(app := document.get("app", {}), dict):
        document["app"] = {"name": default_name(path), **app}
    directory = str(path.resolve().parent)
    built = {"": _build_settings(document, source, directory)}
    for name, overlay in stages.items():
        of_stage = dataclasses.replace(source, stage=name, overlay=overlay)
        built[name] = _build_settings(_overlay(document, overlay), of_stage, directory)
    return built[stage]


def replaced(settings: Settings, name: str, value: Any, where: str = "") -> Settings:
    """The same settings with one value changed, checked as in the file; `name` is `section.key`.

    Raises:
        SettingsError: the value is not allowed.
    """
    section_name, _, key = name.partition(".")
    section = getattr(settings, section_name)
    field = next(field for field in dataclasses.fields(section) if field.name == key)
    check_value(name, value, typing.get_type_hints(type(section))[key], field.metadata["check"], where)
    return dataclasses.replace(settings, **{section_name: dataclasses.replace(section, **{key: value})})


def default_name(path: Path) -> str:
    """The name of an app whose settings file is `path`: that of its folder, made fit."""
    cleaned = re.sub(r"[^a-zA-Z0-9_-]", "-", path.resolve().parent.name).strip("-")
    return (cleaned if cleaned[:1].isalpha() else f"app-{cleaned}")[:64].rstrip("-")


def _overlay(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in above.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if both_tables else value
    return merged


def _build_settings(document: Mapping[str, Any], source: Source, directory: str) -> Settings:
    values: dict[str, Any] = {"directory": directory, "stage": source.stage}
    known = [*SINGLE_SECTIONS, *REPEATED_SECTIONS, "env", "secrets"]
    for name, value in document.items():
        if name in SINGLE_SECTIONS:
            values[name] = build_section(SINGLE_SECTIONS[name], value, source, (name,))
        elif name in REPEATED_SECTIONS:
            if not isinstance(value, list):
                raise SettingsError(f"{name} is repeated: write [[{name}]].", where=source.line_of(name))
            section = REPEATED_SECTIONS[name]
            values[name] = tuple(
                build_section(section, item, source, (name, i), REQUIRED[section]) for i, item in enumerate(value)
            )
            _require_distinct(values[name], name, source)
            if name == "function":
                _check_runtimes(values[name], value, source)
        elif name == "env":
            values[name] = build_env(value, source)
        elif name == "secrets":
            values[name] = build_secrets(value, source)
        else:
            raise SettingsError(
                f"unknown section or key {name!r}.{suggestion(name, known)}", where=source.line_of(name)
            )
    settings = Settings(**values)
    check_jobs(settings.job, settings.function, partial(source.line_of, "job"))

    def line_of(number: int, *keys: str | int) -> str:
        functions = len(settings.function)
        where = ("function", number) if number < functions else ("job", number - functions)
        return source.line_of(*where, *keys)

    check_triggers(settings.started, line_of, settings.secrets)
    check_destinations(settings.started, line_of)
    if not settings.app.web and any(trigger.http for started in settings.started for trigger in started.on):
        return dataclasses.replace(settings, app=dataclasses.replace(settings.app, web=NO_WEB_APP))
    return settings


def _require_distinct(sections: tuple[Any, ...], name: str, source: Source) -> None:
    key = "path" if name == "route" else "name"
    seen: set[str] = set()
    for index, section in enumerate(sections):
        value = getattr(section, key)
        if value in seen:
            raise SettingsError(f"{name}.{key} = {value!r} stands twice.", where=source.line_of(name, index, key))
        seen.add(value)


def _check_runtimes(sections: tuple[FunctionSection, ...], tables: list[dict[str, Any]], source: Source) -> None:
    """What `handler` and `command` may hold depends on the runtime."""
    for index, (function, table) in enumerate(zip(sections, tables, strict=True)):
        if function.runtime == "python" and function.command:
            raise SettingsError(
                f"function.command = {function.command!r} is not for runtime = 'python', which imports its handler.",
                where=source.line_of("function", index, "command"),
                remedy='Take it away, or write runtime = "provided" for a command that speaks the Runtime API.',
            )
        if function.command and not function.command[0]:
            raise SettingsError(
                f"function.command = {function.command!r} begins with an empty text; allowed: the name of a program.",
                where=source.line_of("function", index, "command"),
            )
        if function.runtime == "python" and "handler" not in table:
            raise SettingsError("[[function]] has no handler.", where=source.line_of("function", index))
        if function.runtime == "python" and (allowed := HANDLER(function.handler)):
            raise SettingsError(
                f"function.handler = {function.handler!r} is not allowed; allowed: {allowed}.",
                where=source.line_of("function", index, "handler"),
            )
