"""The options of `peaker plan`, and what they say: figures that are known, needs, objective and choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from peaker.app import settings_file_here
from peaker.cli import present
from peaker.settings import Settings, load_settings
from peaker.units import parse_duration_s

if TYPE_CHECKING:  # what needs the extra is imported after it was asked for
    from peaker.plan.case import Choices, Figure, Needs, Objective, Operations
    from peaker.plan.from_traffic import Known
    from peaker.plan.measured import Measured

LATENCY_MS_DEFAULT = 300.0

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_POSITIVE = click.FloatRange(min=0, min_open=True)
_OPTIONS = (
    click.option("--latency-ms", type=_POSITIVE, help="Objective.  [default: that of peaker.toml, else 300]"),
    click.option(
        "--percentile", type=click.FloatRange(50, 99.99), default=95.0, show_default=True,
        help="Share of the requests that is answered in that time, in %.",
    ),
    click.option("--region", help="[default: that of peaker.toml, else us-east-1]"),
    click.option("--arch", type=click.Choice(["arm64", "x86_64"]), help="[default: that of peaker.toml, else arm64]"),
    click.option("--instance-type", "instance_types", multiple=True, metavar="TYPE", help="Only these; repeatable."),
    click.option(
        "--service-ms", metavar="MS[,MS...]",
        help="Time of a request on an idle server; several are evenly spaced quantiles, the least first.",
    ),
    click.option("--cpu-share", type=click.FloatRange(0, 1, min_open=True), help="The part of it that computes."),
    click.option("--worker-memory-mb", type=_POSITIVE, help="What a worker process needs."),
    click.option("--memory-mb", type=click.FloatRange(128, 10_240), help="What an instance of a function needs."),
    click.option("--cold-start-ms", metavar="MS[,MS...]", help="What starting an instance adds, as --service-ms."),
    click.option("--response-bytes", type=click.FloatRange(min=0), help="Mean size of an answer."),
    click.option("--measured", type=click.Path(path_type=Path), metavar="FILE",
                 help="Figures of `peaker measure`.  [default: measured.json beside peaker.toml, if there]"),
    click.option("--no-measured", is_flag=True, help="Leave the project's measured.json alone."),
    click.option("--trigger", type=click.Choice(["request", "event", "job"]), default="request", show_default=True,
                 help="What starts the work."),
    click.option("--longest", metavar="TIME", help="The longest run that must come to its end, such as 20min."),
    click.option("--connections", is_flag=True, help="It holds WebSockets or endless streams."),
    click.option("--state", "in_process_state", is_flag=True, help="It keeps state in the process between requests."),
    click.option(
        "--stays", multiple=True, metavar="WHAT=SHARE",
        help="A part that must stay on servers, and its share of the requests; repeatable.",
    ),
    click.option("--servers-min", type=click.IntRange(0, 1000), default=1, show_default=True,
                 help="Servers there always are, where there are any."),
    click.option("--speed", type=click.FloatRange(0.1, 10),
                 help="Speed of a vCPU, times having been taken at 1.  [default: as measured, else 1]"),
    click.option("--ops", metavar="LIST", help="Work of people: servers=H,functions=H hours a month, usd=R an hour."),
    click.option("--purchase", type=click.Choice(["on demand", "1 year", "3 years", "spot"]), default="on demand",
                 show_default=True, help="How servers are bought, at the rates of `peaker prices`."),
    click.option("--commitment", multiple=True, metavar="NAME=SHARE",
                 help="Share off the price of servers that always run, such as 1-year=0.27; repeatable."),
    click.option("--free-tier", is_flag=True, help="Count Lambda's free tier."),
    click.option("--simpler-within", type=click.FloatRange(0, 1), default=0.05, show_default=True,
                 help="Take the one with fewer parts if it costs no more than this share above."),
)  # fmt: skip


def question_options(function: _Decorated) -> _Decorated:
    """All options that say what is asked."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def project(config: str | None) -> Settings | None:
    """The settings of the project here; None where there is none, for a log alone is enough."""
    path = Path(config) if config else settings_file_here()
    return load_settings(path) if path else None


def measured_of(given: dict[str, Any], settings: Settings | None) -> Measured | None:
    """What `peaker measure` saved: the file that was named, else the one of the project here, which is said.

    Taken without being asked for, it leaves the times of a log alone: those were seen where the app really runs.
    """
    from peaker.plan.measured import FILE_NAME, load_measured

    if given["measured"]:
        return load_measured(given["measured"])
    if given["no_measured"]:
        return None
    beside = Path(settings.directory, FILE_NAME) if settings else None
    if beside is None or not beside.is_file():
        return None
    measured = load_measured(beside)
    present.say(f"{beside} of {measured.measured_at[:10]} is taken; --measured names another, --no-measured none.")
    return measured


def known_of_options(given: dict[str, Any], measured: Measured | None) -> Known:
    """Figures that were given, above those that were measured."""
    from peaker.plan.case import Origin, Times
    from peaker.plan.from_traffic import Known
    from peaker.plan.measured import known_of

    def times(name: str) -> Times | None:
        text = given[name]
        return Times(_milliseconds(text, _flag(name)), Origin.GIVEN, "") if text else None

    told: dict[str, Any] = {
        "service_s": times("service_ms"),
        "cold_start": times("cold_start_ms"),
        "cpu_share": _figure(given["cpu_share"]),
        "worker_memory_mb": _figure(given["worker_memory_mb"]),
        "function_memory_mb": _figure(given["memory_mb"]),
        "response_bytes": _figure(given["response_bytes"]),
    }
    below = known_of(measured) if measured else Known()
    if told["service_s"] or told["cpu_share"]:
        below = replace(below, routes=())  # Measured one by one, they would contradict what was given for all.
    return replace(below, **{name: value for name, value in told.items() if value is not None})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _figure(value: float | None) -> Figure | None:
    from peaker.plan.case import Figure, Origin

    return None if value is None else Figure(value, Origin.GIVEN)


def _milliseconds(text: str, flag: str) -> tuple[float, ...]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not milliseconds, or several with a comma between.", param_hint=flag
        ) from error
    if values != sorted(values) or not all(0 <= value < math.inf for value in values):
        raise click.BadParameter(f"{text!r} is not allowed; allowed: 0 and more, the least first.", param_hint=flag)
    return tuple(value / 1000 for value in values)


def objective_of(given: dict[str, Any], settings: Settings | None) -> Objective:
    """The objective that was given, else the project's, else 300 ms."""
    from peaker.plan.case import Objective

    latency_ms = given["latency_ms"]
    if latency_ms is None:
        latency_ms = settings.objective.latency_p95_ms if settings else LATENCY_MS_DEFAULT
    return Objective(latency_s=latency_ms / 1000, percentile=given["percentile"] / 100)


def choices_of(given: dict[str, Any], settings: Settings | None, measured: Measured | None) -> Choices:
    """What may be chosen from; a measurement may know the speed of the instance types."""
    from peaker.plan.case import Choices, Purchase
    from peaker.plan.measured import speed_known

    known = speed_known(measured)
    return Choices(
        region=given["region"] or (settings.aws.region if settings else "us-east-1"),
        architecture=given["arch"] or (settings.functions.architecture if settings else "arm64"),
        instance_types=given["instance_types"],
        servers_min=given["servers_min"],
        speed=known.factor if given["speed"] is None else given["speed"],
        speed_measured=None if known.is_assumed or given["speed"] is not None else (known.low, known.high),
        simpler_within=given["simpler_within"],
        free_tier=given["free_tier"],
        operations=_operations(given["ops"]),
        purchase=Purchase(given["purchase"]),
        commitment_discounts=tuple(_shares(given["commitment"], "--commitment")),
    )


def needs_of(given: dict[str, Any], settings: Settings | None) -> Needs:
    """What the work cannot do without; what it shares stands in the project's [[resource]] sections."""
    from peaker.plan.case import Needs, Resource, Trigger

    stays = _shares(given["stays"], "--stays")
    return Needs(
        trigger=Trigger(given["trigger"]),
        longest_s=_duration_s(given["longest"], "--longest"),
        connections=given["connections"],
        state=given["in_process_state"],
        servers_also_for=tuple(what for what, _ in stays),
        spillable_share=max(0.0, 1 - sum(share for _, share in stays)),
        resources=tuple(
            Resource(
                name=section.name,
                connections_max=section.connections_max,
                per_worker=section.per_worker,
                per_instance=section.per_instance,
            )
            for section in (settings.resource if settings else ())
        ),
    )


def _duration_s(text: str | None, flag: str) -> float:
    try:
        return 0.0 if text is None else parse_duration_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=flag) from error


def _shares(pairs: tuple[str, ...], flag: str) -> list[tuple[str, float]]:
    found = []
    for pair in pairs:
        name, _, text = pair.rpartition("=")
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not name or not 0 < share <= 1:
            raise click.BadParameter(f"{pair!r} is not NAME=SHARE with a share above 0, up to 1.", param_hint=flag)
        found.append((name, share))
    return found


def _operations(text: str | None) -> Operations:
    from peaker.plan.case import Operations

    members = {"servers": "servers_h", "functions": "functions_h", "usd": "usd_per_h"}
    values: dict[str, float] = {}
    for part in filter(None, (text or "").split(",")):
        name, _, number = part.partition("=")
        try:
            values[members[name.strip()]] = float(number)
        except (KeyError, ValueError) as error:
            raise click.BadParameter(
                f"{part!r} is not one of servers=H, functions=H, usd=R.", param_hint="--ops"
            ) from error
    return Operations(**values)
