"""`peaker prices --update` through boto3 against a stand-in that speaks the forms of AWS's two price APIs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aws_prices import StandIn, ireland, product, serving

from peaker.prices import discount_for, load


def run(home: Path, stand_in: StandIn, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PEAKER_"))},
        "XDG_CONFIG_HOME": str(home),
        "AWS_ENDPOINT_URL": stand_in.url,
        "AWS_ACCESS_KEY_ID": "stand-in",
        "AWS_SECRET_ACCESS_KEY": "stand-in",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "none"),
    }
    command = [sys.executable, "-m", "peaker", "prices", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], StandIn]:
    """One update of eu-west-1, of which two questions were throttled: its home, what it said, and who was asked."""
    home = tmp_path_factory.mktemp("home")
    throttled = StandIn(refuse=lambda number, _operation: "ThrottlingException" if number in {3, 7} else None)
    with serving(throttled) as stand_in:
        done = run(home, stand_in, "--update", "--region", "eu-west-1", "--json")
    assert done.returncode == 0, done.stderr
    return home, json.loads(done.stdout), stand_in


def test_what_changed_is_said_with_old_and_new(fetched: tuple[Path, dict[str, Any], StandIn]) -> None:
    _, said, _ = fetched
    changes = {(row["name"], row["from_quantity"]): (row["before_usd"], row["now_usd"]) for row in said["changes"]}
    assert changes["lambda.request", 0] == (2e-7, 2.1e-7)
    assert changes["lambda.gb_second.arm", 0] == (1.33334e-05, 1.4e-05)
    assert changes["lambda.provisioned_held_gb_second.arm", 0] == (None, 3.7e-06)
    assert changes["data_out.gb", 100] == (0.09, 0.091)
    assert ("nat.hour", 0) not in changes, "the same as before"


def test_what_cannot_be_trusted_is_named_and_keeps_its_price(fetched: tuple[Path, dict[str, Any], StandIn]) -> None:
    home, said, _ = fetched
    assert said["not_taken"]["http_api.request"] == "its unit is '1K-Requests', not Requests or Request"
    assert said["not_taken"]["ipv4.hour"] == "it costs 0.1 instead of 0.005"
    assert said["not_taken"]["ecr.gb_month"] == "2 products of different prices match"
    table = load(home / "peaker" / "prices" / "current")
    assert table.price("eu-west-1", "http_api.request").usd == 1.11e-06
    assert table.price("eu-west-1", "ipv4.hour").usd == 0.005
    assert "sqs.request" in said["kept"]
    assert "cross_zone.gb" in said["missing"]


def test_the_new_table_has_dates_tiers_plans_and_the_other_regions(
    fetched: tuple[Path, dict[str, Any], StandIn],
) -> None:
    home, _, _ = fetched
    table, shipped = load(home / "peaker" / "prices" / "current"), load()
    request = table.price("eu-west-1", "lambda.request")
    assert (request.published, request.source) == (
        "2026-11-01",
        "AWS Price List API, AWSLambda EU-Request 20261101120000, SKU L1",
    )
    assert [tier.from_quantity for tier in table.tiers("eu-west-1", "data_out.gb")] == [100, 10340]
    assert table.amount_usd("eu-west-1", "sns.request", 1_000_010) == pytest.approx(10 * 5.5e-7)
    c7g = table.instance("eu-west-1", "c7g.large")
    assert c7g.usd_per_hour == 0.08
    assert c7g.spot_usd_per_hour == shipped.instance("eu-west-1", "c7g.large").spot_usd_per_hour
    year, years = discount_for(table, "eu-west-1", "c7g.xlarge", 1), discount_for(table, "eu-west-1", "c7g", 3)
    assert year is not None
    assert years is not None
    assert (year.plan, year.discount) == ("EC2 Instance Savings Plan", pytest.approx(0.35)), "the cheaper plan"
    assert years.discount == pytest.approx(0.5)
    assert table.tiers("us-east-1", "rest_api.request") == shipped.tiers("us-east-1", "rest_api.request")
    assert table.instance_types("ap-southeast-1") == shipped.instance_types("ap-southeast-1")


def test_the_fetched_table_is_read_from_then_on(fetched: tuple[Path, dict[str, Any], StandIn]) -> None:
    home, _, stand_in = fetched
    found = json.loads(run(home, stand_in, "--region", "eu-west-1", "--item", "lambda.request", "--json").stdout)
    (row,) = found["regions"]["eu-west-1"]["items"]
    assert row["usd"] == 2.1e-7
    assert Path(found["table"]).parent == home / "peaker" / "prices"


def test_throttled_questions_are_asked_again(fetched: tuple[Path, dict[str, Any], StandIn]) -> None:
    _, _, stand_in = fetched
    assert stand_in.asked.count("GetProducts") > 60
    assert stand_in.asked.count("DescribeSavingsPlansOfferingRates") >= 4, "page by page"


def test_a_failure_in_the_middle_writes_nothing(tmp_path: Path) -> None:
    refusing = StandIn(
        refuse=lambda _number, operation: None if operation == "GetProducts" else "AccessDeniedException"
    )
    with serving(refusing) as stand_in:
        done = run(tmp_path, stand_in, "--update", "--region", "eu-west-1")
    assert done.returncode == 2
    assert "AccessDeniedException" in done.stderr
    assert "Nothing was written" in done.stderr
    assert "savingsplans:DescribeSavingsPlansOfferingRates" in done.stderr
    assert not (tmp_path / "peaker").exists()


def test_a_region_that_aws_lists_nothing_for_is_an_error_and_no_empty_table(tmp_path: Path) -> None:
    with serving(StandIn(products=[])) as stand_in:
        done = run(tmp_path, stand_in, "--update", "--region", "eu-west-1")
    assert done.returncode == 2
    assert "lists no price for eu-west-1" in done.stderr
    assert not (tmp_path / "peaker").exists()


def test_a_second_update_takes_the_place_of_the_first_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(StandIn()) as stand_in:
        assert run(tmp_path, stand_in, "--update", "--region", "eu-west-1").returncode == 0
    later = [
        product("AWSLambda", "L1", [(0, "0.0000002200", "Requests")], regionCode="eu-west-1", usagetype="EU-Request"),
        *ireland()[1:],
    ]
    with serving(StandIn(products=later)) as stand_in:
        done = run(tmp_path, stand_in, "--update", "--region", "eu-west-1")
    assert "lambda.request: 0.00000021 -> 0.00000022" in done.stdout
    assert "1 prices are others now" in done.stdout
    assert len(list((tmp_path / "peaker" / "prices").iterdir())) == 2, "the table and the link to it"


def test_an_unknown_region_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with serving(StandIn()) as stand_in:
        done = run(tmp_path, stand_in, "--update", "--region", "mars-1")
    assert done.returncode == 2
    assert "the region 'mars-1' is not known" in done.stderr
    assert stand_in.asked == []
