"""`peaker prices`: the table that sums are made with, its dates and sources, and what AWS lists today."""

from __future__ import annotations

from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peaker.cli import present
from peaker.cli.options import json_option
from peaker.errors import PriceError
from peaker.extras import require_extra
from peaker.prices.items import missing_items
from peaker.prices.reading import free_tier, load, own_directory, own_home
from peaker.prices.table import Commitment, InstanceType, Price, PriceTable

if TYPE_CHECKING:
    from peaker.prices.fetching import Fetched
    from peaker.prices.updating import Change, Updated

PRICE_API_REGION = "us-east-1"
"""Where AWS serves the price list of all regions."""

ATTEMPTS_MAX = 8
"""Of one question; botocore waits longer before each."""


@click.command("prices")
@click.option("--region", metavar="NAME", help="This region only; with --update the one to fetch.")
@click.option("--item", metavar="PATTERN", help="Items of this name; * stands for anything, as in 'lambda.*'.")
@click.option("--instance-type", metavar="PATTERN", help="Instance types of this name, as in 'c7g.*'.")
@click.option("--prices", "directory", type=click.Path(path_type=Path), metavar="DIR", help="Another table.")
@click.option("--update", is_flag=True, help="Fetch today's prices with your AWS credentials into a table of your own.")
@json_option
def command(
    *,
    region: str | None,
    item: str | None,
    instance_type: str | None,
    directory: Path | None,
    update: bool,
    as_json: bool,
) -> None:
    """Show the prices that `peaker plan`, `peaker status` and the spend limit reckon with, each with date and source.

    --update asks the AWS Price List API and the Savings Plans API for one region (boto3's usual credentials; the
    permissions are pricing:GetProducts and savingsplans:DescribeSavingsPlansOfferingRates) and writes a table of your
    own below ~/.config/peaker/prices, which is read from then on. It is written whole or not at all. PEAKER_PRICES
    names another table, or `shipped` for the one that comes with Peaker.

    \b
    Examples:
      peaker prices --region eu-west-1 --item 'lambda.*'
      peaker prices --instance-type c7g.large
      peaker prices --update --region eu-west-1
    """  # noqa: D301
    if update:
        require_extra("aws", purpose="Fetching prices")
        if item or instance_type:
            raise click.UsageError("--update fetches a whole region: --item and --instance-type do not go with it.")
        _update(region or "us-east-1", directory, as_json=as_json)
        return
    table = load(directory)
    regions = [region] if region else list(table.regions)
    if region and region not in table.regions:
        table.price(region, "lambda.request")
    shown = {name: _shown(table, name, item, instance_type) for name in regions}
    if not any(part for found in shown.values() for part in (found["items"], found["instance_types"])):
        raise PriceError("no item and no instance type has such a name.", remedy="`peaker prices` shows all.")
    place = directory or own_directory()
    if as_json:
        free = [asdict(each) for each in free_tier()]
        present.data({"table": str(place or "shipped"), "regions": _as_data(shown), "free_tier": free})
    else:
        present.out("\n\n".join([f"table: {place or 'shipped with Peaker'}", *_texts(shown)]))


def _shown(table: PriceTable, region: str, item: str | None, instance_type: str | None) -> dict[str, Any]:
    everything = item is None and instance_type is None

    def wanted(name: str, pattern: str | None) -> bool:
        return everything or (pattern is not None and fnmatchcase(name, pattern))

    types = [type_ for type_ in table.instance_types(region) if wanted(type_.name, instance_type)]
    families = {type_.family for type_ in types}
    return {
        "items": [price for name in table.items(region) if wanted(name, item) for price in table.tiers(region, name)],
        "instance_types": types,
        "commitments": [
            each for each in table.commitments.get(region, ()) if each.covers in families or wanted(each.covers, item)
        ],
        "missing": list(missing_items(table.items(region))) if everything else [],
    }


def _as_data(shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        region: {
            kind: [row if isinstance(row, str) else asdict(row) | _discount(row) for row in rows]
            for kind, rows in found.items()
        }
        for region, found in shown.items()
    }


def _discount(row: object) -> dict[str, float]:
    return {"discount": row.discount} if isinstance(row, Commitment) else {}


def _texts(shown: dict[str, dict[str, Any]]) -> list[str]:
    return [
        "\n".join(
            [
                region,
                *_table(("item", "usd", "per", "above", "published", "source"), map(_item_row, found["items"])),
                *_table(
                    ("instance type", "usd/h", "spot usd/h", "vCPU, GiB", "published", "source"),
                    map(_type_row, found["instance_types"]),
                ),
                *_table(
                    ("commitment", "usd", "off", "term", "published", "source"),
                    map(_commitment_row, found["commitments"]),
                ),
                *([f"  no price: {', '.join(found['missing'])}"] if found["missing"] else []),
            ]
        )
        for region, found in shown.items()
    ]


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    found = [head, *rows]
    return [present.table(found)] if len(found) > 1 else []


def _item_row(price: Price) -> tuple[str, ...]:
    above = f"{price.from_quantity:,.0f}" if price.from_quantity else ""
    return (price.item, plain(price.usd), price.unit, above, price.published, price.source)


def _type_row(type_: InstanceType) -> tuple[str, ...]:
    spot = plain(type_.spot_usd_per_hour) if type_.spot_usd_per_hour else "-"
    size = f"{type_.vcpus}, {type_.memory_gib:g}"
    return (type_.name, plain(type_.usd_per_hour), spot, size, type_.published, type_.source)


def _commitment_row(each: Commitment) -> tuple[str, ...]:
    term = f"{each.plan}, {each.term_years} y, {each.payment}"
    return (each.covers, plain(each.usd), f"{each.discount:.1%}", term, each.published, each.source)


def plain(usd: float) -> str:
    """A price without an exponent and without zeros at its end: `0.0000133334`."""
    return f"{usd:.12f}".rstrip("0").rstrip(".")


def _update(region: str, directory: Path | None, *, as_json: bool) -> None:
    from peaker.prices.updating import updated, write

    before = load(directory)
    found = updated(before, _fetched(region, before))
    place = write(found.table, own_home())
    if as_json:
        present.data({"region": region, "table": str(place), **_update_data(found)})
    else:
        present.out("\n".join(_update_lines(region, found)))
        present.say(f"The table is in {place}; it is read from now on.")


def _fetched(region: str, before: PriceTable) -> Fetched:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from peaker.prices.fetching import fetch

    config = Config(retries={"mode": "standard", "max_attempts": ATTEMPTS_MAX}, connect_timeout=10, read_timeout=30)
    try:
        session = boto3.Session(region_name=PRICE_API_REGION)
        pricing = session.client("pricing", config=config)
        plans = session.client("savingsplans", config=config)
        with present.work_bar(f"prices of {region}") as progress:
            return fetch(pricing, plans, region, before, progress)
    except (BotoCoreError, ClientError) as error:
        raise PriceError(
            f"AWS did not give the prices of {region}: {error}. Nothing was written.",
            remedy="It needs credentials with pricing:GetProducts and savingsplans:DescribeSavingsPlansOfferingRates.",
        ) from error


def _update_data(found: Updated) -> dict[str, Any]:
    return {
        "changes": [asdict(change) for change in found.changes],
        "not_taken": dict(found.refused),
        "kept": list(found.kept),
        "missing": list(found.missing),
    }


def _update_lines(region: str, found: Updated) -> list[str]:
    lines = [f"{region}: {len(found.changes)} prices are others now"]
    lines += [_change_line(change) for change in found.changes]
    lines += [f"  not taken: {name}: {reason}" for name, reason in found.refused]
    if found.kept:
        lines.append(
            f"  as before, for AWS's list does not name them or they are not asked for: {', '.join(found.kept)}"
        )
    if found.missing:
        lines.append(f"  no price: {', '.join(found.missing)}")
    return lines


def _change_line(change: Change) -> str:
    before, now = ("none" if usd is None else plain(usd) for usd in (change.before_usd, change.now_usd))
    above = f" above {change.from_quantity:,.0f}" if change.from_quantity else ""
    return f"  {change.name}{above}: {before} -> {now}"
