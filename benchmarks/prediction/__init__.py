"""Is a prediction true? `peaker simulate` before, `peaker replay` after, on the streaming example."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from pathlib import Path

from benchmarks.prediction.chain import Proved, prove
from benchmarks.prediction.shapes import LENGTH_S, QUICK_LENGTH_S, SHAPES
from benchmarks.result import Result
from peaker.simulate.comparison import POINTS_MAX, SPREAD_MAX, Row, Verdict
from peaker.simulate.measures import BY_NAME

REPEATS = 5
QUICK_REPEATS = 2
BARRED = ("latency_p50_ms", "latency_p95_ms", "usd", "spilled_share")
"""What must come out; the others are shown."""

SPILLED = (0.05, 0.50)


def run(options: list[str]) -> list[Result]:
    """Measure the app, predict all shapes, replay them in turn, compare."""
    parser = argparse.ArgumentParser(prog="prediction", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_REPEATS} repeats of {QUICK_LENGTH_S:g} s: a look")
    parser.add_argument("--repeats", type=int, default=0, help=f"(default {REPEATS})")
    parser.add_argument("--keep", type=Path, help="leave all files in this folder")
    chosen = parser.parse_args(options)
    repeats = chosen.repeats or (QUICK_REPEATS if chosen.quick else REPEATS)
    if not 1 <= repeats <= 50:
        parser.error("--repeats must be 1 to 50")
    length_s = QUICK_LENGTH_S if chosen.quick else LENGTH_S
    proved = asyncio.run(prove(SHAPES, length_s=length_s, repeats=repeats, keep=chosen.keep))
    return [result for each in proved for result in results_of(each, is_whole=not chosen.quick)]


def results_of(proved: Proved, *, is_whole: bool) -> list[Result]:
    """A row a figure, and one that says whether the shape, sent whole, is one that the bar speaks of."""
    print(f"\n{proved.shape.name}: {proved.shape.about}\n{proved.text}", file=sys.stderr, flush=True)
    rows = [_result(proved, row) for row in proved.comparison.rows]
    spilled = next(row.measured for row in proved.comparison.rows if row.name == "spilled_share")
    within = spilled is not None and SPILLED[0] <= spilled <= SPILLED[1]
    share = None if spilled is None else spilled * 100
    bar, holds = ("5 to 50", within) if is_whole else ("", None)
    return [*rows, Result(f"{proved.shape.name}: spilled", share, "%", bar, holds)]


def _result(proved: Proved, row: Row) -> Result:
    measure = BY_NAME[row.name]
    is_share = measure.unit == ""
    points = is_share and row.name != "cold_starts"
    value = None if row.error is None else abs(row.error) * 100
    bar = ""
    holds = None
    if row.name in BARRED:
        bar = f"<= {POINTS_MAX * 100:g} points" if points else f"<= {row.allowed * 100:.1f} %"
        holds = {Verdict.HOLDS: True, Verdict.OFF: False, Verdict.NOT_MEASURED: None}[row.verdict]
    spread = "-" if row.spread is None else f"{row.spread * 100:.1f}"
    known = [value for value in row.repeats if value is not None]
    detail = f"predicted {_told(row.predicted)}, measured {_told(statistics.median(known) if known else None)}, "
    detail += f"spread {spread} {'points' if points else '%'}"
    if row.verdict is Verdict.NOT_MEASURED:
        detail += f" (over {SPREAD_MAX:.0%}: not measured)"
    return Result(
        f"{proved.shape.name}: error of {measure.title}", value, "points" if points else "%", bar, holds, detail
    )


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
