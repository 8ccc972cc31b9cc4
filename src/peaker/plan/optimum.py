"""The least that any number of servers over time could have cost: the line that no plan can beat.

Demand is measured in servers. It is cut into levels: level n is the part of demand between n-1 and n, and the n-th
server is there to carry it. A ready or starting server pays `server_usd` an hour; demand above the ready servers pays
`function_usd` for an hour of what one server would have carried. So the cost is a sum over levels, and each level is
decided by itself:

- without start-up time and without a minimum billing time, by the load-duration curve: a server for level n is worth
  its price if the level is in use for more than the share server_usd / function_usd of the time;
- else by a dynamic program over off and on; it is exact, and the sum of all levels is the clairvoyant optimum, which
  knows the future.

No number of servers over time is cheaper than this sum, since any can be read as levels of which the lowest are on; and
the sum can be had, since a level has at least the work of the one above it, and so is on whenever that one is. With a
least billing longer than start-up and one step the first half fails: two servers that overlap, each for its least, may
be cheaper than one that stays and one that comes for a short time. Then it is the best with server n for level n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peaker.plan.queueing.compiled import compiled
from peaker.plan.queueing.state import Floats, Integers
from peaker.plan.workload import require

LEVELS_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCost:
    """What a level costs: dollars an hour of a server, and of functions carrying what one server would.

    `start_s` is paid before a server is ready; `billed_s_min` is what one that was started pays at the least.
    """

    server_usd: float
    function_usd: float
    start_s: float = 0.0
    billed_s_min: float = 0.0

    def __post_init__(self) -> None:
        require(0 < self.server_usd < math.inf, "server_usd", self.server_usd, "> 0")
        require(0 < self.function_usd < math.inf, "function_usd", self.function_usd, "> 0")
        require(0 <= self.start_s < math.inf, "start_s", self.start_s, ">= 0")
        require(0 <= self.billed_s_min < math.inf, "billed_s_min", self.billed_s_min, ">= 0")

    def steps(self, step_s: float) -> tuple[int, int]:
        """Whole steps of starting, and of the least that is paid, at least one more than starting."""
        start = math.ceil(self.start_s / step_s - 1e-9)
        return start, max(start + 1, math.ceil(self.billed_s_min / step_s - 1e-9))


@dataclass(frozen=True, slots=True)
class Provision:
    """Servers over time and what they cost: `paid` starting or ready, `ready`, and demand that functions took."""

    ready: Integers
    paid: Integers
    spilled: Floats
    server_usd: float
    function_usd: float

    @property
    def usd(self) -> float:
        """In all."""
        return self.server_usd + self.function_usd


def duration_curve(demand: npt.ArrayLike, levels: int) -> Floats:
    """The load-duration curve by level: how many steps' worth of work lies in each, shape (levels,).

    Level n gets the sum over steps of min(1, max(0, demand - (n - 1))).

    Raises:
        PlanError: demand is not one-dimensional, negative or not finite.
    """
    wanted = _demand(demand)
    require(0 <= levels <= LEVELS_MAX, "levels", levels, f"within 0..{LEVELS_MAX}")
    # A step with demand d fills whole levels up to floor(d), and d - floor(d) of the next.
    whole = np.minimum(np.floor(wanted), levels).astype(np.int64)
    full = np.bincount(whole, minlength=levels + 1)[: levels + 1]
    part = np.bincount(whole, weights=wanted - np.floor(wanted), minlength=levels + 1)[:levels]
    return (len(wanted) - np.cumsum(full))[:levels].astype(np.float64) + part


def screening(demand: npt.ArrayLike, cost: ServerCost) -> int:
    """How many servers are worth their price if their number never changes: one pass over the load-duration curve.

    The work of a level falls from level to level, so the answer is the number of levels in which functions would cost
    more than a server.

    Raises:
        PlanError: demand is not one-dimensional, negative or not finite.
    """
    wanted = _demand(demand)
    work = duration_curve(wanted, levels_of(wanted))
    return int(np.count_nonzero(work * cost.function_usd > len(wanted) * cost.server_usd))


def levels_of(demand: Floats) -> int:
    """How many levels there are: the peak, rounded up."""
    return math.ceil(float(demand.max(initial=0.0)))


def fixed(demand: npt.ArrayLike, servers: npt.ArrayLike, step_s: float, cost: ServerCost) -> Provision:
    """What a given number of servers, one or one for each step, would have cost. They are there from the first step on.

    A server that is ready in a step and was not before has been starting for `start_s`, as far as the trace goes back.

    Raises:
        PlanError: a value is out of range.
    """
    wanted = _demand(demand)
    ready = np.broadcast_to(np.asarray(servers, dtype=np.int64), wanted.shape)
    require(bool(np.all(ready >= 0)), "min(servers)", int(ready.min(initial=0)), ">= 0")
    start, _ = cost.steps(step_s)
    paid = ready.copy()
    for _ in range(start):  # Whoever is ready a step later has been paid for a step before.
        paid[:-1] = np.maximum(paid[:-1], paid[1:])
    return _provision(wanted, ready, paid, step_s, cost)


def clairvoyant(demand: npt.ArrayLike, step_s: float, cost: ServerCost, *, servers_at_first: int = 0) -> Provision:
    """The cheapest servers over time for a demand known beforehand.

    Exact, in time proportional to steps times levels (`add_level`). The first `servers_at_first` levels begin ready,
    with their least already paid.

    Args:
        demand: in servers, shape (steps,).
        step_s: seconds in a step.
        cost: prices, start-up and least billing.
        servers_at_first: that are ready before the first step.

    Raises:
        PlanError: a value is out of range.
    """
    wanted = _demand(demand)
    require(0 < step_s < math.inf, "step_s", step_s, "> 0")
    levels = levels_of(wanted)
    require(levels <= LEVELS_MAX, "max(demand)", levels, f"at most {LEVELS_MAX} servers")
    start, least = cost.steps(step_s)
    ready, paid = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
    ratio = cost.server_usd / cost.function_usd
    for level in range(levels):
        add_level(wanted, level, ratio, start, least, level < servers_at_first, ready, paid)
    return _provision(wanted, ready, paid, step_s, cost)


@compiled
def add_level(  # noqa: PLR0917 - compiled code has no keywords
    demand: Floats,
    level: int,
    ratio: float,
    start: int,
    least: int,
    is_ready_at_first: bool,  # noqa: FBT001
    ready: Integers,
    paid: Integers,
) -> None:
    """Decide one level and add its server to `ready` and `paid`. Costs are in function prices: a server's is `ratio`.

    Off and on are the two states between which all is decided. Turned on at step t, a server starts for `start` steps,
    pays for `least` steps at the least, and may go off from t + least on. With
      saved(t) = what it saves in step t if ready = work of the level - ratio,
      total(t) = saved(0) + .. + saved(t-1), and the same for the work alone,
    the best is found backwards:
      on(t)  = max(0 + off(t), saved(t) + on(t+1))                  (ready, least paid; may go off now)
      off(t) = max(off(t+1), begun(t) + on(t + least))              (begun: saved over least steps, ready after `start`)
    Ties go to off: a server that saves nothing is not there.
    """
    steps = len(demand)
    total = np.zeros(steps + 1)
    for step in range(steps):
        work = min(1.0, max(0.0, demand[step] - level))
        total[step + 1] = total[step] + (work - ratio)
    off = np.zeros(steps + 1)
    on = np.zeros(steps + 1)
    for step in range(steps - 1, -1, -1):
        end, begin = min(steps, step + least), min(steps, step + start)
        begun = total[end] - total[begin] - ratio * (begin - step) + on[end]
        off[step] = max(off[step + 1], begun)
        on[step] = max(off[step], total[step + 1] - total[step] + on[step + 1])
    _follow(off, on, start, least, is_ready_at_first, ready, paid)


@compiled
def _follow(  # noqa: PLR0917 - compiled code has no keywords
    off: Floats,
    on: Floats,
    start: int,
    least: int,
    is_ready_at_first: bool,  # noqa: FBT001
    ready: Integers,
    paid: Integers,
) -> None:
    """Walk the decisions forwards and count the server in the steps in which it starts or is ready."""
    steps = len(ready)
    is_on = is_ready_at_first
    step = 0
    while step < steps:
        if is_on and on[step] > off[step]:
            ready[step] += 1
            paid[step] += 1
            step += 1
        elif off[step] > off[step + 1]:
            end, begin = min(steps, step + least), min(steps, step + start)
            ready[begin:end] += 1
            paid[step:end] += 1
            step = end
            is_on = True
        else:
            is_on = False
            step += 1


def _provision(demand: Floats, ready: Integers, paid: Integers, step_s: float, cost: ServerCost) -> Provision:
    spilled = np.maximum(0.0, demand - ready)
    hours = step_s / 3600
    return Provision(
        ready=ready,
        paid=paid,
        spilled=spilled,
        server_usd=float(paid.sum()) * hours * cost.server_usd,
        function_usd=float(spilled.sum()) * hours * cost.function_usd,
    )


def _demand(demand: npt.ArrayLike) -> Floats:
    wanted = np.ascontiguousarray(demand, dtype=np.float64)
    require(wanted.ndim == 1 and len(wanted) > 0, "demand.shape", wanted.shape, "(steps,) with at least one step")
    require(
        bool(np.all(np.isfinite(wanted))) and float(wanted.min()) >= 0, "min(demand)", wanted.min(), "finite and >= 0"
    )
    return wanted
