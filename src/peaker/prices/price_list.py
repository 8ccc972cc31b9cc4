"""What the AWS Price List API and the Savings Plans API answer, as values.

The clients are boto3's, or anything that answers like them; retries and credentials are theirs. Shapes as in the AWS
Price List API Reference (GetProducts) and the Savings Plans API Reference (DescribeSavingsPlansOfferingRates).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from peaker.errors import PriceError

PAGES_MAX = 40
"""One question here has a page or two of answers; more means it was not narrow enough."""

SECONDS_PER_YEAR = 365 * 86_400


class Pricing(Protocol):
    """boto3's client `pricing`."""

    def get_products(self, **asked: Any) -> Mapping[str, Any]:
        """One page of products."""


class SavingsPlans(Protocol):
    """boto3's client `savingsplans`."""

    def describe_savings_plans_offering_rates(self, **asked: Any) -> Mapping[str, Any]:
        """One page of rates."""


@dataclass(frozen=True, slots=True)
class ListedTier:
    """One on-demand price of a product: from so many units on."""

    unit: str
    from_quantity: float
    usd: float


@dataclass(frozen=True, slots=True)
class Product:
    """A product and its on-demand prices, the lowest tier first."""

    sku: str
    attributes: Mapping[str, str]
    tiers: tuple[ListedTier, ...]
    published: str
    version: str


@dataclass(frozen=True, slots=True)
class Rate:
    """What one usage type costs under a Savings Plan."""

    usage_type: str
    plan: str
    term_years: int
    usd: float
    attributes: Mapping[str, str]


def products(client: Pricing, service: str, wanted: Mapping[str, str]) -> Iterator[Product]:
    """Products of a service with these attributes that have an on-demand price.

    Raises:
        PriceError: an answer is not of the API's form, or has too many pages.
    """
    asked: dict[str, Any] = {
        "ServiceCode": service,
        "FormatVersion": "aws_v1",
        "Filters": [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()],
    }
    for _ in range(PAGES_MAX):
        page = client.get_products(**asked)
        for text in page.get("PriceList", ()):
            product = _product(service, text)
            if product.tiers:
                yield product
        if not page.get("NextToken"):
            return
        asked["NextToken"] = page["NextToken"]
    raise PriceError(f"{service} answers with more than {PAGES_MAX} pages for {dict(wanted)}.", where="AWS Price List")


def _product(service: str, text: str) -> Product:
    try:
        found = json.loads(text)
        product = found["product"]
        tiers = [
            ListedTier(each["unit"], float(each.get("beginRange") or 0), float(each["pricePerUnit"]["USD"]))
            for term in found["terms"].get("OnDemand", {}).values()
            for each in term["priceDimensions"].values()
        ]
        return Product(
            product["sku"],
            product["attributes"],
            tuple(sorted(tiers, key=lambda tier: tier.from_quantity)),
            found["publicationDate"][:10],
            found.get("version", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PriceError(
            f"an answer about {service} is not of the API's form: {type(error).__name__} {error}.",
            where="AWS Price List",
        ) from error


def rates(client: SavingsPlans, service: str, usage_types: Sequence[str], payment: str) -> Iterator[Rate]:
    """Rates of these usage types under compute and EC2 instance Savings Plans, Linux and shared tenancy.

    Raises:
        PriceError: an answer is not of the API's form, or has too many pages.
    """
    asked: dict[str, Any] = {
        "savingsPlanTypes": ["Compute", "EC2Instance"],
        "savingsPlanPaymentOptions": [payment],
        "serviceCodes": [service],
        "usageTypes": list(usage_types),
    }
    for _ in range(PAGES_MAX):
        page = client.describe_savings_plans_offering_rates(**asked)
        for row in page.get("searchResults", ()):
            rate = _rate(service, row)
            if rate.attributes.get("productDescription", "Linux/UNIX") == "Linux/UNIX" and (
                rate.attributes.get("tenancy", "shared").lower() == "shared"
            ):
                yield rate
        if not page.get("nextToken"):
            return
        asked["nextToken"] = page["nextToken"]
    raise PriceError(f"{service} answers with more than {PAGES_MAX} pages of rates.", where="AWS Savings Plans")


_PLANS = {"Compute": "Compute Savings Plan", "EC2Instance": "EC2 Instance Savings Plan"}


def _rate(service: str, row: Mapping[str, Any]) -> Rate:
    try:
        offering = row["savingsPlanOffering"]
        return Rate(
            row["usageType"],
            _PLANS[offering["planType"]],
            round(offering["durationSeconds"] / SECONDS_PER_YEAR),
            float(row["rate"]),
            {each["name"]: each["value"] for each in row.get("properties", ())},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PriceError(
            f"a rate of {service} is not of the API's form: {type(error).__name__} {error}.", where="AWS Savings Plans"
        ) from error
