"""Request-level simulation of servers, functions or both: compiled, seeded, the same answer for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peaker.plan.outcome import Outcome
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Spacing, Workload

if TYPE_CHECKING:
    import numpy as np


def simulate(  # noqa: PLR0917 - the order of the story: traffic, servers, work, pools, rules
    counts: np.ndarray,
    step_s: float,
    servers: np.ndarray | int,
    workload: Workload,
    pool: ServerPool,
    functions: FunctionPool,
    rules: Rules,
    *,
    seed: int,
    spacing: Spacing = "poisson",
    by_step: bool = False,
) -> Outcome:
    """Simulate a trace of request counts by step; see the package's documentation."""
    raise NotImplementedError
