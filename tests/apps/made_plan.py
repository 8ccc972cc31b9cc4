"""A plan written by hand, for what shows plans: two servers with functions above them are the answer of three."""

from __future__ import annotations

import dataclasses
from typing import Any

from peaker.plan.plan import (
    Architecture,
    Candidate,
    CountCost,
    CurvePoint,
    Kind,
    Moment,
    NamedFigure,
    Plan,
    PlanLine,
    Servers,
    Turn,
)

SOURCE = "Amazon EC2 pricing page, 2026-09-11"


def candidate(kind: Kind, architecture: Architecture, title: str, usd: float, **changes: Any) -> Candidate:
    made = Candidate(
        kind=kind,
        architecture=architecture,
        title=title,
        usd_per_month=usd,
        bill=(PlanLine(item="t4g.micro on demand", quantity=1460.0, unit="h", usd=usd, source=SOURCE),),
        servers=None,
        memory_mb=0,
        front="load balancer",
        latency_p50_ms=100.0,
        latency_p95_ms=151.4,
        latency_p99_ms=4216.0,
        objective_share=0.987,
        spilled_share=0.0,
        refused_share=0.0,
        cold_share=0.0,
        utilisation=0.0,
        simulated=1000,
    )
    return dataclasses.replace(made, **changes)


def servers(least: int, most: int, ready: tuple[int, ...] = ()) -> Servers:
    return Servers(
        size="t4g.micro", usd_per_hour=0.0084, slots=8, requests_per_s=40.0, least=least, mean=float(least), most=most,
        ready=ready,
    )  # fmt: skip


HYBRID = candidate(
    Kind.HYBRID_FIXED, Architecture.HYBRID, "2 t4g.micro + functions of 512 MB", 43.87,
    servers=servers(2, 2), memory_mb=512, spilled_share=0.167, cold_share=0.0013, utilisation=0.154,
)  # fmt: skip
FIXED = candidate(
    Kind.SERVERS_FIXED, Architecture.SERVERS, "7 t4g.micro", 74.14, servers=servers(7, 7), utilisation=0.04
)
SCALED = candidate(
    Kind.SERVERS_SCALED, Architecture.SERVERS, "3 to 26 t4g.micro, target 20%", 37.16,
    servers=servers(3, 26, (3, 26, 3)), refused_share=0.1076, objective_share=0.612,
    breaks=("only 61.2% of the requests are answered within 300 ms, and 95% should be", "10.76% are refused"),
)  # fmt: skip
FUNCTIONS = candidate(
    Kind.FUNCTIONS, Architecture.FUNCTIONS, "functions of 512 MB behind a function URL", 103.96,
    memory_mb=512, spilled_share=1.0, front="function URL", breaks=("10.76% are refused",),
)  # fmt: skip

PLAN = Plan(
    name="shop.log",
    made_by="peaker 0.1.0",
    region="us-east-1",
    prices_published="2026-07-20 to 2026-09-11",
    requests=1_206_000,
    hours=216.0,
    step_s=60.0,
    start="2026-05-01T00:00:00+00:00",
    objective_ms=300.0,
    percentile=0.95,
    figures=(
        NamedFigure(name="time of a request", value="mean 99.9 ms", origin="from the log", note="request_time"),
        NamedFigure(name="cold start", value="mean 975 ms", origin="assumed", note=""),
    ),
    candidates=(FIXED, SCALED, FUNCTIONS, HYBRID),
    recommended=3,
    reasons=("1.55 requests a second on average, 254.0 at the peak",),
    turns=(Turn(figure="traffic", now="1.55", factor=2.0, instead="servers", sentence="traffic: from 3 on, servers"),),
    sureness=("the answer stays with every figure 30 % up or down",),
    left_out=("Fargate for the peak: there is no price for it",),
    traffic=tuple(
        Moment(start_s=600.0 * step, mean_per_s=90.0 + step % 7, peak_per_s=200.0 if step == 9 else 99.0)
        for step in range(1296)
    ),
    curve=(
        CurvePoint(share=0.01, requests_per_s=200.0),
        CurvePoint(share=0.4, requests_per_s=99.0),
        CurvePoint(share=1.0, requests_per_s=90.0),
    ),
    count_costs=tuple(
        CountCost(servers=count, servers_usd=6.13 * count, functions_usd=80.0 / 2**count) for count in range(1, 9)
    ),
)


def with_plan(**changes: Any) -> Plan:
    return dataclasses.replace(PLAN, **changes)
