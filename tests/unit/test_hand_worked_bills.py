"""Three bills of docs/explanation/bills.md, to the cent: worked there by hand, here in decimals, and by `bill_of`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from peaker.meter.bill import Bill
from peaker.plan.capacity import ServerSize
from peaker.plan.case import Operations
from peaker.plan.cost import Bought, Front, Used, bill_of
from peaker.plan.workload import ServerPool
from peaker.prices import discount_for, load

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "bills.md"
REGION = "us-east-1"
GIB = 2**30
D = Decimal


def server(name: str) -> ServerSize:
    usd = load().instance(REGION, name).usd_per_hour
    return ServerSize(
        name=name, usd_per_hour=usd, vcpus=2, pool=ServerPool(slots=16, workers=2), requests_per_s=100, source="table"
    )


def committed() -> Bought:
    plan = discount_for(load(), REGION, "m7g.large", 1)
    assert plan is not None
    return Bought(name="commitment for servers that always run", discount=plan.discount, source=plan.source)


@dataclass(frozen=True)
class Worked:
    """One bill: what was used, and each line as quantity times price in decimals."""

    title: str
    used: Used
    architecture: str
    lines: dict[str, Decimal]
    free_tier: bool = False
    operations: Operations = Operations()

    def bill(self) -> Bill:
        return bill_of(self.used, load(), REGION, self.architecture, self.operations, free_tier=self.free_tier)


SERVERS = Worked(
    "Servers behind a load balancer",
    Used(
        hours=73,
        requests=2_000_000,
        response_bytes=50 * GIB,
        front=Front.ALB,
        size=server("m7g.large"),
        server_hours=219,
        servers_always=2,
        bought=committed(),
    ),
    "arm64",
    {
        "m7g.large on demand": D(2190) * D("0.0816"),
        "commitment for servers that always run": D(1460) * (D("0.0599") - D("0.0816")),
        "disks": D(24) * D("0.08"),
        "load balancer": D(730) * D("0.0225"),
        "load balancer capacity": D(500) * D("0.008"),
        "public addresses": D(1460) * D("0.005"),
        "data out to the internet": (D(500) - D(100)) * D("0.09"),
    },
)

FUNCTIONS = Worked(
    "Functions behind an HTTP API",
    Used(
        hours=73,
        requests=80_000_000,
        response_bytes=80_000_000 * 4096,
        front=Front.HTTP_API,
        invocations=80_000_000,
        run_gb_s=80_000_000 * 2 * 5,
        init_gb_s=80_000 * 4 * 5,
    ),
    "arm64",
    {
        "invocations": D(800_000_000) * D("0.0000002"),
        "function time": D(7_500_000_000) * D("0.0000133334") + D(516_000_000) * D("0.0000120001"),
        "logs of the invocations": D(800_000_000) * 400 / GIB * D("0.5"),
        "HTTP API": D(300_000_000) * D("0.000001") + D(500_000_000) * D("0.0000009"),
        "data out to the internet": (D(800_000_000) * 4096 / GIB - 100) * D("0.09"),
    },
)

HYBRID = Worked(
    "Hybrid: two servers, six per cent spilled",
    Used(
        hours=146,
        requests=5_000_000,
        response_bytes=5_000_000 * 10_240,
        front=Front.ALB,
        size=server("c7i.large"),
        server_hours=292,
        invocations=300_000,
        run_gb_s=300_000 * 0.25,
        init_gb_s=3_000 * 2.0,
        operations_h=2,
    ),
    "x86_64",
    {
        "c7i.large on demand": D(1460) * D("0.08925"),
        "disks": D(16) * D("0.08"),
        "invocations": (D(1_500_000) - 1_000_000) * D("0.0000002"),
        "function time": (D(375_000) + 30_000 - 400_000) * D("0.0000166667"),
        "logs of the invocations": D(1_500_000) * 400 / GIB * D("0.5"),
        "load balancer": D(730) * D("0.0225"),
        "load balancer capacity": D(25_000_000) * 10_240 / GIB * D("0.008"),
        "public addresses": D(1460) * D("0.005"),
        "data out to the internet": (D(25_000_000) * 10_240 / GIB - 100) * D("0.09"),
        "people's work": D(2) * D(60),
    },
    free_tier=True,
    operations=Operations(usd_per_h=60),
)

ALL = pytest.mark.parametrize("worked", [SERVERS, FUNCTIONS, HYBRID], ids=lambda worked: worked.title)


def cents(usd: Decimal) -> Decimal:
    return usd.quantize(D("0.01"), ROUND_HALF_UP)


def on_page(title: str) -> dict[str, Decimal]:
    """The last column of the table under this heading, by its first."""
    part = PAGE.read_text(encoding="utf-8").split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([^|]+?) \|.*\| ([-\d,.]+) \|$", part, re.MULTILINE)
    return {name: D(usd.replace(",", "")) for name, usd in rows}


@ALL
def test_a_bill_is_what_decimals_give_line_by_line_to_the_cent(worked: Worked) -> None:
    assert {line.item: line.billed_usd for line in worked.bill().lines} == {
        name: cents(usd) for name, usd in worked.lines.items()
    }


@ALL
def test_the_page_has_the_same_cents_and_the_same_sum(worked: Worked) -> None:
    bill = worked.bill()
    assert on_page(worked.title) == {line.item: line.billed_usd for line in bill.lines} | {"sum": bill.billed_usd}


def test_an_http_api_counts_an_answer_of_600_kb_twice() -> None:
    large = replace(FUNCTIONS.used, response_bytes=FUNCTIONS.used.requests * 600 * 1024)
    bill = bill_of(large, load(), REGION, "arm64", Operations(), free_tier=False)
    (line,) = [line for line in bill.lines if line.item == "HTTP API"]
    assert line.quantity == 1_600_000_000


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "ap-southeast-1"])
def test_the_first_100_gb_out_are_free_in_every_region(region: str) -> None:
    assert load().amount_usd(region, "data_out.gb", 100) == 0
    assert load().amount_usd(region, "data_out.gb", 101) > 0
