"""`/metrics`: the meter's figures as metrics. Every label is bounded: by the settings, or by the number of workers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from peaker.engines.local.cost import Metered, functions_usd
from peaker.meter.bill import Bill
from peaker.meter.counterfactual import latency_sum_s
from peaker.meter.exposition import Family, Histogram, Kind
from peaker.meter.function_usage import FunctionUsage
from peaker.meter.route_usage import EDGES_S, RouteHistogram, coarse
from peaker.meter.usage import HISTOGRAMS, Ran, Usage

ALL_ROUTES = "(all)"
"""The route label where none is declared."""

_REQUEST_COUNTERS = {
    "waited": ("peaker_requests_waited", "Requests that waited for a slot."),
    "client_gone": ("peaker_requests_client_gone", "Requests whose client left before the answer."),
    "failed": ("peaker_requests_failed", "Requests whose app raised."),
    "websockets": ("peaker_websockets_accepted", "WebSocket connections taken."),
    "spilled": ("peaker_requests_spilled", "Requests that went to a function because servers had no room."),
    "throttled": ("peaker_spills_throttled", "Spills that functions had no room for."),
    "function_errors": ("peaker_spills_failed", "Spills that a function did not answer."),
}


def families(
    metered: Metered, routes: Mapping[tuple[str, Ran], RouteHistogram], status: Mapping[str, Any], made: Bill
) -> Iterator[Family]:
    """All metrics.

    Args:
        metered: what was counted.
        routes: latencies by declared route, empty where none is declared.
        status: what `/status` answers.
        made: the bill of the run so far.
    """
    return itertools.chain(
        _about(metered, status),
        _requests(metered.usage, routes),
        _functions(metered),
        _workers(status),
        _events(status["events"]),
        _cost(metered, status, made),
        _baseline(status.get("servers", {}).get("loop")),
    )


def _about(metered: Metered, status: Mapping[str, Any]) -> Iterator[Family]:
    yield Family("peaker", Kind.INFO, "What is running.").add(
        1,
        app=status["app"],
        version=status["version"],
        region=metered.prices.region,
        instance_type=metered.prices.server.name,
        architecture=metered.prices.architecture.name.lower(),
    )
    yield Family("peaker_generation", Kind.GAUGE, "Generation of code and settings.").add(status["generation"])
    yield Family("peaker_started_timestamp_seconds", Kind.GAUGE, "When the app was started.", "seconds").add(
        metered.began_epoch_s
    )


def _requests(usage: Usage, routes: Mapping[tuple[str, Ran], RouteHistogram]) -> Iterator[Family]:
    requests = Family("peaker_requests", Kind.COUNTER, "Requests answered, by where they ran.")
    for name in ("server", "sibling", "function"):
        requests.add(usage.counters[f"on_{name}"], ran=name)
    yield requests.add(usage.counters["refused"], ran="refused")
    for counter, (name, text) in _REQUEST_COUNTERS.items():
        yield Family(name, Kind.COUNTER, text).add(usage.counters[counter])
    yield (
        Family("peaker_spills_denied", Kind.COUNTER, "Requests that were not spilled for a reason beside room.")
        .add(usage.counters["spill_denied_spend"], reason="spend")
        .add(usage.counters["spill_denied_slow_store"], reason="slow_store")
    )
    yield Family("peaker_worker_cpu_seconds", Kind.COUNTER, "CPU time of all workers.", "seconds").add(
        usage.counters["cpu_us"] / 1e6
    )
    yield _latencies(usage, routes)


def _latencies(usage: Usage, routes: Mapping[tuple[str, Ran], RouteHistogram]) -> Family:
    """By route where routes are declared; else of all together, whose sum is of the middles of fine buckets."""
    family = Family(
        "peaker_request_latency_seconds",
        Kind.HISTOGRAM,
        "From a request's head being readable to its last byte handed over, without time blocked on the client.",
        "seconds",
    )
    if routes:
        for (route, ran), (counts, sum_s) in sorted(routes.items()):
            family.add(Histogram(EDGES_S, counts, sum_s), ran=ran.name.lower(), route=route)
        return family
    for ran in HISTOGRAMS:
        counts = usage.histograms[ran]
        family.add(Histogram(EDGES_S, coarse(counts), latency_sum_s(counts)), ran=ran.name.lower(), route=ALL_ROUTES)
    return family


_FUNCTION_METRICS: tuple[tuple[str, str, str, Callable[[FunctionUsage], float]], ...] = (
    ("invocations", "", "Invocations, by function and by who asked.", lambda one: one.invocations),
    ("cold_starts", "", "Invocations that waited for an instance to start.", lambda one: one.cold_starts),
    ("failures", "", "Invocations that ended in an error.", lambda one: one.failures),
    ("timeouts", "", "Invocations that were killed at their time limit.", lambda one: one.timeouts),
    ("throttles", "", "Calls turned away for want of room.", lambda one: one.throttled),
    ("duration_seconds", "seconds", "Time that invocations ran.", lambda one: one.duration_us / 1e6),
    ("init_seconds", "seconds", "Time that starts took which invocations waited for.", lambda one: one.init_us / 1e6),
    ("billed_seconds", "seconds", "Time billed, starts included.", lambda one: one.billed_ms / 1e3),
)


def _functions(metered: Metered) -> Iterator[Family]:
    for name, unit, text, value in _FUNCTION_METRICS:
        family = Family(f"peaker_function_{name}", Kind.COUNTER, text, unit)
        for one in metered.functions:
            family.add(value(one), **_function_labels(one))
        yield family
    memory = Family("peaker_function_memory_gb_seconds", Kind.COUNTER, "Memory times billed time.", "gb_seconds")
    for one in metered.functions:
        memory.add(one.gb_seconds, **_function_labels(one), architecture=one.architecture.name.lower())
    yield memory


def _function_labels(one: FunctionUsage) -> dict[str, str]:
    return {"function": one.name, "caller": one.caller.name.lower()}


def _workers(status: Mapping[str, Any]) -> Iterator[Family]:
    for name, key, scale, unit, text in (
        ("slots", "slots", 1, "", "Requests that a worker lets run at once."),
        ("in_flight", "in_flight", 1, "", "Requests that run now."),
        ("waiting", "waiting", 1, "", "Requests that wait for a slot."),
        ("spilling", "spilling", 1, "", "Requests that are on functions now."),
        ("connections", "connections", 1, "", "Open connections."),
        ("lag_seconds", "lag_ms", 1e-3, "seconds", "How late the worker's loop is."),
    ):
        family = Family(f"peaker_worker_{name}", Kind.GAUGE, text, unit)
        for worker in status["workers"]:
            family.add(worker[key] * scale, worker=worker["name"])
        yield family
    instances = Family("peaker_function_instances", Kind.GAUGE, "Instances of a function, by what they do.")
    for function in (status["host"] or {}).get("functions", []):
        for state in ("starting", "busy", "idle"):
            instances.add(function.get("instances", {}).get(state, 0), function=function["name"], state=state)
    yield instances


_EVENT_COUNTERS = (
    ("accepted", "accepted", "Events that were accepted, and are on disk."),
    ("duplicates", "duplicates", "Events that were dropped, for they were there already."),
    ("refused", "refused", "Events that there was no room for."),
    ("started", "attempts", "Attempts to run a function for an event."),
    ("finished", "finished", "Events that a function has finished with."),
    ("failed", "failures", "Attempts that the function failed."),
    ("not_started", "not_started", "Attempts that were throttled or met a failure of the platform."),
    ("retried", "retries", "Attempts after which another one is made."),
    ("dead", "given_up", "Events that became dead letters."),
)


def _events(events: Mapping[str, Any] | None) -> Iterator[Family]:
    """Counters are those of the events process, and begin anew with it."""
    if events is None or events["counts"] is None:
        return
    for key, name, text in _EVENT_COUNTERS:
        yield Family(f"peaker_events_{name}", Kind.COUNTER, text).add(events["totals"][key])
    counts = events["counts"]
    kept = Family("peaker_events_kept", Kind.GAUGE, "Events that are kept, by function and state.")
    for function in counts["functions"]:
        for state in ("waiting", "running", "dead"):
            kept.add(function[state], function=function["function"], state=state)
    yield kept
    yield Family(
        "peaker_events_oldest_age_seconds", Kind.GAUGE, "Age of the oldest event that waits or runs.", "seconds"
    ).add(counts["oldest_age_s"])
    yield from _jobs(events)


def _jobs(events: Mapping[str, Any]) -> Iterator[Family]:
    """Of the events process, as far as it has seen any."""
    jobs, totals = events.get("jobs") or [], events.get("job_totals") or {}
    if not jobs and not totals:
        return
    running = Family("peaker_jobs_running", Kind.GAUGE, "Jobs that have a process.")
    done = Family("peaker_job_done_ratio", Kind.GAUGE, "How far the running job that is least far says it is.", "ratio")
    for name in sorted({job["name"] for job in jobs}):
        alike = [job for job in jobs if job["name"] == name]
        running.add(len(alike), job=name)
        done.add(min(job["fraction"] or 0.0 for job in alike), job=name)
    yield running
    yield done
    ends = Family("peaker_job_processes", Kind.COUNTER, "Processes of jobs: how many were started, and how they ended.")
    for what, count in sorted(totals.items()):
        ends.add(count, what=what)
    yield ends


def _cost(metered: Metered, status: Mapping[str, Any], made: Bill) -> Iterator[Family]:
    servers, until_s = metered.book.servers, metered.until_epoch_s
    yield Family("peaker_servers", Kind.GAUGE, "Servers that are paid for now.").add(len(servers.launched_epoch_s))
    yield Family("peaker_server_launches", Kind.COUNTER, "Servers launched.").add(servers.launches)
    yield Family("peaker_server_seconds", Kind.COUNTER, "Time that servers were there.", "seconds").add(
        servers.seconds(until_s)
    )
    yield Family("peaker_server_billed_seconds", Kind.COUNTER, "As EC2 bills it, a minute at least.", "seconds").add(
        servers.billed_s(until_s)
    )
    cost = Family("peaker_cost_usd", Kind.COUNTER, "What the run has cost, by line of the bill, unrounded.", "usd")
    for line in made.lines:
        cost.add(line.usd, item=line.item)
    yield cost
    yield Family("peaker_functions_cost_usd", Kind.COUNTER, "What functions have cost in this run.", "usd").add(
        functions_usd(metered.functions, metered.prices)
    )
    spend = status["spend"]
    yield Family("peaker_spend_today_usd", Kind.GAUGE, "What functions have cost in this UTC day.", "usd").add(
        spend["today_usd"]
    )
    if spend["usd_per_day_max"] is not None:
        yield Family("peaker_spend_max_usd", Kind.GAUGE, "Limit of what functions may cost in a UTC day.", "usd").add(
            spend["usd_per_day_max"]
        )


_BASELINE_COUNTERS = (
    ("steps", "decisions", "Steps in which the number of servers was decided."),
    ("missing", "observations_missing", "Steps of which nothing was known."),
    ("added", "servers_added", "Servers that the control loop has added."),
    ("removed", "servers_removed", "Servers that the control loop has taken away."),
    ("wrong", "changes_regretted", "Changes that cost more than leaving the number would have, seen afterwards."),
)


def _baseline(last: Mapping[str, Any] | None) -> Iterator[Family]:
    """Of the control loop; its counters go on over restarts."""
    if last is None:
        return
    for key, name, text in _BASELINE_COUNTERS:
        yield Family(f"peaker_baseline_{name}", Kind.COUNTER, text).add(last["counts"][key])
    if last["demand_servers"] is not None:
        yield Family("peaker_baseline_demand_servers", Kind.GAUGE, "Load in servers' worth, spills included.").add(
            last["demand_servers"]
        )
    yield Family("peaker_baseline_wanted_servers", Kind.GAUGE, "Servers that the policy wants.").add(last["wanted"])
    yield Family(
        "peaker_baseline_server_requests_per_second", Kind.GAUGE, "Rate that one server carries, as learned."
    ).add(last["server_per_s"])
    yield Family(
        "peaker_baseline_server_start_seconds", Kind.GAUGE, "Time a server takes to start, as measured.", "seconds"
    ).add(last["server_start_s"])
