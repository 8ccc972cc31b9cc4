"""The traffic that a saved plan has kept, as a trace that can be replayed and simulated."""

from __future__ import annotations

from peaker.errors import PlanFileError
from peaker.plan.plan import Plan
from peaker.traffic.trace import Trace

STEP_S_MIN = 1e-3


def trace_of_plan(plan: Plan, name: str) -> Trace:
    """The plan's moments as steps with their mean rate; what rounding leaves over is carried on.

    A plan keeps at most some hundred moments, so that of long traffic the peaks within a moment are not in it.

    Raises:
        PlanFileError: the plan holds no traffic.
    """
    moments = plan.traffic
    if not moments or not any(moment.mean_per_s > 0 for moment in moments):
        raise PlanFileError("there is no traffic in it.", where=name)
    whole_s = plan.hours * 3600
    step_s = moments[1].start_s - moments[0].start_s if len(moments) > 1 else whole_s
    if step_s < STEP_S_MIN:
        raise PlanFileError(f"its moments are {step_s:g} s apart, and must be {STEP_S_MIN:g} or more.", where=name)
    counts: list[int] = []
    carried = 0.0
    for moment in moments:
        left_s = whole_s - moment.start_s  # The last one may be shorter.
        exact = moment.mean_per_s * (min(step_s, left_s) if left_s > 0 else step_s) + carried
        counts.append(max(0, round(exact)))
        carried = exact - counts[-1]
    return Trace(tuple(counts), step_s, None, name)
