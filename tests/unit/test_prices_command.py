"""`peaker prices` as a person runs it, and its page in the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from peaker.cli.prices import command, plain
from peaker.errors import PriceError
from peaker.prices import load
from peaker.prices.items import ITEMS, missing_items

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "prices.md"


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_whole_table_has_regions_dates_sources_and_what_is_missing() -> None:
    text = shown()
    assert text.startswith("table: shipped with Peaker\n")
    assert re.search(
        r"^eu-west-1\n(.*\n)+?  lambda\.request +0\.0000002 +request +2026-10-01 +mamtha4u/SDLC", text, re.MULTILINE
    )
    assert re.search(r"^  m7g +0\.0599 +26\.6% +Compute Savings Plan, 1 y, no upfront +2026-10-01", text, re.MULTILINE)
    assert re.search(r"^  no price: lambda\.provisioned_held_gb_second\.arm, .*cross_zone\.gb$", text, re.MULTILINE)


def test_filters_show_only_what_they_name() -> None:
    text = shown("--region", "us-east-1", "--item", "nat.*")
    assert [line.split()[0] for line in text.splitlines()[3:]] == ["item", "nat.gb", "nat.hour"]
    types = json.loads(shown("--instance-type", "m7g.large", "--json"))["regions"]
    assert {region: [row["name"] for row in found["instance_types"]] for region, found in types.items()} == {
        region: ["m7g.large"] for region in ("ap-southeast-1", "eu-west-1", "us-east-1")
    }
    assert [row["term_years"] for row in types["us-east-1"]["commitments"]] == [1, 3]
    assert types["us-east-1"]["items"] == []


def test_the_json_has_every_price_and_the_free_tier() -> None:
    found = json.loads(shown("--json"))
    assert len(found["regions"]["us-east-1"]["items"]) > 50
    assert {"lambda.request", "data_out.gb", "sqs.request"} <= {row["item"] for row in found["free_tier"]}
    assert found["regions"]["us-east-1"]["commitments"][0]["discount"] == pytest.approx(0.266, abs=0.001)


def test_a_name_that_nothing_has_is_an_error() -> None:
    with pytest.raises(PriceError, match=r"no item and no instance type"):
        shown("--item", "labmda.*")
    with pytest.raises(PriceError, match=r"no prices for the region 'mars'"):
        shown("--region", "mars")


def test_update_fetches_regions_and_no_single_items() -> None:
    result = CliRunner().invoke(command, ["--update", "--item", "nat.*"])
    assert result.exit_code == 2
    assert "--update fetches a whole region" in result.output


@pytest.mark.parametrize(
    ("usd", "text"), [(1.33334e-05, "0.0000133334"), (0.1, "0.1"), (12.0, "12"), (2e-7, "0.0000002")]
)
def test_a_price_is_written_without_an_exponent(usd: float, text: str) -> None:
    assert plain(usd) == text


def test_the_page_has_every_item_and_says_of_each_where_it_is_missing() -> None:
    table, page = load(), PAGE.read_text(encoding="utf-8").split("## Items", 1)[1].split("## Instance types", 1)[0]
    rows = dict(re.findall(r"^\| `([a-z0-9_.]+)` \|.*\| ([^|]*) \|$", page, re.MULTILINE))
    assert list(rows) == [item.name for item in ITEMS]
    for region in table.regions:
        missing = {name for name, where in rows.items() if region in where or where == "everywhere"}
        assert missing == set(missing_items(table.items(region))), region
