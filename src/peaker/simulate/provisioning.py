"""What a rule for the number of servers costs on a trace: the rules of `policy/baseline.py` themselves, step by step.

The model: ready and starting servers pay the server's price; demand above the ready ones pays the functions' price; a
server is ready after it has been starting for the start-up time, in whole steps; one that is given up is gone at once,
the last started first. A rule decides for a step before that step's demand is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peaker.errors import TraceError
from peaker.plan.optimum import ServerCost, clairvoyant
from peaker.policy.break_even import starting_time_s
from peaker.policy.cost_bound import SHARE
from peaker.policy.paper_fleet import PaperFleet
from peaker.policy.provision import Baseline, Economics, Seen
from peaker.traffic.trace import GAP, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

STEPS_MAX = 5_000_000
SERVERS_MEAN_MAX = 10_000.0
DEMAND_PEAK_MAX = 100_000.0

Progress = Callable[[int, int], None]
_PROGRESS_EVERY = 500


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What came of a rule, by step; demand in servers."""

    demand_servers: Floats
    ready: Integers
    starting: Integers
    started: int

    @property
    def spilled_servers(self) -> Floats:
        """Demand that found no ready server."""
        spilled: Floats = np.maximum(0.0, self.demand_servers - self.ready)
        return spilled

    @property
    def reversals(self) -> int:
        """How often the number of servers, ready and starting, changed against the direction of the change before."""
        changes = np.diff(self.ready + self.starting)
        directions = np.sign(changes[changes != 0])
        return int(np.count_nonzero(np.diff(directions)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Dollars of a course."""

    ready_usd: float
    starting_usd: float
    functions_usd: float

    @property
    def usd(self) -> float:
        """In all."""
        return self.ready_usd + self.starting_usd + self.functions_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A course beside the clairvoyant optimum and break-even."""

    cost: Cost
    optimum_usd: float
    break_even_usd: float
    start_usd: float
    spilled_share: float
    starts: int
    reversals: int

    @property
    def to_optimum(self) -> float:
        """Cost over that of the clairvoyant optimum; 1 where neither costs anything."""
        return _ratio(self.cost.usd, self.optimum_usd)

    @property
    def to_break_even(self) -> float:
        """Cost over that of break-even."""
        return _ratio(self.cost.usd, self.break_even_usd)

    @property
    def bound_usd(self) -> float:
        """What the default policy never exceeds: 1.01 times break-even and one start."""
        return SHARE * self.break_even_usd + self.start_usd


def demand_of(trace: Trace, *, step_s: float, servers_mean: float, smooth_s: float = 0.0) -> Floats:
    """Demand in servers by step of `step_s`, with a mean of `servers_mean`.

    Gaps carry the last value forward (those at the beginning count as 0). Finer steps are averaged, coarser ones
    interpolated linearly between their middles. `smooth_s` is how long a centred moving mean is; it is shorter at both
    ends.

    Raises:
        TraceError: a value is out of range, the trace is shorter than a step, or nothing is left of it.
    """
    _require("step_s", step_s, 0.1, 86_400.0)
    _require("servers_mean", servers_mean, 1e-3, SERVERS_MEAN_MAX)
    _require("smooth_s", smooth_s, 0.0, 86_400.0 * 7)
    steps = int(trace.duration_s / step_s + 1e-9)
    if not 1 <= steps <= STEPS_MAX:
        raise TraceError(f"it makes {steps:,} steps of {step_s:g} s; allowed: 1 to {STEPS_MAX:,}.", where=trace.name)
    values = _without_gaps(trace.array())
    if trace.step_s <= step_s * (1 + 1e-9):
        total = np.concatenate([[0.0], np.cumsum(values)])
        edges = np.arange(steps + 1) * (step_s / trace.step_s)
        found = np.diff(np.interp(edges, np.arange(len(total)), total))
    else:
        middles = (np.arange(len(values)) + 0.5) * trace.step_s
        found = np.interp((np.arange(steps) + 0.5) * step_s, middles, values)
    if smooth_s > step_s:
        found = _smoothed(found, round(smooth_s / step_s))
    mean = float(found.mean())
    if mean <= 0:
        raise TraceError("there is no load in it.", where=trace.name)
    demand: Floats = found * (servers_mean / mean)
    if float(demand.max()) > DEMAND_PEAK_MAX:
        raise TraceError(
            f"its peak is {demand.max():,.0f} servers; allowed: to {DEMAND_PEAK_MAX:,.0f}.",
            where=trace.name,
            remedy="Give a smaller mean.",
        )
    return demand


def _without_gaps(counts: NDArray[np.int64]) -> Floats:
    known = counts != GAP
    last = np.maximum.accumulate(np.where(known, np.arange(len(counts)), -1))
    values: Floats = np.where(last >= 0, counts[np.maximum(last, 0)], 0).astype(np.float64)
    return values


def _smoothed(values: Floats, width: int) -> Floats:
    half = width // 2
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(0, at - half), np.minimum(len(values), at + half + 1)
    means: Floats = (total[high] - total[low]) / (high - low)
    return means


def followed(
    baseline: Baseline,
    demand_servers: Floats,
    economics: Economics,
    *,
    begin_s: float,
    progress: Progress | None = None,
) -> Course:
    """The course of a rule that begins without servers at `begin_s`, in seconds since 1970.

    `progress` is told steps done and in all.
    """
    steps, step_s, start_s = len(demand_servers), economics.step_s, starting_time_s(economics)
    ready, starting = np.zeros(steps, np.int64), np.zeros(steps, np.int64)
    fleet, seen_last, started = PaperFleet(), None, 0
    for step, demand in enumerate(demand_servers.tolist()):
        serving = fleet.ready
        seen = Seen(
            now_s=begin_s + step * step_s,
            demand_servers=seen_last,
            servers_ready=serving,
            servers_starting=fleet.servers - serving,
        )
        wanted = baseline.decide(seen).servers
        started += max(0, wanted - seen.servers)
        fleet.order(wanted, start_s)
        ready[step] = fleet.ready
        starting[step] = wanted - fleet.ready
        fleet.pass_time(step_s)
        seen_last = demand
        if progress is not None and (step % _PROGRESS_EVERY == 0 or step == steps - 1):
            progress(step + 1, steps)
    return Course(demand_servers, ready, starting, started)


def cost_of(course: Course, economics: Economics) -> Cost:
    """What a course costs."""
    hours = economics.step_s / 3600
    return Cost(
        ready_usd=float(course.ready.sum()) * hours * economics.server_usd_per_hour,
        starting_usd=float(course.starting.sum()) * hours * economics.server_usd_per_hour,
        functions_usd=float(course.spilled_servers.sum()) * hours * economics.function_usd_per_server_hour,
    )


def judged(course: Course, economics: Economics, *, break_even: Course, optimum_usd: float | None = None) -> Judgement:
    """A course beside break-even's of the same demand and the optimum, which is reckoned unless it is known."""
    if optimum_usd is None:
        optimum_usd = optimum_of(course.demand_servers, economics)
    return Judgement(
        cost=cost_of(course, economics),
        optimum_usd=optimum_usd,
        break_even_usd=cost_of(break_even, economics).usd,
        start_usd=economics.start_steps * economics.step_s / 3600 * economics.server_usd_per_hour,
        spilled_share=_share(float(course.spilled_servers.sum()), float(course.demand_servers.sum())),
        starts=course.started,
        reversals=course.reversals,
    )


def optimum_of(demand_servers: Floats, economics: Economics) -> float:
    """Dollars of the clairvoyant optimum (`plan/optimum.py`)."""
    prices = ServerCost(
        server_usd=economics.server_usd_per_hour,
        function_usd=economics.function_usd_per_server_hour,
        start_s=economics.server_start_s,
    )
    return clairvoyant(demand_servers, economics.step_s, prices).usd


def _ratio(cost: float, line: float) -> float:
    return cost / line if line > 0 else 1.0 if cost <= 0 else math.inf


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise TraceError(f"{name} = {value:g} is not allowed; allowed: {low:g} to {high:g}.", where="simulate")
