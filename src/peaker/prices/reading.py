"""Reading a price table: CSV files with a head line, each row checked, each complaint with its line.

A table is a directory with `services.csv` and `instances.csv`; `commitments.csv` may be there.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from peaker.errors import PriceError
from peaker.prices.table import Commitment, FreeTier, InstanceType, Price, PriceTable

SERVICES_FILE = "services.csv"
INSTANCES_FILE = "instances.csv"
COMMITMENTS_FILE = "commitments.csv"
FREE_TIER_FILE = "free_tier.csv"

VARIABLE = "PEAKER_PRICES"
SHIPPED = "shipped"
CURRENT = "current"

USD_MAX = 1000.0
"""No unit in these tables costs more; a price above it is more likely a wrong column."""

YEARS_MAX = 3

_Rows = list[tuple[str, dict[str, str]]]


def own_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Where `peaker prices --update` keeps tables: below $XDG_CONFIG_HOME, else ~/.config."""
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "peaker" / "prices"


def own_directory(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The table to read where none is named: $PEAKER_PRICES, else the one fetched last; None for the shipped one."""
    chosen = environment.get(VARIABLE)
    if chosen:
        return None if chosen == SHIPPED else Path(chosen)
    fetched = own_home(environment) / CURRENT
    return fetched.resolve() if fetched.is_dir() else None


def load(directory: Path | None = None) -> PriceTable:
    """The table in `directory`; without one $PEAKER_PRICES, else the one fetched last, else the one that is shipped.

    Raises:
        PriceError: a file cannot be read, or a row is not a price; names the line.
    """
    return _read(directory or own_directory())


@cache
def _read(directory: Path | None) -> PriceTable:
    services: dict[tuple[str, str], list[Price]] = {}
    for where, row in _rows(directory, SERVICES_FILE):
        price = Price(
            row["item"],
            _number(row, "usd", where),
            row["unit"],
            _number(row, "from_quantity", where, float("inf")),
            *_origin(row, where),
        )
        services.setdefault((row["region"], price.item), []).append(price)
    instances = {
        (row["region"], row["instance_type"]): _instance(row, where) for where, row in _rows(directory, INSTANCES_FILE)
    }
    commitments: dict[str, list[Commitment]] = {}
    for where, row in _rows(directory, COMMITMENTS_FILE, may_lack=directory is not None):
        commitments.setdefault(row["region"], []).append(_commitment(row, where))
    ordered = {key: tuple(sorted(tiers, key=lambda price: price.from_quantity)) for key, tiers in services.items()}
    return PriceTable(ordered, instances, {region: tuple(rows) for region, rows in commitments.items()})


def free_tier() -> tuple[FreeTier, ...]:
    """What accounts have free of charge each month; the same in all regions, and shipped."""
    return tuple(
        FreeTier(
            row["item"], _number(row, "quantity", where, 1e12), row["unit"], row["applied_in"], *_origin(row, where)
        )
        for where, row in _rows(None, FREE_TIER_FILE)
    )


def _instance(row: Mapping[str, str], where: str) -> InstanceType:
    return InstanceType(
        row["instance_type"],
        int(_number(row, "vcpus", where)),
        _number(row, "memory_gib", where, 1e5),
        row["arch"],
        row["burstable"] == "yes",
        _number(row, "usd_per_hour", where),
        _number(row, "spot_usd_per_hour", where) if row["spot_usd_per_hour"] else None,
        *_origin(row, where),
        row.get("spot_source") or "",
        row.get("spot_interrupted") or "",
    )


def _commitment(row: Mapping[str, str], where: str) -> Commitment:
    years, on_demand, usd = (
        _number(row, "term_years", where, YEARS_MAX),
        _number(row, "on_demand_usd", where),
        _number(row, "usd", where),
    )
    if years not in {1, YEARS_MAX}:
        raise PriceError(f"term_years = {years:g} is not allowed; allowed: 1 and 3.", where=where)
    if usd >= on_demand:
        raise PriceError(f"usd = {usd:g} is not allowed; allowed: below on_demand_usd, {on_demand:g}.", where=where)
    return Commitment(row["covers"], row["plan"], int(years), row["payment"], on_demand, usd, *_origin(row, where))


def _rows(directory: Path | None, name: str, *, may_lack: bool = False) -> _Rows:
    file: Traversable = resources.files("peaker.prices") / name if directory is None else directory / name
    if may_lack and not file.is_file():
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PriceError(f"the prices cannot be read: {error}.", where=str(file)) from error
    return [(f"{name}:{number}", row) for number, row in enumerate(csv.DictReader(lines), 2)]


def _number(row: Mapping[str, str], name: str, where: str, most: float = USD_MAX) -> float:
    text = row.get(name) or ""
    try:
        value = float(text)
    except ValueError:
        raise PriceError(f"{name} = {text!r} is not a number.", where=where) from None
    if not 0 <= value <= most or (value == 0 and name != "from_quantity"):
        raise PriceError(f"{name} = {text} is not allowed; allowed: above 0, to {most:g}.", where=where)
    return value


def _origin(row: Mapping[str, str], where: str) -> tuple[str, str]:
    if not row.get("published") or not row.get("source"):
        raise PriceError("a price needs the date it was published and its source.", where=where)
    return row["published"], row["source"]
