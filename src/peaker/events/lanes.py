"""The lanes of an app: for each function one for events that run alone, and one for each source of batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from peaker.app import FunctionSpec, functions
from peaker.events.destinations import DELIVERIES_AT_ONCE_MAX, DELIVERY_S_MAX, is_sent
from peaker.job_section import JobSection
from peaker.policy.dispatch import Lane
from peaker.policy.retry import RetryRules
from peaker.settings import FunctionSection, Settings
from peaker.triggers import Kind

BATCHED = (Kind.QUEUE, Kind.TABLE)


@dataclass(frozen=True, slots=True)
class FunctionLanes:
    """Of one function: `alone` for every source that has none of its own, and those by source."""

    function_max: int
    alone: Lane
    by_source: Mapping[str, Lane]

    def of(self, source: str) -> Lane:
        """The lane that events of `source` are run in."""
        return self.by_source.get(source, self.alone)


def lanes_of(settings: Settings) -> dict[str, FunctionLanes]:
    """By function (the web app's can be invoked by its name like any other), job, and destination."""
    declared = {section.name: section for section in settings.function}
    lanes = {spec.name: _lanes(spec, declared.get(spec.name), settings) for spec in functions(settings)}
    lanes |= {job.name: _job_lanes(job, settings) for job in settings.job}
    targets = {target for of in lanes.values() for target in (of.alone.on_success, of.alone.on_failure)}
    return lanes | {target: _delivery(target, settings) for target in targets if is_sent(target)}


def _delivery(target: str, settings: Settings) -> FunctionLanes:
    """A queue or topic to which records are sent."""
    rules = RetryRules(age_s_max=settings.events.age_s_max, hops_max=settings.events.hops_max)
    lane = Lane(function=target, at_once_max=DELIVERIES_AT_ONCE_MAX, timeout_s=DELIVERY_S_MAX, rules=rules)
    return FunctionLanes(DELIVERIES_AT_ONCE_MAX, lane, {})


def _job_lanes(job: JobSection, settings: Settings) -> FunctionLanes:
    """A job is waited for without an end, and is never too old to be begun."""
    rules = RetryRules(
        retries_max=job.retries_max, retry_s=job.retry_s, age_s_max=math.inf, hops_max=settings.events.hops_max
    )
    alone = Lane(
        function=job.name,
        at_once_max=job.concurrency_max,
        timeout_s=0.0,  # What is cut off at the end of this process runs on by itself, and is asked for again at once.
        rules=rules,
        on_success=job.on_success,
        on_failure=job.on_failure,
    )
    return FunctionLanes(job.concurrency_max, alone, {})


def source_name(kind: Kind, name: str) -> str:
    """What events of a source are known by: `queue/orders`."""
    return f"{kind.value}/{name}"


def _lanes(spec: FunctionSpec, declared: FunctionSection | None, settings: Settings) -> FunctionLanes:
    events = settings.events
    alone = Lane(
        function=spec.name,
        at_once_max=spec.concurrency_max,
        timeout_s=spec.timeout_s,
        rules=RetryRules(
            retries_max=spec.retries_max,
            retry_s=events.retry_s,
            age_s_max=spec.event_age_s_max,
            hops_max=events.hops_max,
        ),
        on_success=spec.on_success,
        on_failure=spec.on_failure,
    )
    by_source = {}
    for trigger in declared.on if declared is not None else ():
        if trigger.kind in BATCHED:
            source = source_name(trigger.kind, getattr(trigger, trigger.kind.value))
            by_source[source] = replace(
                alone,
                source=source,
                at_once_max=min(trigger.maximum_concurrency or spec.concurrency_max, spec.concurrency_max),
                batch_size=trigger.records_max,
                window_s=trigger.window_s,
                takes_partial=trigger.report_batch_item_failures,
                on_success="",  # An event source mapping has destinations of failures alone.
            )
    return FunctionLanes(spec.concurrency_max, alone, by_source)
