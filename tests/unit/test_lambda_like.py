"""Lambda's start times and pace."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaker.functions.lambda_like import FRACTIONS, INIT_MS, PLACEMENT_S, LambdaLike, quantile


def model(own_init_s: float = 0.0, seed: int = 1) -> LambdaLike:
    return LambdaLike(lambda: own_init_s, chance=random.Random(seed), version=(3, 12))


@pytest.mark.parametrize("version", INIT_MS)
def test_the_measured_quantiles_are_met(version: tuple[int, int]) -> None:
    for fraction, value in zip(FRACTIONS, INIT_MS[version], strict=True):
        assert quantile(FRACTIONS, INIT_MS[version], fraction) == pytest.approx(value)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20).map(sorted))
def test_quantiles_rise_with_the_fraction(fractions: list[float]) -> None:
    values = [quantile(FRACTIONS, INIT_MS[3, 14], fraction) for fraction in fractions]
    assert values == sorted(values)


def test_drawn_start_times_have_the_distribution_and_the_seed_gives_them_again() -> None:
    drawn = sorted(each.start_s(0.0) for each in [model()] for _ in range(4000))
    ms = [(drawn[int(fraction * 4000)] - PLACEMENT_S) * 1000 for fraction in (0.5, 0.9)]
    assert ms == [pytest.approx(81.13, rel=0.02), pytest.approx(89.93, rel=0.02)]
    assert [model().start_s(0.0) for _ in range(2)] == [model().start_s(0.0)] * 2


def test_the_apps_own_init_comes_on_top_and_is_not_counted_twice() -> None:
    bare_s = model().start_s(0.0)
    assert model(own_init_s=0.7).start_s(0.005) == pytest.approx(bare_s + 0.7)
    assert model(own_init_s=0.0).start_s(0.9) == pytest.approx(bare_s + 0.9)  # It imported by itself.


def test_a_thousand_instances_start_at_once_and_a_hundred_more_each_second() -> None:
    pace = model()
    assert sum(pace.may_start(0.0) for _ in range(1500)) == 1000
    assert sum(pace.may_start(1.0) for _ in range(1500)) == 100
    assert sum(pace.may_start(1000.0) for _ in range(1500)) == 1000


def test_an_unknown_version_starts_like_the_newest_known() -> None:
    newest = LambdaLike(lambda: 0.0, chance=random.Random(1), version=(3, 14))
    unknown = LambdaLike(lambda: 0.0, chance=random.Random(1), version=(3, 99))
    assert unknown.start_s(0) == newest.start_s(0)


def test_a_runtime_of_its_own_is_not_charged_for_lambdas_python() -> None:
    own = LambdaLike(lambda: 0.0, chance=random.Random(1), brings_runtime=True)
    assert own.start_s(0.3) == pytest.approx(PLACEMENT_S + 0.3)
