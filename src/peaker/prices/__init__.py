"""What AWS charges: dated list prices in US dollars, Linux, without tax, each with its source.

The two tables beside this file are data. A price that is missing for a region is an error that names it, never a
zero, and no row comes without a source and a date. `peaker prices --update` writes a table of the user's own, which
`load` takes instead.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NoReturn

from peaker.errors import PriceError

SERVICES_FILE = "services.csv"
INSTANCES_FILE = "instances.csv"

USD_MAX = 1000.0
"""No unit in these tables costs more; a price above it is more likely a wrong column."""


@dataclass(frozen=True, slots=True)
class Price:
    """`usd` for one `unit` of what a month has above `from_quantity` units."""

    item: str
    usd: float
    unit: str
    from_quantity: float
    published: str
    source: str


@dataclass(frozen=True, slots=True)
class InstanceType:
    """An EC2 instance type in one region; `spot_usd_per_hour` is an average or an estimate, None where unknown."""

    name: str
    vcpus: int
    memory_gib: float
    arch: str
    burstable: bool
    usd_per_hour: float
    spot_usd_per_hour: float | None
    published: str
    source: str

    @property
    def family(self) -> str:
        """`c7g` of `c7g.large`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by (region, item), their tiers from the first on, and instance types by (region, name)."""

    services: Mapping[tuple[str, str], tuple[Price, ...]]
    instances: Mapping[tuple[str, str], InstanceType]

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that have prices."""
        return tuple(sorted({region for region, _ in self.services}))

    def price(self, region: str, item: str) -> Price:
        """The price of the first tier that costs something: what most accounts pay.

        Raises:
            PriceError: there is no price for it in that region.
        """
        return self.tiers(region, item)[0]

    def tiers(self, region: str, item: str) -> tuple[Price, ...]:
        """All tiers, the lowest first; raises PriceError as `price` does."""
        found = self.services.get((region, item))
        if found is None:
            self._missing(region, item, sorted(name for where, name in self.services if where == region), "items")
        return found

    def amount_usd(self, region: str, item: str, quantity: float) -> float:
        """What a month's `quantity` of an item costs through its tiers; what lies below the first tier is free.

        Raises:
            PriceError: there is no price for it in that region, or the quantity is negative.
        """
        if quantity < 0:
            raise PriceError(f"quantity = {quantity:g} is not allowed; allowed: 0 and more.", where=item)
        tiers = self.tiers(region, item)
        ends = [tier.from_quantity for tier in tiers[1:]] + [float("inf")]
        return sum(
            max(0.0, min(quantity, end) - tier.from_quantity) * tier.usd for tier, end in zip(tiers, ends, strict=True)
        )

    def instance(self, region: str, name: str) -> InstanceType:
        """One instance type.

        Raises:
            PriceError: it has no price in that region.
        """
        found = self.instances.get((region, name))
        if found is None:
            self._missing(region, name, [type_.name for type_ in self.instance_types(region)], "instance types")
        return found

    def instance_types(self, region: str) -> tuple[InstanceType, ...]:
        """All instance types of a region, in the order of the table: by family, the smallest first."""
        return tuple(type_ for (where, _), type_ in self.instances.items() if where == region)

    def _missing(self, region: str, name: str, known: Iterable[str], kind: str) -> NoReturn:
        if region not in self.regions:
            raise PriceError(
                f"there are no prices for the region {region!r}; there are: {', '.join(self.regions)}.",
                remedy="`peaker prices --update --region NAME` fetches those of another region.",
            )
        near = ", ".join(other for other in known if other.partition(".")[0] == name.partition(".")[0])
        there = f"; of its kind there are: {near}" if near else f"; {kind} are named as in `peaker prices`"
        raise PriceError(
            f"there is no price for {name!r} in {region}{there}.",
            remedy="`peaker prices --update` fetches what AWS lists now.",
        )


@cache
def load(directory: Path | None = None) -> PriceTable:
    """The table in `directory`, or the one that is shipped.

    Raises:
        PriceError: a file cannot be read, or a row is not a price; names the line.
    """
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
    instances = {}
    for where, row in _rows(directory, INSTANCES_FILE):
        instances[row["region"], row["instance_type"]] = InstanceType(
            row["instance_type"],
            int(_number(row, "vcpus", where)),
            _number(row, "memory_gib", where, 1e5),
            row["arch"],
            row["burstable"] == "yes",
            _number(row, "usd_per_hour", where),
            _number(row, "spot_usd_per_hour", where) if row["spot_usd_per_hour"] else None,
            *_origin(row, where),
        )
    ordered = {key: tuple(sorted(tiers, key=lambda price: price.from_quantity)) for key, tiers in services.items()}
    return PriceTable(ordered, instances)


def _rows(directory: Path | None, name: str) -> list[tuple[str, dict[str, str]]]:
    file = resources.files(__name__) / name if directory is None else directory / name
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
