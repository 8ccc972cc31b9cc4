"""What is possible at all, before any sum: which needs keep a work off the functions."""

from __future__ import annotations

from peaker.plan.case import Case, Trigger
from peaker.units import human_bytes, human_duration

FUNCTION_TIMEOUT_S_MAX = 900.0
PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
ALB_PAYLOAD_BYTES_MAX = 1024 * 1024
BASE64 = 4 / 3
"""Binary bodies travel as base64 in a JSON payload."""


def why_not_on_functions(case: Case) -> tuple[str, ...]:
    """Every need that no function meets, as a sentence each; empty if the work may run there."""
    needs = case.needs
    reasons = []
    if needs.longest_s > FUNCTION_TIMEOUT_S_MAX:
        reasons.append(
            f"it runs for {human_duration(needs.longest_s)}, and a function is stopped after "
            f"{FUNCTION_TIMEOUT_S_MAX:g} s"
        )
    if needs.connections:
        reasons.append("it holds connections open, which end with an invocation")
    if needs.state:
        reasons.append("it keeps state in its process, which the next invocation does not see")
    for what, size in (("a request", needs.request_bytes_max), ("an answer", needs.response_bytes_max)):
        if size * BASE64 > PAYLOAD_BYTES_MAX:
            reasons.append(f"{what} has up to {human_bytes(size)}, and encoded a payload may have 6 MB")
    return tuple(reasons)


def why_not_on_functions_alone(case: Case) -> tuple[str, ...]:
    """Every reason for which at least a part needs servers."""
    return why_not_on_functions(case) + case.needs.servers_also_for


def why_not_behind_alb(case: Case) -> str:
    """Why a load balancer cannot hand this work to a function, "" if it can."""
    largest = max(case.needs.request_bytes_max, case.needs.response_bytes_max)
    if largest * BASE64 > ALB_PAYLOAD_BYTES_MAX:
        return f"bodies of up to {human_bytes(largest)} exceed the 1 MB that a load balancer hands to a function"
    return ""


def why_cold_start_breaks(case: Case, cold_share: float) -> str:
    """Why cold starts alone break the objective, "" if they do not.

    The objective's percentile leaves a share of requests that may be slower; `cold_share` is the share that meets a
    cold start, and such a request takes its mean service time longer than its start.
    """
    cold_s = case.work.cold_start.mean_s + case.work.service.mean_s + case.choices.invoke_overhead_s
    slower = 1 - case.objective.percentile
    if case.needs.trigger is Trigger.REQUEST and cold_s > case.objective.latency_s and cold_share > slower:
        return (
            f"{cold_share:.1%} of the requests wait for a cold start of {human_duration(case.work.cold_start.mean_s)}, "
            f"and only {slower:.1%} may take longer than {human_duration(case.objective.latency_s)}"
        )
    return ""


def why_resources_break(case: Case, workers: int, instances: int) -> list[str]:
    """Every shared resource that so many workers and instances at once would overbook, as a sentence each."""
    reasons = []
    for resource in case.needs.resources:
        wanted = workers * resource.per_worker + instances * resource.per_instance
        if wanted > resource.connections_max:
            reasons.append(
                f"{workers} workers and {instances} instances would open {wanted:,} connections to {resource.name}, "
                f"which takes {resource.connections_max:,}"
            )
    return reasons
