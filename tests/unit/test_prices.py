"""The price table: every figure has a date and a source, and none is made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peaker.errors import MissingExtraError, PriceError
from peaker.extras import require_extra
from peaker.prices import discount_for, free_tier, load
from peaker.prices.items import ITEMS, missing_items
from peaker.prices.reading import own_directory
from peaker.prices.updating import write

ARM = "lambda.gb_second.arm"


def test_every_shipped_price_has_a_date_and_a_source() -> None:
    table = load()
    origins = [(price.published, price.source) for tiers in table.services.values() for price in tiers]
    origins += [(type_.published, type_.source) for type_ in table.instances.values()]
    origins += [(each.published, each.source) for plans in table.commitments.values() for each in plans]
    origins += [(each.published, each.source) for each in free_tier()]
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


def test_every_item_is_described_and_has_one_unit_everywhere() -> None:
    table, units = load(), {item.name: item.unit for item in ITEMS}
    assert all(item.about for item in ITEMS)
    assert len(units) == len(ITEMS)
    for (_, name), tiers in table.services.items():
        assert {tier.unit for tier in tiers} == {units[name]}, name


def test_higher_tiers_cost_less() -> None:
    for tiers in load().services.values():
        prices = [tier.usd for tier in tiers]
        assert prices == sorted(prices, reverse=True), tiers[0].item


def test_what_has_no_price_in_a_region_is_listed() -> None:
    table = load()
    assert missing_items(table.items("us-east-1")) == ()
    assert missing_items(("lambda.request",))[0] == "lambda.gb_second.x86"
    assert "lambda.provisioned_held_gb_second.arm" in missing_items(table.items("eu-west-1"))


@pytest.mark.parametrize(
    ("name", "years", "discount"),
    [
        ("m7g.2xlarge", 1, 1 - 0.0599 / 0.0816),
        ("m7g", 3, 1 - 0.0414 / 0.0816),
        ("fargate.x86", 1, 0.2),
        ("fargate.x86", 3, 0.45),
        ("lambda.gb_second.x86", 1, 1 - 0.0000147 / 0.0000166667),
    ],
)
def test_a_commitment_is_a_share_off_the_price_of_its_day(name: str, years: int, discount: float) -> None:
    plan = discount_for(load(), "us-east-1", name, years)
    assert plan is not None
    assert plan.discount == pytest.approx(discount)
    assert (plan.term_years, plan.payment) == (years, "no upfront")


@pytest.mark.parametrize(
    ("region", "name", "years"),
    [("us-east-1", "c7g.large", 1), ("eu-west-1", "m7g.large", 1), ("us-east-1", "fargate.arm", 1), ("mars", "m7g", 1)],
)
def test_a_commitment_that_is_not_known_is_none_and_no_guess(region: str, name: str, years: int) -> None:
    assert discount_for(load(), region, name, years) is None


def test_of_two_plans_the_cheaper_counts_and_a_task_saves_what_its_dearer_part_does(tmp_path: Path) -> None:
    rows = [
        "us-east-1,c7g,Compute Savings Plan,1,no upfront,0.08,0.06,2026-11,list",
        "us-east-1,c7g,EC2 Instance Savings Plan,1,no upfront,0.08,0.05,2026-11,list",
        "us-east-1,fargate.vcpu_hour.arm,Compute Savings Plan,1,no upfront,0.04,0.03,2026-11,list",
        "us-east-1,fargate.gb_hour.arm,Compute Savings Plan,1,no upfront,0.004,0.0036,2026-11,list",
    ]
    table = load(table_of(tmp_path, commitments=rows))
    plan, task = discount_for(table, "us-east-1", "c7g.large", 1), discount_for(table, "us-east-1", "fargate.arm", 1)
    assert plan is not None
    assert task is not None
    assert (plan.plan, plan.discount) == ("EC2 Instance Savings Plan", pytest.approx(0.375))
    assert task.discount == pytest.approx(0.1)


def test_spot_has_its_source_and_what_is_not_known_is_none(tmp_path: Path) -> None:
    spot = load().spot("us-east-1", "c7g.large")
    assert spot is not None
    assert spot.discount == pytest.approx(1 - spot.usd_per_hour / 0.0725)
    assert "Spot Advisor" in spot.source
    assert spot.interrupted == "", "how often AWS takes it back is not in the shipped table"
    assert load().spot("ap-southeast-1", "c8g.xlarge") is None
    head = INSTANCES.rstrip() + ",spot_interrupted\n"
    row = "us-east-1,c7g.large,2,4,arm64,no,0.07,0.03,2026-11,list,advisor,5-10%\n"
    own = load(table_of(tmp_path, instances=head + row)).spot("us-east-1", "c7g.large")
    assert own is not None
    assert own.interrupted == "5-10%"


def test_the_table_is_the_named_one_else_the_fetched_one_else_the_shipped_one(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert own_directory(home) is None
    write(load(), tmp_path / "peaker" / "prices")
    fetched = own_directory(home)
    assert fetched is not None
    assert load(fetched) == load()
    assert own_directory({**home, "PEAKER_PRICES": "shipped"}) is None
    assert own_directory({**home, "PEAKER_PRICES": "/srv/prices"}) == Path("/srv/prices")


def test_a_table_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PriceError, match=r"cannot be written"):
        write(load(), tmp_path / "file" / "prices")


def test_fetching_without_boto3_names_the_command_that_installs_it() -> None:
    with pytest.raises(MissingExtraError, match=r"boto3.*pip install 'peaker\[aws\]'"):
        require_extra("aws", purpose="Fetching prices", finds=lambda _name: None)


def test_a_negative_quantity_is_refused() -> None:
    with pytest.raises(PriceError, match=r"quantity = -1 is not allowed"):
        load().amount_usd("us-east-1", ARM, -1)


SERVICES = "region,item,unit,from_quantity,usd,published,source\n"
INSTANCES = (
    "region,instance_type,vcpus,memory_gib,arch,burstable,usd_per_hour,spot_usd_per_hour,published,source,spot_source\n"
)


COMMITMENTS = "region,covers,plan,term_years,payment,on_demand_usd,usd,published,source\n"


def table_of(
    directory: Path, services: str = SERVICES, instances: str = INSTANCES, commitments: list[str] | None = None
) -> Path:
    (directory / "services.csv").write_text(services)
    (directory / "instances.csv").write_text(instances)
    if commitments is not None:
        (directory / "commitments.csv").write_text(COMMITMENTS + "\n".join(commitments) + "\n")
    return directory


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("us-east-1,c7g,plan,2,no upfront,0.08,0.06,2026-11,list", r"commitments\.csv:2: term_years = 2 is not"),
        ("us-east-1,c7g,plan,1,no upfront,0.08,0.09,2026-11,list", r"usd = 0\.09 is not allowed; allowed: below"),
        ("us-east-1,c7g,plan,1,no upfront,0.08,0.06,2026-11,", r"needs the date it was published and its source"),
    ],
)
def test_a_row_that_is_no_commitment_is_refused_with_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    with pytest.raises(PriceError, match=complaint):
        load(table_of(tmp_path, commitments=[row]))


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
    with pytest.raises(PriceError, match=complaint):
        load(table_of(tmp_path, services=SERVICES + row + "\n"))
