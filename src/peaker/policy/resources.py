"""How many instances the resources behind an app leave room for."""

from __future__ import annotations

from dataclasses import dataclass

from peaker.errors import ResourceError
from peaker.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLimit:
    """The most instances of all functions together, and the resource that sets it."""

    resource: str
    instances_max: int
    reason: str


def instances_allowed(settings: Settings, workers: int) -> InstanceLimit | None:
    """The tightest of all [[resource]] tables; None where none limits instances.

    A resource with C connections of which each worker may open w and each instance i leaves
    (C - count_max * workers * w) / i instances, rounded down. Workers come first: they are always there.

    Args:
        settings: the app's.
        workers: of one server, with "auto" resolved.

    Raises:
        ResourceError: the workers alone could exceed a resource.
    """
    tightest: InstanceLimit | None = None
    for resource in settings.resource:
        servers = settings.servers.count_max
        by_workers = servers * workers * resource.per_worker
        left = resource.connections_max - by_workers
        workers_sum = f"{servers} servers x {workers} workers x {resource.per_worker} connections"
        if left < 0:
            raise ResourceError(
                f"resource {resource.name!r}: {workers_sum} = {by_workers}, over its connections_max = "
                f"{resource.connections_max}.",
                remedy="Lower servers.count_max, servers.workers or per_worker.",
            )
        if not resource.per_instance:
            continue
        allowed = left // resource.per_instance
        if tightest is None or allowed < tightest.instances_max:
            reason = (
                f"resource {resource.name!r}: {resource.connections_max} connections - {workers_sum} = {left}, at "
                f"{resource.per_instance} an instance = {allowed} instances"
            )
            tightest = InstanceLimit(resource=resource.name, instances_max=allowed, reason=reason)
    return tightest


def check_resources(settings: Settings, workers: int, concurrency_max: dict[str, int]) -> InstanceLimit | None:
    """Refuse a configuration that could open more connections than a resource has.

    Args:
        settings: the app's.
        workers: of one server, with "auto" resolved.
        concurrency_max: of each function that may run, by name.

    Raises:
        ResourceError: names the sums.
    """
    limit = instances_allowed(settings, workers)
    total = sum(concurrency_max.values())
    if limit is None or total <= limit.instances_max:
        return limit
    sums = " + ".join(f"{name} {count}" for name, count in concurrency_max.items())
    raise ResourceError(
        f"{limit.reason}; but functions may be {total} instances (concurrency_max: {sums}).",
        remedy="Lower concurrency_max, or raise connections_max if the resource takes more.",
    )


def spills_max(settings: Settings, workers: int) -> int:
    """Requests that may be on functions at once while this many workers run, those that still drain included.

    The sum that `check_resources` allows holds for count_max servers; this one for what runs at the moment.
    """
    at_most = settings.functions.concurrency_max
    for resource in settings.resource:
        if resource.per_instance:
            room = resource.connections_max - workers * resource.per_worker
            at_most = min(at_most, max(0, room) // resource.per_instance)
    return at_most
