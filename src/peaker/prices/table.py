"""Prices as values: what one unit of an item costs, instance types, commitments, and the table that has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from peaker.errors import PriceError

NO_UPFRONT = "no upfront"


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
    """An EC2 instance type in one region; `spot_usd_per_hour` is an average or an estimate, None where unknown.

    `spot_interrupted` is how many of a hundred such instances AWS takes back in a month, as its Spot Instance Advisor
    writes it (`<5%`, `5-10%`, ...); empty where unknown.
    """

    name: str
    vcpus: int
    memory_gib: float
    arch: str
    burstable: bool
    usd_per_hour: float
    spot_usd_per_hour: float | None
    published: str
    source: str
    spot_source: str = ""
    spot_interrupted: str = ""

    @property
    def family(self) -> str:
        """`c7g` of `c7g.large`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Commitment:
    """What an hour or unit costs under a Savings Plan of `term_years`, beside its on-demand price of the same day.

    `covers` is a family of instance types, whose sizes all have the same share off, or an item of the table.
    """

    covers: str
    plan: str
    term_years: int
    payment: str
    on_demand_usd: float
    usd: float
    published: str
    source: str

    @property
    def discount(self) -> float:
        """Share off the on-demand price, within 0..1."""
        return 1 - self.usd / self.on_demand_usd


@dataclass(frozen=True, slots=True)
class Spot:
    """What an instance type costs as spot capacity, which AWS may take back with two minutes' notice."""

    usd_per_hour: float
    discount: float
    interrupted: str
    source: str


@dataclass(frozen=True, slots=True)
class FreeTier:
    """What an account has free of charge in each month; `applied_in` says which sums here take it off."""

    item: str
    quantity: float
    unit: str
    applied_in: str
    published: str
    source: str


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by (region, item), their tiers from the first on; instance types by (region, name); commitments."""

    services: Mapping[tuple[str, str], tuple[Price, ...]]
    instances: Mapping[tuple[str, str], InstanceType]
    commitments: Mapping[str, tuple[Commitment, ...]] = field(default_factory=dict[str, tuple[Commitment, ...]])

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
            self._missing(region, item, self.items(region), "items")
        return found

    def items(self, region: str) -> tuple[str, ...]:
        """Names of what has a price in the region, sorted."""
        return tuple(sorted(name for where, name in self.services if where == region))

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

    def commitment(self, region: str, covers: str, term_years: int, payment: str = NO_UPFRONT) -> Commitment | None:
        """The cheapest plan of that term and payment for a family or an item; None where none is known."""
        found = [
            each
            for each in self.commitments.get(region, ())
            if (each.covers, each.term_years, each.payment) == (covers, term_years, payment)
        ]
        return min(found, key=lambda each: each.usd / each.on_demand_usd, default=None)

    def spot(self, region: str, name: str) -> Spot | None:
        """The instance type as spot capacity; None where its price is not known. Raises PriceError as `instance`."""
        type_ = self.instance(region, name)
        if type_.spot_usd_per_hour is None:
            return None
        discount = 1 - type_.spot_usd_per_hour / type_.usd_per_hour
        return Spot(type_.spot_usd_per_hour, discount, type_.spot_interrupted, type_.spot_source)

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


def discount_for(
    table: PriceTable, region: str, name: str, term_years: int, payment: str = NO_UPFRONT
) -> Commitment | None:
    """The commitment for servers of one kind, whose `discount` is the share off; None where no rate is known.

    `name` is an instance type (`m7g.large`), its family (`m7g`), `fargate.x86` or `fargate.arm`, or an item
    (`lambda.gb_second.x86`). A Fargate task is billed by vCPU and by memory: of the two, the smaller share off.
    """
    kind, _, arch = name.partition(".")
    if kind == "fargate":
        parts = [
            table.commitment(region, f"fargate.{part}.{arch}", term_years, payment) for part in ("vcpu_hour", "gb_hour")
        ]
        known = [part for part in parts if part is not None]
        return min(known, key=lambda part: part.discount) if len(known) == len(parts) else None
    covers = name if name.startswith("lambda.") else kind
    return table.commitment(region, covers, term_years, payment)
