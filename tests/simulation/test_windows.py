"""Windows of a day against the whole day."""

import numpy as np
import pytest

from peaker.plan.quick import simulate
from peaker.plan.windows import draw_windows, simulate_windows
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, exponential_quantiles

WORK = Workload(service_quantiles_s=exponential_quantiles(0.1, 101), cold_start_quantiles_s=(0.3, 0.5, 1.5))
POOL, FUNCTIONS = ServerPool(slots=8), FunctionPool(overhead_s=0.015)


def _day(mean: float, seed: int) -> np.ndarray:
    """Seconds of a day with a cycle and eight flash crowds, each four times the load for ten minutes."""
    chance = np.random.default_rng(seed)
    at = np.arange(86_400)
    rates = mean * (1 - 0.6 * np.cos(at / 86_400 * 2 * np.pi))
    for start in chance.integers(0, 86_400 - 600, 8):
        rates[start : start + 600] *= 1 + 3 * np.exp(-np.arange(600) / 200)
    return chance.poisson(rates)


@pytest.mark.parametrize("spill", [True, False])
def test_windows_tell_the_latency_of_a_day_within_three_percent(*, spill: bool) -> None:
    counts = _day(60.0, seed=1)
    servers = np.where(np.arange(86_400) // 7200 % 12 < 4, 1, 2)
    rules = Rules(objective_s=0.4, spill=spill, queue_wait_s_max=1.0)
    full = simulate(counts, 1.0, servers, WORK, POOL, FUNCTIONS, rules, seed=1)
    windows = draw_windows(counts, servers, steps=120, per_stratum=8, seed=2)
    assert sum(window.weight for window in windows) == pytest.approx(86_400 / 120)
    assert sum(window.end - window.first for window in windows) < 0.35 * 86_400
    sampled = simulate_windows(counts, 1.0, servers, WORK, POOL, FUNCTIONS, rules, windows=windows, seed=3)
    for probability in (0.5, 0.95, 0.99):
        low_s, high_s = sampled.interval_s(probability)
        seen_s = sampled.latency.quantile_s(probability)
        assert low_s <= seen_s <= high_s
        assert seen_s == pytest.approx(full.latency.quantile_s(probability), rel=0.03)
    assert sampled.spilled_share == pytest.approx(full.spilled_share, abs=0.01)


def test_all_windows_together_are_the_whole() -> None:
    counts = _day(5.0, seed=4)[:3600]
    windows = draw_windows(counts, 1, steps=300, per_stratum=1000, seed=1)
    assert all(window.weight == 1 for window in windows)
    sampled = simulate_windows(counts, 1.0, 1, WORK, POOL, FUNCTIONS, Rules(objective_s=0.4), windows=windows, seed=1)
    assert sum(outcome.requests for outcome in sampled.outcomes) == counts.sum()
    for outcome in sampled.outcomes:
        assert outcome.latency.total == pytest.approx(
            outcome.requests, abs=5
        )  # Who began in the warm-up ends after it.
