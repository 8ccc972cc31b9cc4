"""What AWS charges: dated list prices in US dollars, Linux, without tax, each with its source.

The tables beside this file are data. A price that is missing for a region is an error that names it, never a zero,
and no row comes without a source and a date. `peaker prices --update` writes a table of the user's own, which `load`
takes instead.
"""

from __future__ import annotations

from peaker.prices.reading import free_tier, load
from peaker.prices.table import (
    NO_UPFRONT,
    Commitment,
    FreeTier,
    InstanceType,
    Price,
    PriceTable,
    Spot,
    discount_for,
)

__all__ = [
    "NO_UPFRONT",
    "Commitment",
    "FreeTier",
    "InstanceType",
    "Price",
    "PriceTable",
    "Spot",
    "discount_for",
    "free_tier",
    "load",
]
