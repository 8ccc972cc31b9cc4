"""Cases to plan for, small enough to be judged in a moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peaker.plan.case import Case, Choices, Figure, Needs, Objective, Origin, Times, Work

COLD_S = (0.5, 0.9, 1.5)


def given(value: float) -> Figure:
    """A figure that was given."""
    return Figure(value, Origin.GIVEN)


def work(service_s: float = 0.1, **changes: Any) -> Work:
    """Requests of this mean time, a third of which computes."""
    figures = Work(
        service=Times((0.5 * service_s, service_s, 1.5 * service_s), Origin.GIVEN),
        cpu_share=given(0.3),
        cold_start=Times(COLD_S, Origin.GIVEN),
        worker_memory_mb=given(150),
        function_memory_mb=given(512),
        response_bytes=given(0),
    )
    return replace(figures, **changes)


def case(counts: NDArray[np.float64], step_s: float = 1.0, **changes: Any) -> Case:
    """A case of these counts; keywords replace members of the case."""
    members: dict[str, Any] = {
        "work": work(),
        "needs": Needs(),
        "objective": Objective(latency_s=0.4),
        "choices": Choices(),
    }
    return Case(name="case", counts=np.asarray(counts, dtype=np.float64), step_s=step_s, **{**members, **changes})


def poisson(rates: NDArray[np.float64], seed: int = 1) -> NDArray[np.float64]:
    """Counts by chance around these means."""
    return np.random.default_rng(seed).poisson(rates).astype(np.float64)


def crowds(mean: float, times: float, *, seconds: int = 14_400, each_s: int = 7200, lasts_s: int = 300) -> Any:
    """A steady load, `times` as much for `lasts_s` in every `each_s`."""
    at = np.arange(seconds)
    return poisson(np.where(at % each_s < lasts_s, times * mean, mean))
