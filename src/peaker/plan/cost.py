"""What a month costs, item by item, from what was used over a trace.

Dollars are sums over the whole trace at its own step, brought to a month of 730 hours. Every line names the price it
was made with and where that comes from; what has no price in a region raises PriceError, so that a candidate that
needs it is left out by name and never comes out cheap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from peaker.meter.bill import FREE_GB_SECONDS, FREE_REQUESTS, HOURS_PER_MONTH, Bill, Line
from peaker.plan.capacity import ServerSize
from peaker.plan.case import Case, Operations, Purchase
from peaker.prices import PriceTable, discount_for

LOG_BYTES_PER_INVOCATION = 400.0
"""START, END and REPORT of one invocation, about; an assumption. The app's own lines cost the same everywhere."""

LCU_NEW_CONNECTIONS_PER_S = 25.0
LCU_GB_PER_H = 1.0
LCU_GB_PER_H_FUNCTIONS = 0.4
"""One LCU-hour of an Application Load Balancer (Elastic Load Balancing pricing page); whichever is used most counts."""

HTTP_API_BYTES = 512.0 * 1024
"""An HTTP API counts a request once for each 512 KB begun (Amazon API Gateway pricing page)."""

REQUESTS_PER_CONNECTION = 10.0
"""An assumption about keep-alive."""

ALB_ADDRESSES = 2
"""A load balancer stands in two availability zones at least, with a public address in each."""

DISK_GB = 8.0
"""The root volume of an instance."""

GIB = 1024.0**3


class Front(StrEnum):
    """What stands between the clients and the servers or functions."""

    NONE = "none"
    ALB = "load balancer"
    FUNCTION_URL = "function URL"
    HTTP_API = "HTTP API"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """A share off the on-demand price: of servers that always run, or of all hours where `is_for_all`."""

    name: str
    discount: float
    source: str
    is_for_all: bool = False


def bought(case: Case, size: ServerSize, table: PriceTable, *, is_task: bool) -> Bought | None:
    """The best of what was given and, for the purchase that was asked for, what the table has; None for on demand."""
    choices = case.choices
    found = [Bought(name=name, discount=share, source="given") for name, share in choices.commitment_discounts]
    years = {Purchase.ONE_YEAR: 1, Purchase.THREE_YEARS: 3}.get(choices.purchase)
    if years is not None:
        name = f"fargate.{'arm' if choices.architecture == 'arm64' else 'x86'}" if is_task else size.name
        if rate := discount_for(table, choices.region, name, years):
            source = f"{rate.source}, {rate.published}"
            found.append(Bought(name=f"{rate.plan}, {choices.purchase.value}", discount=rate.discount, source=source))
    if choices.purchase is Purchase.SPOT and not is_task and (spot := table.spot(choices.region, size.name)):
        found.append(Bought(name="spot capacity", discount=spot.discount, source=spot.source, is_for_all=True))
    return max(found, key=lambda each: each.discount, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one architecture used over `hours` of trace.

    `server_hours` count from the start of each server. `run_gb_s` and `init_gb_s` are as billed. `provisioned_gb_s` is
    held concurrency, whose runs are `provisioned_run_gb_s`. `managed_hours` are hours of EC2 instances that Lambda
    manages.
    """

    hours: float
    requests: float
    response_bytes: float
    front: Front
    size: ServerSize | None = None
    server_hours: float = 0.0
    surplus_usd: float = 0.0
    servers_always: float = 0.0
    bought: Bought | None = None
    is_task: bool = False
    managed_hours: float = 0.0
    invocations: float = 0.0
    run_gb_s: float = 0.0
    init_gb_s: float = 0.0
    provisioned_gb_s: float = 0.0
    provisioned_run_gb_s: float = 0.0
    operations_h: float = 0.0


def bill_of(
    used: Used, table: PriceTable, region: str, architecture: str, operations: Operations, *, free_tier: bool
) -> Bill:
    """The month's bill.

    Raises:
        PriceError: an item that was used has no price in the region.
    """
    month = HOURS_PER_MONTH / used.hours
    items = [
        *_servers(used, table, region, month),
        *_functions(used, table, region, month, "arm" if architecture == "arm64" else "x86", free_tier=free_tier),
        *_front(used, table, region, month),
    ]
    gb_out = used.response_bytes * month / GIB
    if gb_out:
        items.append(_priced(table, region, "data_out.gb", "data out to the internet", gb_out))
    if used.operations_h and operations.usd_per_h:
        items.append(_line("people's work", used.operations_h, "h", used.operations_h * operations.usd_per_h, "given"))
    return Bill(lines=tuple(line for line in items if line.quantity))


def _servers(used: Used, table: PriceTable, region: str, month: float) -> list[Line]:
    size = used.size
    if size is None:
        return []
    hours = used.server_hours * month
    items = [_line(f"{size.name} on demand", hours, "h", hours * size.usd_per_hour, size.source)]
    if used.bought is not None:
        always_h = hours if used.bought.is_for_all else min(hours, used.servers_always * HOURS_PER_MONTH)
        saved = -always_h * size.usd_per_hour * used.bought.discount
        items.append(_line(used.bought.name, always_h, "h", saved, used.bought.source))
    if used.surplus_usd:
        name = f"CPU above the share of {size.name}"
        hours_used = used.surplus_usd * month / size.surplus_usd_per_vcpu_hour
        items.append(_line(name, hours_used, "vCPU-h", used.surplus_usd * month, "Amazon EC2 on-demand pricing page"))
    if not used.is_task:
        items.append(_priced(table, region, "ebs.gp3_gb_month", "disks", hours / HOURS_PER_MONTH * DISK_GB))
    return items


def _functions(used: Used, table: PriceTable, region: str, month: float, arch: str, *, free_tier: bool) -> list[Line]:
    items = []
    requests = used.invocations * month
    gb_s = (used.run_gb_s + used.init_gb_s) * month
    if free_tier:
        requests = max(0.0, requests - FREE_REQUESTS)
        gb_s = max(0.0, gb_s - FREE_GB_SECONDS)
    items.append(_priced(table, region, "lambda.request", "invocations", requests))
    items.append(_priced(table, region, f"lambda.gb_second.{arch}", "function time", gb_s))
    if used.provisioned_gb_s:
        held, run = used.provisioned_gb_s * month, used.provisioned_run_gb_s * month
        items.append(_priced(table, region, f"lambda.provisioned_held_gb_second.{arch}", "provisioned, held", held))
        items.append(_priced(table, region, f"lambda.provisioned_run_gb_second.{arch}", "provisioned, running", run))
    if used.managed_hours and used.size is not None:
        share = table.price(region, "lambda.managed_instances_share")
        hours = used.managed_hours * month
        usd = hours * used.size.usd_per_hour * share.usd
        items.append(_line("management of the instances", hours, "h", usd, share.source, share.published))
    log_gb = used.invocations * month * LOG_BYTES_PER_INVOCATION / GIB
    if log_gb:
        items.append(_priced(table, region, "cloudwatch.logs_gb", "logs of the invocations", log_gb))
    return items


def _front(used: Used, table: PriceTable, region: str, month: float) -> list[Line]:
    requests = used.requests * month
    if used.front is Front.HTTP_API:
        counted = (
            requests * max(1, math.ceil(used.response_bytes / used.requests / HTTP_API_BYTES)) if requests else 0.0
        )
        return [_priced(table, region, "http_api.request", "HTTP API", counted)]
    if used.front is Front.ALB:
        lcu_hours = _lcu_hours(used, month)
        return [
            _priced(table, region, "alb.hour", "load balancer", HOURS_PER_MONTH),
            _priced(table, region, "alb.lcu_hour", "load balancer capacity", lcu_hours),
            _priced(table, region, "ipv4.hour", "public addresses", ALB_ADDRESSES * HOURS_PER_MONTH),
        ]
    if used.front is Front.NONE and used.size is not None and used.requests:
        return [_priced(table, region, "ipv4.hour", "public addresses", used.server_hours * month)]
    return []


def _lcu_hours(used: Used, month: float) -> float:
    """Capacity units over the month, from means: peaks are averaged by the hour anyway."""
    per_s = used.requests / (used.hours * 3600)
    gb_per_h = used.response_bytes / GIB / used.hours
    by_functions = used.size is None
    by_bytes = gb_per_h / (LCU_GB_PER_H_FUNCTIONS if by_functions else LCU_GB_PER_H)
    by_connections = per_s / REQUESTS_PER_CONNECTION / LCU_NEW_CONNECTIONS_PER_S
    return max(by_bytes, by_connections) * used.hours * month


def _priced(table: PriceTable, region: str, item: str, name: str, quantity: float) -> Line:
    price = table.price(region, item)
    usd = table.amount_usd(region, item, quantity)
    return _line(name, quantity, price.unit, usd, price.source, price.published)


def _line(  # noqa: PLR0917 - a line, from left to right
    item: str, quantity: float, unit: str, usd: float, source: str, published: str = ""
) -> Line:
    unit_usd = usd / quantity if quantity else 0.0
    return Line(item=item, quantity=quantity, unit=unit, unit_usd=unit_usd, usd=usd, published=published, source=source)
