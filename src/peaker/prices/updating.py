"""A table with one region fetched anew: what changed, and the files, written whole or not at all."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from peaker.errors import PriceError
from peaker.prices.fetching import Fetched
from peaker.prices.items import missing_items
from peaker.prices.reading import COMMITMENTS_FILE, CURRENT, INSTANCES_FILE, SERVICES_FILE
from peaker.prices.table import Price, PriceTable


@dataclass(frozen=True, slots=True)
class Change:
    """One price that is another now; None where there was or is none."""

    name: str
    before_usd: float | None
    now_usd: float | None
    from_quantity: float = 0.0


@dataclass(frozen=True, slots=True)
class Updated:
    """The new table; what changed; what kept its price because AWS's was not taken or not found; what has none."""

    table: PriceTable
    changes: tuple[Change, ...]
    refused: tuple[tuple[str, str], ...]
    kept: tuple[str, ...]
    missing: tuple[str, ...]


def updated(before: PriceTable, fetched: Fetched) -> Updated:
    """`before` with what was fetched put in its place; other regions stay as they are."""
    region = fetched.region
    services = {**before.services, **{(region, name): tiers for name, tiers in fetched.services.items()}}
    instances = {**before.instances, **{(region, name): type_ for name, type_ in fetched.instances.items()}}
    found = {(each.covers, each.plan, each.term_years, each.payment) for each in fetched.commitments}
    kept_plans = tuple(
        each
        for each in before.commitments.get(region, ())
        if (each.covers, each.plan, each.term_years, each.payment) not in found
    )
    commitments = {**before.commitments, region: (*fetched.commitments, *kept_plans)}
    table = PriceTable(services, instances, commitments)
    names = {*before.items(region), *(type_.name for type_ in before.instance_types(region))}
    kept = sorted(names - set(fetched.services) - set(fetched.instances) - set(fetched.refused))
    return Updated(
        table,
        tuple(_changes(before, fetched)),
        tuple(fetched.refused.items()),
        tuple(kept),
        missing_items(table.items(region)),
    )


def _changes(before: PriceTable, fetched: Fetched) -> Iterator[Change]:
    for name, tiers in fetched.services.items():
        yield from _tier_changes(name, before.services.get((fetched.region, name), ()), tiers)
    for name, type_ in fetched.instances.items():
        old = before.instances.get((fetched.region, name))
        if old is None or old.usd_per_hour != type_.usd_per_hour:
            yield Change(name, old.usd_per_hour if old else None, type_.usd_per_hour)


def _tier_changes(name: str, before: Sequence[Price], now: Sequence[Price]) -> Iterator[Change]:
    old = {price.from_quantity: price.usd for price in before}
    new = {price.from_quantity: price.usd for price in now}
    for start in sorted({*old, *new}):
        if old.get(start) != new.get(start):
            yield Change(name, old.get(start), new.get(start), start)


def write(table: PriceTable, home: Path) -> Path:
    """Write the table below `home` and make it the current one in one step; gives the directory.

    Raises:
        PriceError: it cannot be written; the table before stays.
    """
    directory: Path | None = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix="table-", dir=home))
        _write_files(table, directory)
        before = (home / CURRENT).resolve()
        link = directory / "link"
        link.symlink_to(directory.name)
        link.replace(home / CURRENT)
    except OSError as error:
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        raise PriceError(f"the prices cannot be written: {error.strerror}.", where=str(home)) from error
    if before.parent == home.resolve() and before != directory.resolve():
        shutil.rmtree(before, ignore_errors=True)
    return home / CURRENT


def _write_files(table: PriceTable, directory: Path) -> None:
    _write_csv(
        directory / SERVICES_FILE,
        "region,item,unit,from_quantity,usd,published,source",
        (
            (region, item, price.unit, _plain(price.from_quantity), _plain(price.usd), price.published, price.source)
            for (region, item), tiers in sorted(table.services.items())
            for price in tiers
        ),
    )
    _write_csv(
        directory / INSTANCES_FILE,
        "region,instance_type,vcpus,memory_gib,arch,burstable,usd_per_hour,spot_usd_per_hour,published,source,"
        "spot_source,spot_interrupted",
        (
            (
                region,
                name,
                str(type_.vcpus),
                _plain(type_.memory_gib),
                type_.arch,
                "yes" if type_.burstable else "no",
                _plain(type_.usd_per_hour),
                "" if type_.spot_usd_per_hour is None else _plain(type_.spot_usd_per_hour),
                type_.published,
                type_.source,
                type_.spot_source,
                type_.spot_interrupted,
            )
            for (region, name), type_ in table.instances.items()
        ),
    )
    _write_csv(
        directory / COMMITMENTS_FILE,
        "region,covers,plan,term_years,payment,on_demand_usd,usd,published,source",
        (
            (
                region,
                each.covers,
                each.plan,
                str(each.term_years),
                each.payment,
                _plain(each.on_demand_usd),
                _plain(each.usd),
                each.published,
                each.source,
            )
            for region, rows in sorted(table.commitments.items())
            for each in rows
        ),
    )


def _write_csv(file: Path, head: str, rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head.split(","))
        writer.writerows(rows)
        stream.flush()
        os.fsync(stream.fileno())


def _plain(value: float) -> str:
    """The shortest digits that read back as the same number, never with an exponent."""
    text = f"{Decimal(repr(value)):f}"
    return text.removesuffix(".0")
