"""A table that is written reads back the same, whatever the numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from peaker.prices import NO_UPFRONT, Commitment, InstanceType, Price, PriceTable, load
from peaker.prices.updating import write

USD = st.floats(min_value=1e-12, max_value=1000, allow_nan=False)
STARTS = st.lists(st.floats(min_value=0, max_value=1e15, allow_nan=False), min_size=1, max_size=4, unique=True)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@example(starts=[5.960464477539063e-08], usd=1.0, spot=None, share=0.5, source="0")
@given(starts=STARTS, usd=USD, spot=st.none() | USD, share=st.floats(min_value=0.01, max_value=0.99), source=WORDS)
def test_a_written_table_reads_back_the_same(
    starts: list[float], usd: float, spot: float | None, share: float, source: str
) -> None:
    tiers = tuple(Price("lambda.request", usd, "request", start, "2026-11", source) for start in sorted(starts))
    type_ = InstanceType("c7g.large", 2, 4.0, "arm64", False, usd, spot, "2026-11", source, 'a, "quoted" word')
    plan = Commitment("c7g", "Compute Savings Plan", 1, NO_UPFRONT, usd, usd * share, "2026-11", source)
    table = PriceTable(
        {("eu-west-1", "lambda.request"): tiers}, {("eu-west-1", "c7g.large"): type_}, {"eu-west-1": (plan,)}
    )
    with tempfile.TemporaryDirectory() as home:
        assert load(write(table, Path(home)).resolve()) == table


@given(
    first=USD, factor=st.floats(min_value=0.1, max_value=1), end=st.integers(1, 10**9), quantity=st.integers(0, 10**10)
)
def test_an_amount_never_falls_with_the_quantity(first: float, factor: float, end: int, quantity: int) -> None:
    tiers = (Price("x", first, "u", 0, "d", "s"), Price("x", first * factor, "u", end, "d", "s"))
    table = PriceTable({("r", "x"): tiers}, {})
    assert table.amount_usd("r", "x", quantity) <= table.amount_usd("r", "x", quantity + 1)
    assert table.amount_usd("r", "x", quantity) <= first * quantity * (1 + 1e-12)
