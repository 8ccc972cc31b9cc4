"""`peaker plan`: which architecture for this traffic, how many servers, what it costs, and why."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from peaker.cli import present
from peaker.cli.options import json_option
from peaker.cli.plan_options import (
    choices_of,
    known_of_options,
    measured_of,
    needs_of,
    objective_of,
    project,
    question_options,
)
from peaker.errors import PlanFileError, PriceError
from peaker.extras import require_extra
from peaker.settings import Settings
from peaker.units import parse_duration_s

if TYPE_CHECKING:  # what needs the extra is imported after it was asked for
    from peaker.plan.case import Case
    from peaker.plan.plan import Plan
    from peaker.traffic.requests import ReadingReport, Traffic


@click.command("diff")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@json_option
def diff(*, before: Path, after: Path, as_json: bool) -> None:
    """Show what changed from one saved plan to another: answer, question, figures and candidates.

    BEFORE and AFTER are files of `peaker plan LOG --save FILE`, or its output with --json.
    """
    from peaker.cli.plan_text import difference_text
    from peaker.cli.traffic import as_data
    from peaker.plan.difference import difference

    found = difference(_saved(before), _saved(after))
    if as_json:
        present.data(as_data(found))
    else:
        present.out(difference_text(found))


class _PlanCommand(click.Command):
    """`peaker plan LOG...`, and `peaker plan diff A B`: a log named `diff` is written ./diff."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Hand over to `diff` where that is the first word."""
        if args[:1] == ["diff"]:
            return diff.make_context(f"{info_name} diff", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("plan", cls=_PlanCommand)
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@question_options
@click.option("--prices", type=click.Path(path_type=Path), metavar="DIR", help="Prices of your own instead.")
@click.option("--format", "format_name", metavar="NAME", help="The log's format, as for `peaker traffic`.")
@click.option("--step", help="Length of a step of a count file whose name does not say it, such as 1min.")
@click.option("--config", metavar="FILE", help="Settings file.  [default: peaker.toml, else pyproject.toml, if here]")
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan as JSON.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Write one HTML file with pictures.")
@click.option("--write", is_flag=True, help="Put the answer into the settings file; shows the change first.")
@click.option("--yes", is_flag=True, help="Do not ask before --write.")
@json_option
def command(
    *,
    logs: tuple[str, ...],
    prices: Path | None,
    format_name: str | None,
    step: str | None,
    config: str | None,
    save: Path | None,
    report: Path | None,
    write: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Say which architecture suits the traffic in LOG, how many servers, what it costs a month, and why.

    LOG is what `peaker traffic` reads: a file, a pattern, a folder, or - for standard input. Nothing else is needed;
    what the log does not tell is assumed, said to be, and replaced by an option or by `peaker measure`.

    \b
    Examples:
      peaker plan access.log
      peaker plan 'logs/*.gz' --latency-ms 200 --region eu-west-1 --report plan.html
      peaker plan requests_1min.csv --service-ms 40,60,180 --cpu-share 0.5 --save monday.json
      peaker plan diff monday.json friday.json

    Exit codes: 0 answered, 1 nothing meets every need and the objective, 2 the log or an option is wrong.
    """  # noqa: D301 - \b is click's mark for text it must not wrap
    require_extra("plan", purpose="Planning")
    settings = project(config)
    traffic, read = _read(logs, format_name, step)
    case, plan = _planned(traffic, given, settings, prices)
    _keep(plan, save, report)
    if as_json:
        from peaker.cli.traffic import as_data
        from peaker.plan.plan import to_json

        present.data({"plan": json.loads(to_json(plan)), "reading": as_data(read)})
    else:
        from peaker.cli.plan_text import plan_text

        present.out(plan_text(plan, read))
    if plan.answer is None:
        return 1
    if write:
        from peaker.cli.plan_write import write_plan

        write_plan(plan, case, Path(config) if config else None, ask=not yes)
    return 0


def _read(logs: tuple[str, ...], format_name: str | None, step: str | None) -> tuple[Traffic, ReadingReport]:
    from peaker.traffic.reading import read_traffic

    try:
        step_s = None if step is None else parse_duration_s(step)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--step") from error
    sources: list[str | Path | BinaryIO] = [sys.stdin.buffer if log == "-" else log for log in logs]
    with present.reading_bar() as progress:
        return read_traffic(sources, format=format_name, progress=progress, step_s=step_s)


def _planned(
    traffic: Traffic, given: dict[str, Any], settings: Settings | None, prices: Path | None
) -> tuple[Case, Plan]:
    from peaker.plan.from_traffic import case_of
    from peaker.plan.make import make_plan
    from peaker.prices import load

    measured = measured_of(given, settings)
    if measured is not None and not given["measured"] and traffic.source_has_times:
        measured = replace(measured, service_s=None, routes=())
    case = case_of(
        traffic,
        known_of_options(given, measured),
        objective_of(given, settings),
        choices_of(given, settings, measured),
        needs_of(given, settings),
    )
    table = load(prices)
    if case.choices.region not in table.regions:
        raise PriceError(
            f"there are no prices for the region {case.choices.region!r}; there are: {', '.join(table.regions)}.",
            remedy="`peaker prices --update --region NAME` fetches those of another region.",
        )
    with present.work_bar("planning") as progress:
        return case, make_plan(case, table, start=traffic.trace.start, progress=progress)


def _keep(plan: Plan, save: Path | None, report: Path | None) -> None:
    """Write the files that were asked for, before anything is printed."""
    from peaker.plan.plan import to_json

    for path, make in ((save, to_json), (report, _html)):
        if path is None:
            continue
        try:
            path.write_text(make(plan), encoding="utf-8")
        except OSError as error:
            raise PlanFileError(f"it cannot be written: {error.strerror}.", where=str(path)) from error
        present.say(f"{path} is written.")


def _html(plan: Plan) -> str:
    from peaker.plan.report import report_html

    return report_html(plan)


def _saved(path: Path) -> Plan:
    """A plan from --save, or within the output of --json."""
    from peaker.plan.plan import from_json

    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFileError(f"the plan cannot be read: {error}.", where=str(path)) from error
    except ValueError as error:
        raise PlanFileError(f"it is not JSON: {error}.", where=str(path)) from error
    if isinstance(found, dict) and isinstance(found.get("plan"), dict):
        text = json.dumps(found["plan"])
    return from_json(text, str(path))
