"""`peaker simulate` with prices: what a rule for the number of servers costs on a trace, beside the optimum."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from peaker.cli import present
from peaker.cli.options import require_writable
from peaker.errors import SettingsError
from peaker.extras import require_extra
from peaker.policy.baseline import DEFAULT, NAMES, make_baseline
from peaker.policy.provision import SERVERS_MAX, Bounds, Economics
from peaker.traffic.trace import Trace, read_trace

if TYPE_CHECKING:
    from peaker.simulate.provisioning import Course, Judgement

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_PRICE = click.FloatRange(0, 1e6, min_open=True)
_SECONDS = click.FloatRange(0, 86_400)

_OPTIONS = (
    click.option("--policy", type=click.Choice(NAMES), help=f"The rule to follow.  [default: {DEFAULT}]"),
    click.option("--server-usd-per-hour", type=_PRICE, help="Price of a server, ready or starting."),
    click.option("--function-usd-per-server-hour", type=_PRICE, help="Price of a server's full work on functions."),
    click.option("--server-start-s", type=_SECONDS, help="Until a server is ready.  [default: 90]"),
    click.option("--servers-mean", type=click.FloatRange(1e-3, 10_000), help="Scale the trace to this mean demand."),
    click.option(
        "--step-s", "step_size_s", type=click.FloatRange(0.1, 86_400), help="How often is decided.  [default: 30]"
    ),
    click.option("--smooth-s", type=click.FloatRange(0, 604_800), help="Take a centred moving mean first."),
    click.option("--servers-min", type=click.IntRange(0, SERVERS_MAX), help="The fewest servers.  [default: 0]"),
    click.option("--servers-max", type=click.IntRange(1, SERVERS_MAX), help="The most servers."),
    click.option(
        "--decisions", type=click.Path(path_type=Path), metavar="FILE", help="Also write each step there, as CSV."
    ),
)
_OWN = (
    "policy",
    "server_usd_per_hour",
    "function_usd_per_server_hour",
    "server_start_s",
    "servers_mean",
    "step_size_s",
    "smooth_s",
    "servers_min",
    "servers_max",
    "decisions",
)
_NEEDED = ("server_usd_per_hour", "function_usd_per_server_hour", "servers_mean")
_SHARED = ("trace", "from_s", "for_s", "step_s", "servers", "as_json")

FIXED = "fixed"


def server_options(function: _Decorated) -> _Decorated:
    """The rule, prices and times."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def is_asked_for(given: dict[str, Any]) -> bool:
    """One of the options that belong to this way of simulating was given."""
    return any(given[name] is not None for name in _OWN)


def provision(file: Path, given: dict[str, Any], *, as_json: bool) -> int:
    """Follow the rule through the trace, and show what it costs; raises what the parts of it raise."""
    require_extra("plan", purpose="Simulating servers")
    _refuse_others(given)
    if given["decisions"] is not None:
        require_writable(given["decisions"])
    trace = read_trace(file, step_s=given["step_s"]).cut(given["from_s"], given["for_s"])
    name, economics = given["policy"] or DEFAULT, _economics(given)
    course, judgement = _simulated(trace, name, economics, given)
    if given["decisions"] is not None:
        _write(given["decisions"], course, economics.step_s)
    if as_json:
        present.data(_told(trace, name, economics, course, judgement))
    else:
        present.out(_text(trace, name, course, judgement, economics))
    return 0


def _refuse_others(given: dict[str, Any]) -> None:
    """Options of the other ways would be ignored; that is said instead."""
    context = click.get_current_context()
    for name in context.params:
        if name in _OWN or name in _SHARED:
            continue
        if context.get_parameter_source(name) not in {ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP}:
            option = next(each.opts[0] for each in context.command.params if each.name == name)
            raise SettingsError("it has no meaning beside prices of servers and functions.", where=option)
    missing = [f"--{name.replace('_', '-')}" for name in _NEEDED if given[name] is None]
    if missing:
        raise SettingsError(f"{', '.join(missing)} missing: a number of servers is simulated with prices and a mean.")
    if given["servers"] is not None and given["policy"] != FIXED:
        raise SettingsError("it belongs to --policy fixed.", where="--servers")


def _economics(given: dict[str, Any]) -> Economics:
    return Economics(
        server_usd_per_hour=given["server_usd_per_hour"],
        function_usd_per_server_hour=given["function_usd_per_server_hour"],
        server_start_s=90.0 if given["server_start_s"] is None else given["server_start_s"],
        step_s=given["step_size_s"] or 30.0,
    )


def _simulated(trace: Trace, name: str, economics: Economics, given: dict[str, Any]) -> tuple[Course, Judgement]:
    from peaker.simulate.provisioning import demand_of, followed, judged

    demand = demand_of(
        trace, step_s=economics.step_s, servers_mean=given["servers_mean"], smooth_s=given["smooth_s"] or 0.0
    )
    bounds = Bounds(servers_min=given["servers_min"] or 0, servers_max=given["servers_max"] or SERVERS_MAX)
    servers = None
    if name == FIXED:
        servers = math.ceil(given["servers_mean"]) if given["servers"] is None else given["servers"]
    begin_s = 0.0 if trace.start is None else _as_utc(trace).timestamp()
    with present.work_bar("simulating") as progress:

        def course_of(rule: str, count: int | None = None) -> Course:
            made = make_baseline(rule, economics, bounds, servers=count)
            told: Callable[[int, int], None] = lambda done, steps: progress(rule, done, steps)  # noqa: E731
            return followed(made, demand, economics, begin_s=begin_s, progress=told)

        course = course_of(name, servers)
        even = course if name == "break-even" else course_of("break-even")
        return course, judged(course, economics, break_even=even)


def _as_utc(trace: Trace) -> Any:
    """A start without a zone is taken for UTC, so that the same file gives the same on every machine."""
    assert trace.start is not None
    return trace.start if trace.start.tzinfo else trace.start.replace(tzinfo=UTC)


def _write(file: Path, course: Course, step_s: float) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["t_s", "demand_servers", "servers_ready", "servers_starting", "spilled_servers"])
        columns = (course.demand_servers, course.ready, course.starting, course.spilled_servers)
        for step, (demand, ready, starting, spilled) in enumerate(
            zip(*(each.tolist() for each in columns), strict=True)
        ):
            writer.writerow([f"{step * step_s:.10g}", f"{demand:.10g}", ready, starting, f"{spilled:.10g}"])


def _told(trace: Trace, name: str, economics: Economics, course: Course, judgement: Judgement) -> dict[str, Any]:
    cost = judgement.cost
    return {
        "trace": trace.name,
        "policy": name,
        "economics": dataclasses.asdict(economics),
        "steps": len(course.demand_servers),
        "demand_mean_servers": float(course.demand_servers.mean()),
        "demand_peak_servers": float(course.demand_servers.max()),
        "servers_mean": float((course.ready + course.starting).mean()),
        "usd": cost.usd,
        "ready_usd": cost.ready_usd,
        "starting_usd": cost.starting_usd,
        "functions_usd": cost.functions_usd,
        "optimum_usd": judgement.optimum_usd,
        "break_even_usd": judgement.break_even_usd,
        "to_optimum": judgement.to_optimum,
        "to_break_even": judgement.to_break_even,
        "bound_usd": judgement.bound_usd,
        "spilled_share": judgement.spilled_share,
        "starts": judgement.starts,
        "reversals": judgement.reversals,
    }


def _text(trace: Trace, name: str, course: Course, judgement: Judgement, economics: Economics) -> str:
    cost, steps = judgement.cost, len(course.demand_servers)
    rows = [
        ["", "dollars"],
        ["servers, ready", f"{cost.ready_usd:,.2f}"],
        ["servers, starting", f"{cost.starting_usd:,.2f}"],
        ["functions", f"{cost.functions_usd:,.2f}"],
        ["in all", f"{cost.usd:,.2f}"],
        ["clairvoyant optimum", f"{judgement.optimum_usd:,.2f}"],
        ["break-even", f"{judgement.break_even_usd:,.2f}"],
    ]
    return "\n".join(
        [
            (
                f"{trace.name} under {name}: {steps:,} steps of {economics.step_s:g} s, demand of "
                f"{course.demand_servers.mean():.3g} servers, at most {course.demand_servers.max():.3g}"
            ),
            present.table(rows),
            (
                f"  {judgement.to_optimum:.3f} x the optimum, {judgement.to_break_even:.3f} x break-even; "
                f"{100 * judgement.spilled_share:.2f} % of demand found no server"
            ),
            f"  {judgement.starts:,} starts, {judgement.reversals:,} reversals",
        ]
    )
