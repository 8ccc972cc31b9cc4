"""A comparison, and a prediction, for a person."""

from __future__ import annotations

from peaker.cli.present import table
from peaker.simulate.comparison import Comparison, Row
from peaker.simulate.measures import BY_NAME, MEASURES
from peaker.simulate.prediction import Prediction
from peaker.simulate.telling import figure, off
from peaker.traffic.sent import Sent


def comparison_text(found: Comparison) -> str:
    """The table, and below it what limits it."""
    repeats = f"{found.repeats} replay{'s' if found.repeats > 1 else ''}"
    if found.void:
        repeats += f", {found.void} of them void and left out"
    head = f"{found.of} beside {repeats} of {found.app}\n{traffic_text(found.traffic)}"
    rows: list[tuple[str, ...]] = [("", "predicted", "measured", "spread", "error", "allowed", "")]
    rows += [_cells(row) for row in found.rows]
    lines = [head, "", table(rows)]
    if found.repeats - found.void == 1:
        lines += ["", "One replay tells no spread: repeat it, and name all the files."]
    lines += ["", *found.notes] if found.notes else []
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    measure = BY_NAME[row.name]
    spread = "-" if row.spread is None or len(row.repeats) < 2 else off(measure, row.spread, sign=False)
    error = "-" if row.error is None else off(measure, row.error)
    return (
        measure.title,
        figure(measure, row.predicted),
        figure(measure, row.measured),
        spread,
        error,
        off(measure, row.allowed, sign=False),
        str(row.verdict),
    )


def prediction_text(prediction: Prediction) -> str:
    """What was expected, between which bounds, and what it rests on."""
    expected, low, high = prediction.expected, prediction.low, prediction.high
    rows: list[tuple[str, ...]] = [("", "expected", "least", "most")]
    rows += [
        (
            measure.title,
            *(figure(measure, getattr(each, measure.name)) for each in (expected, low, high)),
        )
        for measure in MEASURES
    ]
    inputs = [("it rests on", "", ""), *((each.name, each.value, each.origin) for each in prediction.inputs)]
    lines = [f"{prediction.of}\n{traffic_text(prediction.traffic)}", "", table(rows), ""]
    lines += [f"{prediction.runs} simulations ({prediction.simulator}), from seed {prediction.seed} on", ""]
    lines += [table(inputs)]
    lines += ["", *prediction.notes] if prediction.notes else []
    return "\n".join(lines)


def traffic_text(traffic: Sent) -> str:
    """What is sent, on one line."""
    changed = [
        f"{name} {value:g}" for name, value in (("speed", traffic.speed), ("scale", traffic.scale)) if value != 1
    ]
    return (
        f"{traffic.requests:,} requests of {traffic.name}{' at ' + ', '.join(changed) if changed else ''} in "
        f"{traffic.duration_s:,.4g} s, {traffic.mean_per_s:,.4g} a second on average, {traffic.peak_per_s:,.4g} in the "
        f"busiest step (traffic {traffic.hash[:8]})"
    )
