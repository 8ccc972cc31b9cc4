"""The prices of one region, fetched: items, instance types and Savings Plans, and what was not taken and why.

Nothing is guessed. An item whose unit has changed, whose products disagree, or whose price is ten times what it was,
is not taken but named; the caller keeps the price it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from peaker.errors import PriceError
from peaker.prices.items import ITEMS, Item, prefixes
from peaker.prices.price_list import Pricing, Product, SavingsPlans, products, rates
from peaker.prices.reading import USD_MAX
from peaker.prices.table import NO_UPFRONT, Commitment, InstanceType, Price, PriceTable

FACTOR_MAX = 10.0
"""A price that is so many times the one before is more likely a changed unit."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What AWS lists for a region; `refused` are items and types that were found but not taken, with the reason."""

    region: str
    services: Mapping[str, tuple[Price, ...]]
    instances: Mapping[str, InstanceType]
    commitments: tuple[Commitment, ...]
    refused: Mapping[str, str]


class _Refused(Exception):  # noqa: N818 - an outcome of one item, never seen outside
    """This item is not taken."""


def fetch(
    pricing: Pricing, savings_plans: SavingsPlans, region: str, known: PriceTable, progress: Progress | None = None
) -> Fetched:
    """Ask for every item, every instance type of the table `known`, and the Savings Plans that cover them.

    Raises:
        PriceError: the region is not known, an answer is not of the API's form, or AWS lists nothing for the region.
    """
    prefixes(region)
    services: dict[str, tuple[Price, ...]] = {}
    instances: dict[str, InstanceType] = {}
    refused: dict[str, str] = {}
    asked = [item for item in ITEMS if item.asked_for]
    types = {type_.name: type_ for where in known.regions for type_ in known.instance_types(where)}
    steps = len(asked) + len(types)
    for number, item in enumerate(asked):
        if progress:
            progress(item.name, number, steps)
        try:
            tiers = _tiers(pricing, region, item, known.services.get((region, item.name), ()))
        except _Refused as reason:
            refused[item.name] = str(reason)
        else:
            services |= {item.name: tiers} if tiers else {}
    for number, type_ in enumerate(types.values(), len(asked)):
        if progress:
            progress(type_.name, number, steps)
        try:
            found = _instance(pricing, region, known.instances.get((region, type_.name)), type_)
        except _Refused as reason:
            refused[type_.name] = str(reason)
        else:
            instances |= {type_.name: found} if found else {}
    if not services and not instances:
        raise PriceError(f"AWS lists no price for {region} that could be taken.", where="AWS Price List")
    commitments = tuple(_commitments(savings_plans, region, services, instances))
    return Fetched(region, services, instances, commitments, refused)


def _tiers(pricing: Pricing, region: str, item: Item, before: tuple[Price, ...]) -> tuple[Price, ...]:
    for prefix in prefixes(region):
        for usage_type in item.usage_types:
            wanted = {item.region_field: region, "usagetype": prefix + usage_type, **item.also}
            found = list(products(pricing, item.service, wanted))
            if found:
                return _priced(item, _agreed(found), f"{item.service} {prefix}{usage_type}", before)
    return ()


def _agreed(found: list[Product]) -> Product:
    """One of several products of the same price; the same thing may be listed under several SKUs."""
    if len({product.tiers for product in found}) > 1:
        raise _Refused(f"{len(found)} products of different prices match")
    return min(found, key=lambda product: product.sku)


def _priced(item: Item, product: Product, what: str, before: tuple[Price, ...]) -> tuple[Price, ...]:
    source = f"AWS Price List API, {what} {product.version}, SKU {product.sku}"
    paid = [tier for tier in product.tiers if tier.usd > 0]
    other = sorted({tier.unit for tier in paid} - set(item.units))
    if other:
        raise _Refused(f"its unit is {other[0]!r}, not {' or '.join(item.units)}")
    if not paid:
        raise _Refused("AWS lists it at 0")
    _check(paid[0].usd, before[0].usd if before else None)
    return tuple(
        Price(item.name, tier.usd, item.unit, tier.from_quantity + item.free_quantity, product.published, source)
        for tier in paid
    )


def _check(usd: float, before: float | None) -> None:
    if usd > USD_MAX:
        raise _Refused(f"it costs {usd:g}, above {USD_MAX:g}")
    if before is not None and not before / FACTOR_MAX <= usd <= before * FACTOR_MAX:
        raise _Refused(f"it costs {usd:.10g} instead of {before:.10g}")


def _instance(pricing: Pricing, region: str, before: InstanceType | None, shape: InstanceType) -> InstanceType | None:
    """The type with today's price; what spot capacity costs is in no list, and stays as it was known here."""
    wanted = {
        "regionCode": region,
        "instanceType": shape.name,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }
    found = [product for product in products(pricing, "AmazonEC2", wanted) if product.tiers[0].usd > 0]
    if not found:
        return None
    product = _agreed(found)
    if product.tiers[0].unit not in {"Hrs", "Hours", "hours"}:
        raise _Refused(f"its unit is {product.tiers[0].unit!r}, not Hrs")
    _check(product.tiers[0].usd, before.usd_per_hour if before else None)
    known = before or replace(shape, spot_usd_per_hour=None, spot_source="", spot_interrupted="")
    return replace(
        known,
        usd_per_hour=product.tiers[0].usd,
        published=product.published,
        source=f"AWS Price List API, AmazonEC2 {product.version}, SKU {product.sku}",
    )


_COVERED = {
    "AWSLambda": (
        "lambda.gb_second.x86",
        "lambda.gb_second.arm",
        "lambda.provisioned_held_gb_second.x86",
        "lambda.provisioned_held_gb_second.arm",
        "lambda.provisioned_run_gb_second.x86",
        "lambda.provisioned_run_gb_second.arm",
    ),
    "AmazonECS": ("fargate.vcpu_hour.x86", "fargate.gb_hour.x86", "fargate.vcpu_hour.arm", "fargate.gb_hour.arm"),
}


def _commitments(
    client: SavingsPlans, region: str, services: Mapping[str, tuple[Price, ...]], instances: Mapping[str, InstanceType]
) -> Iterable[Commitment]:
    """One for each item, or family by its smallest type, and plan and term; payment without anything upfront."""
    by_name = {item.name: item for item in ITEMS}
    for service, names in _COVERED.items():
        wanted = {
            prefix + usage: (name, services[name][0])
            for name in names
            if name in services
            for prefix in prefixes(region)
            for usage in by_name[name].usage_types
        }
        for rate in rates(client, service, sorted(wanted), "No Upfront") if wanted else ():
            name, price = wanted[rate.usage_type]
            if 0 < rate.usd < price.usd:
                yield _commitment(name, rate.plan, rate.term_years, price.usd, rate.usd, price.published)
    smallest: dict[str, InstanceType] = {}
    for type_ in instances.values():
        if type_.family not in smallest or type_.usd_per_hour < smallest[type_.family].usd_per_hour:
            smallest[type_.family] = type_
    usages = {f"{prefix}BoxUsage:{type_.name}": type_ for type_ in smallest.values() for prefix in prefixes(region)}
    for rate in rates(client, "AmazonEC2", sorted(usages), "No Upfront") if usages else ():
        type_ = usages[rate.usage_type]
        if 0 < rate.usd < type_.usd_per_hour:
            yield _commitment(type_.family, rate.plan, rate.term_years, type_.usd_per_hour, rate.usd, type_.published)


def _commitment(  # noqa: PLR0917 - one after the other as in the value they make
    covers: str, plan: str, years: int, on_demand: float, usd: float, published: str
) -> Commitment:
    return Commitment(covers, plan, years, NO_UPFRONT, on_demand, usd, published, "AWS Savings Plans API")
