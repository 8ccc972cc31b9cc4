"""`peaker measure`: what an app needs, found out by driving it on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peaker.app import find_settings
from peaker.cli import present
from peaker.cli.check import check_settings
from peaker.cli.measure_targets import Chosen, allowed_methods, read_body, targets_given, weighted_by_log
from peaker.cli.measure_text import announcement, report, score_text, speed_text
from peaker.cli.options import json_option, require_writable, settings_options
from peaker.cli.replay import header_fields
from peaker.cli.traffic_options import Duration
from peaker.clock import SystemClock
from peaker.errors import SettingsError
from peaker.extras import require_extra
from peaker.plan.cpu_benchmark import ROUNDS, CpuScore, Speed, assumed_speed, measure_score, speed_of
from peaker.plan.measured import FILE_NAME, Measured, load_score, to_json
from peaker.settings import Settings, replaced
from peaker.traffic.mix import Target

if TYPE_CHECKING:
    from peaker.engines.local.measuring.measure import ToMeasure

FOR_S = (5.0, 3600.0)
REQUESTS_MAX = 10_000_000

ROUNDS_BESIDE = 9
"""Of the CPU benchmark within a whole measurement: fewer, for the interval is that between runs anyhow."""


@click.command("measure")
@settings_options
@click.option("--path", "paths", multiple=True, metavar="[METHOD ]/PATH[:WEIGHT]", help="What is asked; repeatable.")
@click.option("--log", metavar="LOG", help="Weigh the paths as this access log does; takes its plain GET routes.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with each; repeatable.")
@click.option("--method", "methods", multiple=True, metavar="METHOD", help="Allow more than GET and HEAD; repeatable.")
@click.option("--body", type=click.Path(path_type=Path), metavar="FILE", help="Sent with POST, PUT and PATCH.")
@click.option("--for", "for_s", type=Duration(), default=60.0, help="How long requests are sent.  [default: 60s]")
@click.option(
    "--requests-max", type=click.IntRange(1, REQUESTS_MAX), default=100_000, show_default=True, help="Load at the most."
)
@click.option("--objective-ms", type=float, help="Instead of objective.latency_p95_ms.")
@click.option("--no-functions", is_flag=True, help="Leave functions of this machine out.")
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE", help=f"Not into {FILE_NAME} beside the settings."
)
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw the curve: .svg, .png or .pdf.")
@click.option("--cpu", "only_cpu", is_flag=True, help="Only the speed of this machine's CPU.")
@click.option(
    "--cpu-of",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with the score that --cpu --save wrote on another machine.",
)
@click.option("--yes", is_flag=True, help="Do not ask before requests are sent.")
@json_option
def command(**given: Any) -> int:
    """Measure what the app needs, by driving it on this machine; `peaker plan` takes the result.

    Starts the app with one worker, beside whatever runs; asks each path one request at a time, then raises the load
    until p95 leaves the objective; starts fresh processes; runs the same requests on functions. Only GET and HEAD are
    sent unless --method allows more. Ctrl-C stops it all, and nothing is written.

    --cpu runs a benchmark of 2 to 3 seconds instead. Run it with --save on the instance type and here with --cpu-of,
    and the factor between the two machines is known; without it a plan takes 1, give or take 30 %.

    \b
    Examples:
      peaker measure --path / --path '/search?q=tea:3'
      peaker measure --log access.log --path /users/7 --yes --json
      peaker measure --method POST --path 'POST /quote' --body quote.json --header 'content-type: application/json'
      peaker measure --cpu --save c7g.json      (on the instance type)
      peaker measure --cpu-of c7g.json          (here)
    """  # noqa: D301
    there = None if given["cpu_of"] is None else load_score(given["cpu_of"])
    if given["only_cpu"] or (there is not None and not given["paths"] and given["log"] is None):
        for name in ("path", "log", "body", "picture"):
            if given["paths" if name == "path" else name]:
                raise SettingsError(f"--{name} has no meaning with --cpu.", where=f"--{name}")
        return _cpu(there, given["save"], as_json=given["as_json"])
    return _whole(given, there)


def _whole(given: dict[str, Any], there: CpuScore | None) -> int:
    """All of it: ask, measure, save, show."""
    picture: Path | None = given["picture"]
    if not FOR_S[0] <= given["for_s"] <= FOR_S[1]:
        raise SettingsError(
            f"{given['for_s']:g} s is not allowed; allowed: {FOR_S[0]:g} to {FOR_S[1]:g}.", where="--for"
        )
    if picture is not None:
        require_extra("plan", purpose="Drawing a picture")
        from peaker.plan.measured_picture import require_picture_name

        require_picture_name(picture)
    settings = find_settings(given["config"], given["stage"])
    if given["objective_ms"] is not None:
        settings = replaced(settings, "objective.latency_p95_ms", given["objective_ms"], where="--objective-ms")
    chosen = _chosen(given["paths"], given["methods"], given["log"])
    wanted = _to_measure(settings, chosen, given)
    file = given["save"] or Path(settings.directory, FILE_NAME)
    require_writable(file)
    _require_consent(wanted, yes=given["yes"])
    check_settings(settings)
    with _output_of_others_to_stderr():
        measured = _measured(wanted, chosen, there)
    file.write_text(to_json(measured), encoding="utf-8")
    if picture is not None:
        from peaker.plan.measured_picture import draw_measured

        draw_measured(measured, picture)
    if given["as_json"]:
        present.data(dataclasses.asdict(measured))
    else:
        present.out(report(measured))
    present.say(f"peaker: saved in {file}; `peaker plan LOG --measured {file}` takes it.")
    return 0


def _chosen(paths: tuple[str, ...], methods: tuple[str, ...], log: str | None) -> Chosen:
    given = targets_given(paths, allowed_methods(methods))
    if log is None:
        return Chosen(tuple(given) or (Target("GET", "/"),))
    require_extra("plan", purpose="Reading a log")
    from peaker.traffic.reading import read_traffic

    with present.reading_bar() as progress:
        traffic, _ = read_traffic([log], format=None, progress=progress)
    return weighted_by_log(given, traffic, log)


def _to_measure(settings: Settings, chosen: Chosen, given: dict[str, Any]) -> ToMeasure:
    from peaker.engines.local.measuring.alone import settings_alone
    from peaker.engines.local.measuring.measure import ToMeasure

    settings_alone(settings, functions=False)  # Says at once that there is no web app.
    return ToMeasure(
        settings=settings,
        targets=chosen.targets,
        headers=tuple(header_fields(given["headers"])),
        body=read_body(given["body"]),
        for_s=given["for_s"],
        requests_max=given["requests_max"],
        on_functions=not given["no_functions"],
    )


def _require_consent(wanted: ToMeasure, *, yes: bool) -> None:
    """Say what will be done, and ask.

    Raises:
        SettingsError: nobody is there to answer, and --yes was not given.
        click.Abort: the answer is no.
    """
    present.say(
        announcement(
            wanted.settings.app.web,
            wanted.targets,
            body_bytes=len(wanted.body),
            for_s=wanted.for_s,
            requests_max=wanted.requests_max,
            on_functions=wanted.on_functions,
        )
    )
    if yes:
        return
    if not sys.stdin.isatty():
        raise SettingsError("nobody is there to agree to these requests.", remedy="Add --yes if they may be sent.")
    click.confirm("Go on?", abort=True, err=True)


def _measured(wanted: ToMeasure, chosen: Chosen, there: CpuScore | None) -> Measured:
    import uvloop

    score = _score(ROUNDS_BESIDE)
    found = uvloop.run(_until_signal(wanted))
    return dataclasses.replace(
        found,
        cpu=score,
        speed=None if there is None else speed_of(score, there),
        notes=(*found.notes, *chosen.notes),
    )


async def _until_signal(wanted: ToMeasure) -> Measured:
    """A signal ends it as Ctrl-C does: what was started is stopped first."""
    from peaker.engines.local.measuring.measure import measure

    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await measure(
            wanted,
            clock=SystemClock(),
            chance=random.Random(1),  # noqa: S311 - repeatable traffic, no secret
            say=lambda text: present.say(f"peaker: {text}"),
        )
    except asyncio.CancelledError as error:
        raise click.Abort from error


@contextlib.contextmanager
def _output_of_others_to_stderr() -> Iterator[None]:
    """What the app prints goes to standard error, so that standard output has the result alone."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _cpu(there: CpuScore | None, save: Path | None, *, as_json: bool) -> int:
    if save is not None:
        require_writable(save)
    score = _score()
    speed = assumed_speed() if there is None else speed_of(score, there)
    if save is not None:
        save.write_text(json.dumps(dataclasses.asdict(score), indent=1) + "\n", encoding="utf-8")
        present.say(f"peaker: saved in {save}; `peaker measure --cpu-of {save}` on another machine compares.")
    if as_json:
        present.data({"cpu": dataclasses.asdict(score), "speed": dataclasses.asdict(speed)})
    else:
        present.out(_cpu_text(score, speed))
    return 0


def _cpu_text(score: CpuScore, speed: Speed) -> str:
    return f"{score_text(score)}\n{speed_text(speed)}"


def _score(rounds: int = ROUNDS) -> CpuScore:
    from peaker.engines.local.measuring.process_cost import machine_name

    return measure_score(time.process_time, python=platform.python_version(), machine=machine_name(), rounds=rounds)
