"""A case from what a log tells, what was measured and what was given; what nobody told is assumed, and says so."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peaker.plan.case import Case, Choices, Figure, Needs, Objective, Origin, Route, Times, Work
from peaker.plan.possible import BASE64, FUNCTION_TIMEOUT_S_MAX, PAYLOAD_BYTES_MAX
from peaker.plan.workload import PlanError, quantiles_of
from peaker.traffic.histogram import Histogram
from peaker.traffic.requests import OTHER, Kind, RouteTraffic, Traffic
from peaker.traffic.route_names import route_of
from peaker.traffic.trace import GAP
from peaker.units import human_bytes, human_duration

POINTS = 101

ASSUMED_SERVICE_S = 0.1
ASSUMED_CPU_SHARE = 0.3
ASSUMED_WORKER_MB = 150.0
ASSUMED_FUNCTION_MB = 512.0
ASSUMED_COLD_S = (0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 2.0)
"""An app that imports FastAPI, pydantic and boto3: a fresh process took 0.85 s on a whole core (2026-11-23), and 1.46 s
were seen on Lambda with 128 MB (maxday/lambda-perf)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known besides the log: figures that were measured or given; None is not known.

    A given figure goes before a measured one, and that before the log; times in seconds, sizes in MB. `routes` are
    those that `service_s` is made of, where they were measured one by one.
    """

    service_s: Times | None = None
    cpu_share: Figure | None = None
    cold_start: Times | None = None
    worker_memory_mb: Figure | None = None
    function_memory_mb: Figure | None = None
    response_bytes: Figure | None = None
    routes: tuple[Route, ...] = ()


def case_of(traffic: Traffic, known: Known, objective: Objective, choices: Choices, needs: Needs | None = None) -> Case:
    """The case that a log makes.

    Raises:
        PlanError: there is no load in the traffic.
    """
    counts = np.asarray(traffic.trace.counts, dtype=np.float64)
    counts[counts == GAP] = np.nan
    if not np.nansum(counts) > 0:
        raise PlanError("there is no load in it.", where=traffic.trace.name)
    return Case(
        name=traffic.trace.name,
        counts=counts,
        step_s=traffic.trace.step_s,
        work=_work(traffic, known),
        needs=_needs(traffic, needs or Needs()),
        objective=objective,
        choices=choices,
        routes=_measured_routes(traffic, known) if known.service_s else _routes(traffic),
    )


def _measured_routes(traffic: Traffic, known: Known) -> tuple[Route, ...]:
    """Those that were measured; what the log shows to need servers stays there."""
    stay = {route.pattern for route in traffic.routes if _why_route_stays(route)}
    return tuple(replace(route, may_leave=route_of(route.pattern.encode()) not in stay) for route in known.routes)


def _routes(traffic: Traffic) -> tuple[Route, ...]:
    """The routes with their own times; one without (all its answers were errors) stays, with the times of all."""
    told = [route for route in traffic.routes if route.service_time and route.service_time.mean]
    if len(told) < 2:
        return ()
    of_all = _service(traffic)
    return tuple(
        Route(
            pattern=route.pattern,
            share=route.share,
            service=Times(_spread(route.service_time), Origin.LOG) if route in told and route.service_time else of_all,
            may_leave=route in told and route.pattern != OTHER and not _why_route_stays(route),
        )
        for route in traffic.routes
    )


def _work(traffic: Traffic, known: Known) -> Work:
    functions = traffic.functions
    return Work(
        service=known.service_s or _service(traffic),
        cpu_share=known.cpu_share or Figure(ASSUMED_CPU_SHARE, Origin.ASSUMED, "`peaker measure` tells it"),
        cold_start=known.cold_start or _cold_start(traffic),
        worker_memory_mb=known.worker_memory_mb
        or Figure(ASSUMED_WORKER_MB, Origin.ASSUMED, "a web app with a few libraries"),
        function_memory_mb=known.function_memory_mb
        or (
            Figure(float(functions.memory_mb), Origin.LOG, "Memory Size of the REPORT lines")
            if functions
            else Figure(ASSUMED_FUNCTION_MB, Origin.ASSUMED, "a web app with a few libraries")
        ),
        response_bytes=known.response_bytes or _response_bytes(traffic),
    )


def _service(traffic: Traffic) -> Times:
    histogram = traffic.service_time
    if histogram is None or not traffic.source_has_times:
        note = "the source tells no times; `--service-ms` or `peaker measure` does"
        return Times((ASSUMED_SERVICE_S,), Origin.ASSUMED, note)
    return Times(_spread(histogram), Origin.LOG, traffic.service_time_is)


def _spread(histogram: Histogram) -> tuple[float, ...]:
    """101 quantiles of a histogram, brought to its exact mean."""
    points = quantiles_of(histogram.sample_points(1000).tolist(), POINTS)
    mean = (sum(points) - (points[0] + points[-1]) / 2) / (POINTS - 1)
    factor = histogram.mean / mean if mean else 1.0
    return tuple(point * factor for point in points)


def _cold_start(traffic: Traffic) -> Times:
    functions = traffic.functions
    if functions and functions.init_time.count:
        return Times(_spread(functions.init_time), Origin.LOG, "Init Duration of the REPORT lines")
    return Times(ASSUMED_COLD_S, Origin.ASSUMED, "an app that imports FastAPI and boto3")


def _response_bytes(traffic: Traffic) -> Figure:
    histogram = traffic.response_bytes
    if histogram is None or not histogram.count:
        return Figure(0.0, Origin.ASSUMED, "the source tells no sizes: data out is not counted")
    return Figure(histogram.mean, Origin.LOG)


def _needs(traffic: Traffic, declared: Needs) -> Needs:
    """What the log shows on top of what was declared: routes that no function could serve, and open connections."""
    parts = list(declared.servers_also_for)
    for kind, what in ((Kind.WEBSOCKET, "WebSockets"), (Kind.EVENT_STREAM, "event streams or long polls")):
        count = traffic.excluded_count(kind)
        if count:
            parts.append(f"{count:,} {what}, which end with an invocation")
    stay = 0.0
    for route in traffic.routes:
        reason = _why_route_stays(route)
        if reason:
            parts.append(f"{route.pattern}: {reason}")
            stay += route.share
    spillable = declared.spillable_share * (1 - min(1.0, stay))
    return Needs(
        trigger=declared.trigger,
        longest_s=declared.longest_s,
        connections=declared.connections,
        state=declared.state,
        request_bytes_max=declared.request_bytes_max,
        response_bytes_max=declared.response_bytes_max,
        servers_also_for=tuple(parts),
        spillable_share=spillable,
        resources=declared.resources,
    )


def _why_route_stays(route: RouteTraffic) -> str:
    if route.pattern == OTHER:
        return ""  # Many routes in one: what one of them needs says nothing about the others.
    times = route.service_time
    if times is not None and times.count and times.largest > FUNCTION_TIMEOUT_S_MAX:
        return f"took up to {human_duration(times.largest)}, more than a function's {FUNCTION_TIMEOUT_S_MAX:g} s"
    for what, sizes in (("requests", route.request_bytes), ("answers", route.response_bytes)):
        if sizes is not None and sizes.count and sizes.largest * BASE64 > PAYLOAD_BYTES_MAX:
            return f"{what} of up to {human_bytes(sizes.largest)} exceed a function's payload"
    return ""
