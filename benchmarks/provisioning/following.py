"""Rules followed through one cell."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from benchmarks.provisioning.cells import SERVER_USD_PER_HOUR, Cell
from peaker.policy.baseline import Bounds, Economics, make_baseline
from peaker.policy.provision import SERVERS_MAX
from peaker.simulate.provisioning import Course, demand_of, followed, judged, optimum_of
from peaker.traffic.trace import read_trace

DAY_S = 86_400.0
_BOUNDS = Bounds(servers_min=0, servers_max=SERVERS_MAX)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One rule in one cell; `over_bound` is its cost over 1.01 x break-even's and one start."""

    cell: str
    rule: str
    to_optimum: float
    to_break_even: float
    over_bound: float
    spilled_share: float
    step_ms: float


def outcomes(cell: Cell, rules: tuple[str, ...], folder: Path) -> list[Outcome]:
    """Each rule from the same demand, beside the optimum and break-even."""
    trace = read_trace(folder / f"{cell.trace}.csv.gz")
    if cell.days_max is not None and trace.duration_s > cell.days_max * DAY_S:
        trace = trace.cut(0, cell.days_max * DAY_S)
    demand = demand_of(trace, step_s=cell.step_s, servers_mean=cell.servers_mean, smooth_s=cell.smooth_s)
    economics = Economics(
        server_usd_per_hour=SERVER_USD_PER_HOUR,
        function_usd_per_server_hour=SERVER_USD_PER_HOUR * cell.price_ratio,
        server_start_s=cell.start_s,
        step_s=cell.step_s,
    )
    start = trace.start
    begin_s = 0.0 if start is None else (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
    optimum_usd = optimum_of(demand, economics)

    def course_of(rule: str) -> tuple[Course, float]:
        servers = math.ceil(cell.servers_mean) if rule == "fixed" else None
        began_s = time.process_time()
        course = followed(make_baseline(rule, economics, _BOUNDS, servers=servers), demand, economics, begin_s=begin_s)
        return course, (time.process_time() - began_s) * 1000 / len(demand)

    even, even_ms = course_of("break-even")
    found = []
    for rule in rules:
        course, step_ms = (even, even_ms) if rule == "break-even" else course_of(rule)
        judgement = judged(course, economics, break_even=even, optimum_usd=optimum_usd)
        found.append(
            Outcome(
                cell.name,
                rule,
                judgement.to_optimum,
                judgement.to_break_even,
                judgement.cost.usd / judgement.bound_usd,
                judgement.spilled_share,
                step_ms,
            )
        )
    return found
