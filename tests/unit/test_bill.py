"""Bills worked by hand, to the cent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from peaker.aws_section import AwsSection
from peaker.meter.bill import Bill, Ran, Used, bill
from peaker.meter.function_usage import Architecture
from peaker.meter.price import prices_of
from peaker.settings import ServersSection, Settings

PRICES = prices_of(Settings())
"""us-east-1, c7g.large at $0.0725 an hour, $0.20 a million requests, $0.0000133334 a GB-s on arm64."""

ARM, X86 = Architecture.ARM64, Architecture.X86_64


def amounts(made: Bill) -> dict[str, str]:
    return {line.item: str(line.billed_usd) for line in made.lines}


def test_a_day_of_two_servers_and_a_million_spills() -> None:
    """By hand:

    1. Two servers for 24 h are 48 h x $0.0725 = $3.48.
    2. 1,000,000 requests x $0.0000002 = $0.20.
    3. 1,000,000 runs billed 120 ms at 512 MB are 120,000 s x 0.5 GB = 60,000 GB-s; x $0.0000133334 = $0.800004, $0.80.
    4. Together $4.48.
    """
    used = Used(
        server_billed_s=2 * 86_400, functions={ARM: Ran(invocations=1_000_000, billed_mb_ms=1_000_000 * 120 * 512)}
    )
    made = bill(used, PRICES)
    assert amounts(made) == {"ec2.c7g.large": "3.48", "lambda.request": "0.20", "lambda.gb_second.arm": "0.80"}
    assert made.billed_usd == Decimal("4.48")
    assert made.usd == pytest.approx(4.480004, abs=1e-9)


def test_half_a_cent_is_rounded_up_on_each_line_and_the_lines_are_added() -> None:
    """25,000 requests are $0.005, so $0.01; 375 GB-s are $0.005000025, so $0.01: together 2 cents of 1.0000025."""
    made = bill(Used(functions={ARM: Ran(invocations=25_000, billed_mb_ms=375 * 1024 * 1000)}), PRICES)
    assert amounts(made) == {"lambda.request": "0.01", "lambda.gb_second.arm": "0.01"}
    assert made.billed_usd == Decimal("0.02")


def test_under_half_a_cent_is_billed_as_nothing_and_still_shown() -> None:
    made = bill(Used(functions={ARM: Ran(invocations=24_000, billed_mb_ms=0)}), PRICES)
    assert amounts(made) == {"lambda.request": "0.00"}
    assert made.usd == pytest.approx(0.0048)


def test_the_free_tier_takes_a_million_requests_and_400_000_gb_seconds_of_both_architectures_together() -> None:
    """1.5 million requests leave 0.5: $0.10. 300,000 GB-s of arm are free, then 100,000 of the 200,000 of x86."""
    used = Used(
        functions={
            ARM: Ran(invocations=1_000_000, billed_mb_ms=300_000 * 1024 * 1000),
            X86: Ran(invocations=500_000, billed_mb_ms=200_000 * 1024 * 1000),
        }
    )
    made = bill(used, PRICES, free_tier=True)
    assert amounts(made) == {"lambda.request": "0.10", "lambda.gb_second.x86": "1.67"}


def test_large_months_go_through_the_tiers_of_the_price() -> None:
    """x86 in us-east-1: 6 billion GB-s at $0.0000166667 are $100,000.20; one billion more at $0.000015 is $15,000."""
    made = bill(Used(functions={X86: Ran(invocations=0, billed_mb_ms=7_000_000_000 * 1024 * 1000)}), PRICES)
    assert amounts(made) == {"lambda.gb_second.x86": "115000.20"}


def test_every_line_says_where_its_price_is_from() -> None:
    used = Used(server_billed_s=60, functions={ARM: Ran(invocations=1, billed_mb_ms=512)})
    for line in bill(used, PRICES).lines:
        assert line.source
        assert line.published.startswith("2026")
        assert line.usd == pytest.approx(line.quantity * line.unit_usd)


def test_nothing_used_costs_nothing() -> None:
    made = bill(Used(), PRICES)
    assert made.lines == ()
    assert made.billed_usd == Decimal("0.00")


def test_another_region_and_type_have_their_own_price() -> None:
    elsewhere = prices_of(
        Settings(aws=AwsSection(region="eu-west-1"), servers=ServersSection(instance_type="m7g.large"))
    )
    hour = bill(Used(server_billed_s=3600), elsewhere)
    assert hour.lines[0].item == "ec2.m7g.large"
    assert hour.usd == elsewhere.server.usd_per_hour != PRICES.server.usd_per_hour
