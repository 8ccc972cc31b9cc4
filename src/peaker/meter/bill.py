"""What was used, as a bill: lines of quantity times unit price, each with the date and source of its price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from peaker.meter.function_usage import Architecture
from peaker.meter.price import GB_SECOND_ITEMS, REQUEST_ITEM, Prices

FREE_REQUESTS = 1_000_000
FREE_GB_SECONDS = 400_000
"""Of each account in each month (AWS Lambda pricing page, "Free tier"); one sum for both architectures."""

HOURS_PER_MONTH = 730
"""AWS's own month, as its pricing calculator has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Invocations of one architecture, and their memory times billed time in megabyte-milliseconds."""

    invocations: int = 0
    billed_mb_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What is billed for."""

    server_billed_s: float = 0.0
    functions: Mapping[Architecture, Ran] = field(default_factory=dict[Architecture, Ran])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `usd` is exact, `billed_usd` what the bill shows: to the cent, half a cent up."""

    item: str
    quantity: float
    unit: str
    unit_usd: float
    usd: float
    published: str
    source: str

    @property
    def billed_usd(self) -> Decimal:
        """Two decimals, from the shortest decimal form of the amount, so that 0.005 is half a cent."""
        return Decimal(repr(round(self.usd, 9))).quantize(Decimal("0.01"), ROUND_HALF_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The lines, those of nothing left out."""

    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """The exact sum."""
        return sum(line.usd for line in self.lines)

    @property
    def billed_usd(self) -> Decimal:
        """The sum of the rounded lines: what is to be paid."""
        return sum((line.billed_usd for line in self.lines), Decimal("0.00"))


def bill(used: Used, prices: Prices, *, free_tier: bool = False) -> Bill:
    """The bill of what was used within one month; quantities through the tiers of their prices, without tax.

    Raises:
        PriceError: a price is missing.
    """
    lines = [_servers(used, prices)]
    free_requests = FREE_REQUESTS if free_tier else 0
    free_gb_seconds = float(FREE_GB_SECONDS) if free_tier else 0.0
    invocations = sum(ran.invocations for ran in used.functions.values())
    lines.append(_line(prices, REQUEST_ITEM, max(0, invocations - free_requests)))
    for architecture, item in GB_SECOND_ITEMS.items():
        gb_seconds = used.functions.get(architecture, Ran()).billed_mb_ms / 1024 / 1000
        free = min(free_gb_seconds, gb_seconds)
        free_gb_seconds -= free
        lines.append(_line(prices, item, gb_seconds - free))
    return Bill(lines=tuple(line for line in lines if line.quantity))


def _servers(used: Used, prices: Prices) -> Line:
    server, hours = prices.server, used.server_billed_s / 3600
    return Line(
        item=f"ec2.{server.name}",
        quantity=hours,
        unit="hour",
        unit_usd=server.usd_per_hour,
        usd=prices.servers_usd(used.server_billed_s),
        published=server.published,
        source=server.source,
    )


def _line(prices: Prices, item: str, quantity: float) -> Line:
    price = prices.table.price(prices.region, item)
    usd = prices.table.amount_usd(prices.region, item, quantity)
    return Line(
        item=item,
        quantity=quantity,
        unit=price.unit,
        unit_usd=usd / quantity if quantity else price.usd,
        usd=usd,
        published=price.published,
        source=price.source,
    )
