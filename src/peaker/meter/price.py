"""What one run of a function costs, as AWS bills it: arm64 in us-east-1.

Source: AWS price list offer file AWSLambda, us-east-1, published 2026-09-11: usage types Lambda-GB-Second-ARM (first
7.5 billion GB-s of a month) and Request. The free tier and later tiers are left out, so the sum is an upper bound.
"""

from __future__ import annotations

from peaker.units import DOLLARS_PER_MICRODOLLAR, gb_seconds

USD_PER_GB_SECOND = 0.0000133334
USD_PER_REQUEST = 0.0000002
PRICED_ON = "2026-09-11"


def run_microusd(billed_ms: int, memory_mb: int) -> float:
    """Microdollars for one run of this billed duration (`units.billed_ms`) in a function of this size."""
    usd = gb_seconds(billed_ms, memory_mb) * USD_PER_GB_SECOND + USD_PER_REQUEST
    return usd / DOLLARS_PER_MICRODOLLAR
