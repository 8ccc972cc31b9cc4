"""`peaker simulate` at the level of requests: what the running project, or a plan, would do with given traffic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from peaker import __version__
from peaker.app import find_settings, worker_count
from peaker.cli import present
from peaker.cli.compare_text import prediction_text
from peaker.cli.options import require_writable
from peaker.cli.traffic_options import PLAN_SUFFIX, Chosen, chosen_traffic, traffic_options
from peaker.clock import SystemClock
from peaker.errors import SettingsError
from peaker.extras import require_extra
from peaker.plan.measured import FILE_NAME, load_measured
from peaker.plan.plan import load_plan
from peaker.simulate.plan_traffic import trace_of_plan
from peaker.simulate.prediction import Prediction
from peaker.simulate.saved import to_json

if TYPE_CHECKING:
    from peaker.simulate.project_model import Modelled

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

SERVERS_MAX = 1000
RUNS_MAX = 1000

_OPTIONS = (
    click.option(
        "--measured",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"What `peaker measure` found.  [default: {FILE_NAME} beside the settings]",
    ),
    click.option(
        "--servers", type=click.IntRange(0, SERVERS_MAX), help="Servers there are.  [default: servers.count_min]"
    ),
    click.option(
        "--candidate", metavar="NAME", help="Of a plan, not the recommended candidate but this kind or title."
    ),
    click.option(
        "--simulator",
        type=click.Choice(["world", "quick"]),
        help="The gate itself on a virtual clock, or its rule compiled.  [default: world for up to 50,000 requests]",
    ),
    click.option(
        "--runs", type=click.IntRange(1, RUNS_MAX), help="Simulations.  [default: 20, fewer for much traffic]"
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Also write the prediction, for `peaker compare`.",
    ),
)


def request_options(function: _Decorated) -> _Decorated:
    """The traffic, and what it is simulated on."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return traffic_options(function)


def predict(file: Path, given: dict[str, Any], *, as_json: bool) -> int:
    """Simulate the traffic of a file, and show and write what comes out; raises what the parts of it raise."""
    require_extra("plan", purpose="Simulating requests")
    out: Path | None = given["out"]
    if out is not None:
        require_writable(out)
    chosen = chosen_traffic(file, given)
    of, about = _model(file, given, chosen)
    prediction = _predicted(of, about, chosen, given)
    if out is not None:
        out.write_text(to_json(prediction), encoding="utf-8")
        present.say(f"peaker: the prediction is in {out}; `peaker replay` with the same options and --out measures.")
    if as_json:
        present.data(dataclasses.asdict(prediction))
    else:
        present.out(prediction_text(prediction))
    return 0


def _model(file: Path, given: dict[str, Any], chosen: Chosen) -> tuple[str, Modelled]:
    """What is simulated, in words and as a model: a plan's candidate where a plan and no settings file is named."""
    if file.suffix == PLAN_SUFFIX and given["config"] is None:
        for name in ("servers", "measured"):
            if given[name] is not None:
                raise SettingsError("the plan says it itself; it is for a project, --config.", where=f"--{name}")
        return _candidate(file, given)
    if given["candidate"] is not None:
        raise SettingsError("it is for a plan without --config.", where="--candidate")
    return _project(given, chosen)


def _candidate(file: Path, given: dict[str, Any]) -> tuple[str, Modelled]:
    """A candidate of a plan, with the servers that it has in the part of the traffic that was chosen."""
    from peaker.prices import load
    from peaker.simulate.plan_model import candidate_named, model_of_plan

    plan = load_plan(file)
    whole_s = trace_of_plan(plan, file.name).duration_s
    end_s = whole_s if given["for_s"] is None else min(whole_s, given["from_s"] + given["for_s"])
    candidate = candidate_named(plan, given["candidate"], str(file))
    part = (given["from_s"] / whole_s, end_s / whole_s)
    return f"{plan.name}: {candidate.title}", model_of_plan(plan, candidate, load(), part=part)


def _project(given: dict[str, Any], chosen: Chosen) -> tuple[str, Modelled]:
    """The project of the settings file, as it was measured."""
    from peaker.simulate.project_model import model_of_project

    settings = find_settings(given["config"], given["stage"])
    path: Path = given["measured"] or Path(settings.directory, FILE_NAME)
    if not path.exists():
        raise SettingsError(
            "nothing has been measured.", where=str(path), remedy="`peaker measure` does it, with the same --path."
        )
    about = model_of_project(
        settings,
        load_measured(path),
        chosen.targets,
        servers=settings.servers.count_min if given["servers"] is None else given["servers"],
        workers=worker_count(settings),
    )
    return settings.app.name, about


def _predicted(of: str, about: Modelled, chosen: Chosen, given: dict[str, Any]) -> Prediction:
    from peaker.simulate.predicting import Simulator, predicted, runs_for, simulator_for

    named = given["simulator"]
    simulator = Simulator(named) if named else simulator_for(chosen.trace, about.model)
    runs = given["runs"] or runs_for(chosen.trace.total, simulator)
    with present.work_bar("simulating") as progress:
        expected, low, high = predicted(
            chosen.trace,
            chosen.arrivals_s(),
            about.model,
            simulator=simulator,
            seed=chosen.seed,
            runs=runs,
            on_run=lambda done: progress("", done, runs),
        )
    return Prediction(
        of=of,
        made_by=f"peaker {__version__}",
        made_at=datetime.fromtimestamp(SystemClock().epoch_s(), UTC).isoformat(timespec="seconds"),
        traffic=chosen.sent,
        model=about.model,
        inputs=about.inputs,
        simulator=simulator.value,
        seed=chosen.seed,
        runs=runs,
        expected=expected,
        low=low,
        high=high,
        notes=about.notes,
    )
