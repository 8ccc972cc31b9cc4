"""The price table: every figure has a date and a source, and none is made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peaker.errors import PriceError
from peaker.prices import load

ARM = "lambda.gb_second.arm"


def test_every_shipped_price_has_a_date_and_a_source() -> None:
    table = load()
    origins = [(price.published, price.source) for tiers in table.services.values() for price in tiers]
    origins += [(type_.published, type_.source) for type_ in table.instances.values()]
    assert len(origins) > 300
    assert all(re.match(r"20\d\d", published) and source for published, source in origins)


def test_what_a_server_and_a_function_cost_is_known_in_three_regions() -> None:
    table = load()
    for region in ("us-east-1", "eu-west-1", "ap-southeast-1"):
        for item in ("lambda.request", "lambda.gb_second.x86", ARM, "alb.hour", "alb.lcu_hour", "http_api.request"):
            assert table.price(region, item).usd > 0
        assert table.instance(region, "c7g.large").vcpus == 2


def test_a_missing_price_names_region_and_item_and_is_never_zero() -> None:
    with pytest.raises(PriceError, match=r"no price for 'lambda\.provisioned_run_gb_second\.arm' in eu-west-1"):
        load().price("eu-west-1", "lambda.provisioned_run_gb_second.arm")
    with pytest.raises(PriceError, match=r"'eu-north-1'; there are: ap-southeast-1, eu-west-1, us-east-1"):
        load().instance("eu-north-1", "c7g.large")
    with pytest.raises(PriceError, match=r"c7g\.huge.*c7g\.medium, c7g\.large"):
        load().instance("us-east-1", "c7g.huge")


def test_an_amount_goes_through_the_tiers() -> None:
    # 7 billion GB-s on x86: 6 billion at the first price, 1 billion at the second.
    assert load().amount_usd("us-east-1", "lambda.gb_second.x86", 7e9) == pytest.approx(
        6e9 * 0.0000166667 + 1e9 * 0.000015
    )


def test_what_lies_below_the_first_tier_is_free() -> None:
    table = load()
    assert table.amount_usd("us-east-1", "data_out.gb", 100) == 0
    assert table.amount_usd("us-east-1", "data_out.gb", 110) == pytest.approx(10 * 0.09)


def test_a_negative_quantity_is_refused() -> None:
    with pytest.raises(PriceError, match=r"quantity = -1 is not allowed"):
        load().amount_usd("us-east-1", ARM, -1)


SERVICES = "region,item,unit,from_quantity,usd,published,source\n"
INSTANCES = (
    "region,instance_type,vcpus,memory_gib,arch,burstable,usd_per_hour,spot_usd_per_hour,published,source,spot_source\n"
)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("us-east-1,alb.hour,hour,0,,2026-09,list", r"services\.csv:2: usd = '' is not a number"),
        ("us-east-1,alb.hour,hour,0,0,2026-09,list", r"usd = 0 is not allowed"),
        ("us-east-1,alb.hour,hour,0,-1,2026-09,list", r"usd = -1 is not allowed"),
        ("us-east-1,alb.hour,hour,0,nan,2026-09,list", r"usd = nan is not allowed"),
        ("us-east-1,alb.hour,hour,0,5000,2026-09,list", r"allowed: above 0, to 1000"),
        ("us-east-1,alb.hour,hour,0,0.02,2026-09,", r"needs the date it was published and its source"),
    ],
)
def test_a_row_that_is_no_price_is_refused_with_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    (tmp_path / "services.csv").write_text(SERVICES + row + "\n")
    (tmp_path / "instances.csv").write_text(INSTANCES)
    with pytest.raises(PriceError, match=complaint):
        load(tmp_path)
