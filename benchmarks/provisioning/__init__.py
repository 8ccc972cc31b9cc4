"""What rules for the number of servers cost on real traces, over what the clairvoyant optimum costs.

Each rule is the one that the control loop runs (`peaker.policy.baseline`), followed as `peaker simulate` does it. The
48 cells are six traces, mean demands of 5 and 50 servers, and functions that cost 2.3, 4.6, 16 and 33 times as much as
servers for the same work; steps of 30 s, servers start for 90 s. `--held-out` takes other traces, times and prices.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.provisioning.cells import CELLS, HELD_OUT, Cell
from benchmarks.provisioning.following import Outcome, outcomes
from benchmarks.result import Result, at_most
from peaker.policy.baseline import DEFAULT

RULES = (DEFAULT, "break-even", "target-tracking", "knative", "ray-serve", "moving-average", "fixed")
GEOMETRIC_MAX, AIM = 1.23, 1.18


@dataclass(frozen=True, slots=True)
class Row:
    """A rule over all cells."""

    rule: str
    geometric: float
    worst: float
    worst_cell: str
    to_break_even: float
    spilled_share: float
    over_bound: float
    step_ms: float


def run(arguments: Sequence[str]) -> list[Result]:
    """All cells, one process a core; a line a cell on standard error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks provisioning --")
    parser.add_argument("--data", type=Path, help="folder with traces/")
    parser.add_argument("--held-out", action="store_true", help="other traces, start-up times, steps and prices")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--traces", nargs="+", default=None, help="only these")
    options = parser.parse_args(list(arguments))
    cells = [
        cell
        for cell in (HELD_OUT if options.held_out else CELLS)
        if options.traces in (None, [cell.trace]) or cell.trace in (options.traces or [])
    ]
    if options.data is None or not (options.data / "traces").is_dir():
        return [
            at_most(
                "default, geometric mean", None, GEOMETRIC_MAX, "x", "no traces: name their folder with -- --data DIR"
            )
        ]
    began_s = time.perf_counter()
    found = _all_of(cells, tuple(options.rules), options.data / "traces")
    print(f"{len(cells)} cells in {time.perf_counter() - began_s:.0f} s", file=sys.stderr)
    rows = [_row(rule, [outcome for outcome in found if outcome.rule == rule]) for rule in options.rules]
    print(_table(rows), file=sys.stderr)
    return _results(rows, is_table=not options.held_out and len(cells) == len(CELLS))


def _all_of(cells: Sequence[Cell], rules: tuple[str, ...], folder: Path) -> list[Outcome]:
    found: list[Outcome] = []
    # The longest first, so that no core waits at the end.
    ordered = sorted(cells, key=lambda cell: -cell.weight)
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for cell, results in zip(
            ordered, processes.map(outcomes, ordered, [rules] * len(ordered), [folder] * len(ordered)), strict=True
        ):
            found += results
            print(
                cell.name,
                *(f"{each.rule} {each.to_optimum:.3f}" for each in results),
                sep="  ",
                file=sys.stderr,
                flush=True,
            )
    return found


def _row(rule: str, found: Sequence[Outcome]) -> Row:
    worst = max(found, key=lambda outcome: outcome.to_optimum)
    return Row(
        rule,
        geometric=math.exp(sum(math.log(outcome.to_optimum) for outcome in found) / len(found)),
        worst=worst.to_optimum,
        worst_cell=worst.cell,
        to_break_even=max(outcome.to_break_even for outcome in found),
        spilled_share=sum(outcome.spilled_share for outcome in found) / len(found),
        over_bound=max(outcome.over_bound for outcome in found),
        step_ms=sum(outcome.step_ms for outcome in found) / len(found),
    )


def _table(rows: Sequence[Row]) -> str:
    head = ("rule", "cost over the optimum", "worst cell", "most over break-even", "without a server", "ms a step")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += [
        f"| {row.rule} | {row.geometric:.3f} | {row.worst:.2f} ({row.worst_cell}) | {row.to_break_even:.3f} "
        f"| {100 * row.spilled_share:.2f} % | {row.step_ms:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _results(rows: Sequence[Row], *, is_table: bool) -> list[Result]:
    results = []
    for row in rows:
        title = f"{row.rule}, cost over the optimum, geometric mean"
        if row.rule == DEFAULT:
            results += [
                at_most(title, row.geometric, GEOMETRIC_MAX, "x", f"aim {AIM}")
                if is_table
                else Result(title, row.geometric, "x"),
                at_most(
                    "default, worst cell over 1.01 x break-even + one start",
                    row.over_bound,
                    1.0,
                    "x",
                    "by construction",
                ),
            ]
        else:
            results.append(Result(title, row.geometric, "x"))
    return results
