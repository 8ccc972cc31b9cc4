"""Options that say which traffic: for `peaker replay`, which sends it, and `peaker simulate`, which predicts it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from peaker.errors import SettingsError
from peaker.plan.plan import load_plan
from peaker.simulate.plan_traffic import trace_of_plan
from peaker.traffic.arrivals import Spread, arrival_times_s
from peaker.traffic.mix import Target, parse_target, read_targets
from peaker.traffic.sent import Sent, sent_of
from peaker.traffic.trace import FACTOR_MAX, Trace, read_trace
from peaker.units import parse_duration_s

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

PLAN_SUFFIX = ".json"
FACTOR = click.FloatRange(0, FACTOR_MAX, min_open=True)


class Duration(click.ParamType[float]):
    """A duration such as 90s, 10m or 2h, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of `value`; a wrong one is a usage error."""
        try:
            return value if isinstance(value, float) else parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_OPTIONS = (
    click.option("--speed", type=FACTOR, default=1.0, show_default=True, help="Replay this many times faster."),
    click.option("--scale", type=FACTOR, default=1.0, show_default=True, help="Send this many times as many requests."),
    click.option("--from", "from_s", type=Duration(), default=0.0, help="Begin here, in the trace's own time."),
    click.option("--for", "for_s", type=Duration(), help="Take this much of it, in the trace's own time."),
    click.option("--step", "step_s", type=Duration(), help="Length of a step of a count file whose name does not say."),
    click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same times."),
    click.option(
        "--spread",
        type=click.Choice([str(spread) for spread in Spread]),
        default=str(Spread.RANDOM),
        show_default=True,
        help="How requests are spread within a step.",
    ),
    click.option(
        "--path", "paths", multiple=True, metavar="[METHOD ]/PATH[:WEIGHT]", help="What is asked for; repeatable."
    ),
    click.option("--paths", "paths_file", type=click.Path(path_type=Path), help="File with one such path a line."),
)
NAMES = ("speed", "scale", "from_s", "for_s", "step_s", "seed", "spread", "paths", "paths_file")


def traffic_options(function: _Decorated) -> _Decorated:
    """All of NAMES."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Chosen:
    """The traffic that was chosen: `trace` is cut, scaled and made faster already."""

    trace: Trace
    spread: Spread
    seed: int
    targets: tuple[Target, ...]
    sent: Sent

    def arrivals_s(self) -> Iterator[float]:
        """When each request is due, in seconds from the start: the same times each time it is called."""
        return arrival_times_s(self.trace, self.spread, random.Random(self.seed))  # noqa: S311 - repeatable traffic


def chosen_traffic(file: Path, given: dict[str, Any]) -> Chosen:
    """What a trace, or a saved plan, and these options make.

    Raises:
        TraceError, PlanFileError: the file cannot be read.
        SettingsError: nothing is left to send, or a path is wrong.
    """
    if file.suffix == PLAN_SUFFIX:
        whole = trace_of_plan(load_plan(file), file.name)
    else:
        whole = read_trace(file, step_s=given["step_s"])
    trace = whole.cut(given["from_s"], given["for_s"]).scaled(given["scale"]).faster(given["speed"])
    if not trace.total:
        raise SettingsError("nothing is left to send after --from, --for and --scale.", where=str(file))
    spread, seed = Spread(given["spread"]), given["seed"]
    targets = tuple(_targets(given["paths"], given["paths_file"]))
    sent = sent_of(trace, spread, seed, targets, speed=given["speed"], scale=given["scale"], from_s=given["from_s"])
    return Chosen(trace, spread, seed, targets, sent)


def _targets(paths: tuple[str, ...], paths_file: Path | None) -> list[Target]:
    targets = [parse_target(path) for path in paths]
    if paths_file is not None:
        targets += read_targets(paths_file)
        if not targets:
            raise SettingsError("there is no path in it.", where=str(paths_file))
    return targets or [Target("GET", "/")]
