"""`peaker compare`: a prediction beside what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from peaker.cli import present
from peaker.cli.compare_text import comparison_text
from peaker.cli.options import json_option, require_writable
from peaker.errors import SettingsError
from peaker.simulate.comparison import compare
from peaker.simulate.comparison_picture import comparison_svg
from peaker.simulate.measurement import load_measurement
from peaker.simulate.measures import BY_NAME, MEASURES
from peaker.simulate.prediction import load_prediction

OFF = 3
NOT_MEASURED = 4


@click.command("compare")
@click.argument("prediction", type=click.Path(path_type=Path))
@click.argument("measurements", metavar="MEASUREMENT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(list(BY_NAME)),
    help="Look at this figure; repeatable.  [default: all]",
)
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE.svg", help="Also draw it.")
@json_option
def command(
    *,
    prediction: Path,
    measurements: tuple[Path, ...],
    names: tuple[str, ...],
    picture: Path | None,
    as_json: bool,
) -> int:
    """Put a prediction beside one or several replays of the same traffic, with the error of each figure.

    PREDICTION is what `peaker simulate --out` wrote, each MEASUREMENT what `peaker replay --out` did. Of several
    replays the median counts, and how far they are apart is their spread. A figure holds if it is within 10 % of what
    was measured, or within the spread where that is wider; spilled and refused shares hold within 2 points. Where
    replays spread over more than 20 % the figure was not measured. Replays whose generator was late are left out.

    \b
    Examples:
      peaker simulate traffic.csv --out predicted.json
      peaker replay traffic.csv --out measured-1.json
      peaker compare predicted.json measured-*.json
      peaker compare predicted.json measured-*.json --only latency_p95_ms --only usd --json
      peaker compare predicted.json measured-*.json --picture proof.svg

    Exit codes: 0 all hold, 3 a figure is off, 4 none is off and one was not measured, 2 the files are wrong or of
    different traffic.
    """  # noqa: D301
    if picture is not None:
        if picture.suffix != ".svg":
            raise SettingsError("its name must end with .svg.", where=str(picture))
        require_writable(picture)
    judged = [BY_NAME[name] for name in names] if names else MEASURES
    found = compare(load_prediction(prediction), [load_measurement(each) for each in measurements], judged)
    if picture is not None:
        picture.write_text(comparison_svg(found), encoding="utf-8")
    if as_json:
        present.data({**dataclasses.asdict(found), "holds": found.holds, "is_off": found.is_off})
    else:
        present.out(comparison_text(found))
    return OFF if found.is_off else 0 if found.holds else NOT_MEASURED
