"""What a gate has learned about its routes, for people: where each may run, and why it stays where it stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from peaker.gate.routes import Route
from peaker.policy.placement import Placement

ROUTES_TOLD_MAX = 50


def route_lines(routes: Iterable[Route], spill_after_seen: int, *, can_spill: bool) -> list[dict[str, Any]]:
    """The routes with the most answers seen, at most ROUTES_TOLD_MAX; `stays_because` is "" for one that may leave.

    Args:
        routes: of one gate.
        spill_after_seen: answers that an undeclared route must have shown.
        can_spill: whether there are functions to go to.
    """
    most = sorted(routes, key=lambda route: (-route.times.samples, route.key))[:ROUTES_TOLD_MAX]
    return [
        {
            "route": route.key,
            "placement": route.rule.placement.value,
            "declared": route.rule.is_declared,
            "seen": round(route.times.samples),
            "service_ms": route.times.recent_s * 1e3,
            "function_ms": route.function_times.recent_s * 1e3 if route.function_times.samples else None,
            "stays_because": _why(route, spill_after_seen, can_spill=can_spill),
        }
        for route in most
    ]


def _why(route: Route, spill_after_seen: int, *, can_spill: bool) -> str:
    if route.rule.placement is Placement.FUNCTIONS:
        return ""
    return route.why_not_spill(spill_after_seen) or ("" if can_spill else "there are no functions")


def merged(of_workers: Iterable[list[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The lines of several workers as one: each learns on its own, so that some may spill what others still keep."""
    found: dict[str, dict[str, Any]] = {}
    for lines in of_workers:
        for line in lines:
            one = found.setdefault(line["route"], {**line, "seen": 0, "workers": 0, "workers_that_keep_it": 0})
            one["seen"] += line["seen"]
            one["workers"] += 1
            one["workers_that_keep_it"] += bool(line["stays_because"])
            one["stays_because"] = one["stays_because"] or line["stays_because"]
    return sorted(found.values(), key=lambda line: (-line["seen"], line["route"]))[:ROUTES_TOLD_MAX]
