"""The model of a running project: its settings, and what `peaker measure` found out about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from urllib.parse import urlsplit

from peaker.functions.lambda_like import FRACTIONS, INIT_MS, INSTANCES_PER_10_S, OVERHEAD_S, PLACEMENT_S, quantile
from peaker.meter.price import prices_of
from peaker.plan.measured import Measured
from peaker.plan.workload import PlanError, mean_of_quantiles
from peaker.policy.limit import SLOTS_AT_START
from peaker.policy.placement import Placement, Rule, make_rules, rule_for
from peaker.settings import Settings
from peaker.simulate.prediction import Input, Model
from peaker.traffic.mix import Target
from peaker.traffic.replay import TICK_S

STARTS_UNLIMITED = 1_000_000
KEEP_ALIVE_AUTO_S = 600.0
"""What `functions.keep_alive_s = "auto"` begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelled:
    """A model, its inputs for people, and what is not in it."""

    model: Model
    inputs: tuple[Input, ...]
    notes: tuple[str, ...]


def model_of_project(
    settings: Settings, measured: Measured, targets: Sequence[Target], *, servers: int, workers: int
) -> Modelled:
    """The model of a project under traffic of these targets.

    Args:
        settings: of the project.
        measured: what `peaker measure` found, asking the same targets.
        targets: what is asked.
        servers: how many there are.
        workers: processes of each.

    Raises:
        PlanError: a figure that it rests on was not measured.
        SettingsError: there is no price for the region or instance type.
    """
    waited_s = _waited_s(measured)
    service_s = tuple(value + waited_s for value in _needed(measured.service_s, "service times"))
    notes = list(measured.notes)
    rules = [(_rule_of(settings, target), target.weight) for target in targets]
    spillable = _spillable(rules)
    factor, overhead_s = 1.0, 0.0
    cold_s: tuple[float, ...] = (0.0,)
    if spillable:
        warm_s = _needed(measured.warm_function_s, "runs on a warm function")
        factor = mean_of_quantiles(warm_s) / mean_of_quantiles(service_s)
        overhead_s, cold_s = _function_times(settings, measured, notes)
    slots = settings.servers.in_flight_max
    if slots == "auto":
        slots = SLOTS_AT_START
        notes.append(f'servers.in_flight_max = "auto" moves with the load; it is taken as {slots}, where it begins.')
    keep_alive_s = settings.functions.keep_alive_s
    learns = keep_alive_s == "auto"
    if keep_alive_s == "auto":
        keep_alive_s = KEEP_ALIVE_AUTO_S
    if settings.functions.buffer:
        notes.append(f"functions.buffer = {settings.functions.buffer} is not simulated: cold starts come out too many.")
    notes += _about_mix(measured, targets)
    objective_s, said = _objective_s(rules)
    notes += said
    like_lambda = settings.functions.like == "lambda"
    prices = prices_of(settings)
    model = Model(
        service_s=service_s,
        cpu_share=min(1.0, (measured.cpu_s or 0.0) / mean_of_quantiles(service_s)),
        function_factor=factor,
        function_overhead_s=overhead_s,
        cold_start_s=cold_s,
        memory_mb=settings.functions.memory_mb,
        spillable_share=spillable,
        servers=(servers,),
        workers=workers,
        slots=slots,
        lag_s_max=settings.servers.lag_ms_max / 1000,
        queue_max=settings.servers.queue_max,
        queue_wait_s_max=settings.servers.queue_wait_s_max,
        objective_s=objective_s,
        placement=(Placement.HYBRID if spillable else Placement.SERVERS).value,
        concurrency_max=settings.functions.concurrency_max,
        keep_alive_s=keep_alive_s,
        starts_per_s=INSTANCES_PER_10_S / 10 if like_lambda else STARTS_UNLIMITED,
        starts_burst=INSTANCES_PER_10_S if like_lambda else STARTS_UNLIMITED,
        like=settings.functions.like,
        learns_keep_alive=learns and not like_lambda,
        client_s=TICK_S / 2,
        server_usd_per_hour=prices.server.usd_per_hour,
        request_usd=prices.request.usd,
        gb_second_usd=prices.gb_second[prices.architecture].usd,
    )
    return Modelled(model=model, inputs=_inputs(settings, measured, model), notes=tuple(notes))


def _needed(times_s: tuple[float, ...] | None, what: str) -> tuple[float, ...]:
    if not times_s or times_s[-1] <= 0:
        raise PlanError(f"there are no {what} in the measurement.", remedy="`peaker measure` again, with these --path.")
    return times_s


def _waited_s(measured: Measured) -> float:
    """How long a request waited for a core, mean of the mix.

    It is no part of what the app needs, and so not of `service_s`; but whoever replays on that machine waits as well.
    """
    whole = sum(route.share for route in measured.routes)
    return sum(route.share * route.waited_s for route in measured.routes) / whole if whole else 0.0


def _function_times(settings: Settings, measured: Measured, notes: list[str]) -> tuple[float, tuple[float, ...]]:
    """What an invocation adds to its run, and what a start adds to that."""
    if settings.functions.like == "lambda":
        own_s = mean_of_quantiles(_needed(measured.fresh_start_s, "fresh starts"))
        init_ms = INIT_MS[max(INIT_MS)]
        points = [quantile(FRACTIONS, init_ms, place / 100) / 1000 for place in range(101)]
        notes.append('functions.like = "lambda": CPU quota of a function is not simulated, start times are.')
        return OVERHEAD_S, tuple(PLACEMENT_S + point + own_s for point in points)
    overhead_s = measured.function_overhead_s
    if overhead_s is None:
        overhead_s = 0.0
        notes.append("what an invocation adds to its run was not measured: taken as 0; `peaker measure` tells it.")
    return overhead_s, _needed(measured.local_cold_start_s, "cold starts")


def _rule_of(settings: Settings, target: Target) -> Rule:
    rules = make_rules(settings)
    return rules[rule_for(rules, urlsplit(target.path).path)]


def _spillable(rules: Sequence[tuple[Rule, float]]) -> float:
    """The share of the requests that may leave the servers.

    Raises:
        PlanError: some run on functions alone, beside others that do not.
    """
    placements = {rule.placement for rule, _ in rules}
    if Placement.FUNCTIONS in placements:
        raise PlanError(
            "some of these requests run on functions alone; only servers with functions above them are simulated.",
            remedy="Leave those out with --path.",
        )
    whole = sum(weight for _, weight in rules)
    return sum(weight for rule, weight in rules if rule.placement is Placement.HYBRID) / whole


def _objective_s(rules: Sequence[tuple[Rule, float]]) -> tuple[float, list[str]]:
    """The objective of most requests, and a note where others have another."""
    weights: dict[float, float] = {}
    for rule, weight in rules:
        weights[rule.objective_s] = weights.get(rule.objective_s, 0.0) + weight
    most = max(weights, key=lambda objective_s: weights[objective_s])
    said = f"objectives differ by route; all are simulated with {most * 1000:g} ms, that of most requests."
    return most, [said] if len(weights) > 1 else []


def _about_mix(measured: Measured, targets: Sequence[Target]) -> list[str]:
    """A note where the figures are of another mix of requests."""
    whole = sum(target.weight for target in targets)
    asked = {f"{target.method} {target.path}": target.weight / whole for target in targets}
    known = {route.target: route.share for route in measured.routes}
    if set(asked) == set(known) and all(abs(asked[name] - known[name]) < 0.01 for name in asked):
        return []
    return ["the figures were measured with other paths or weights than these requests have."]


def _inputs(settings: Settings, measured: Measured, model: Model) -> tuple[Input, ...]:
    here = f"measured on {measured.machine}, {measured.measured_at}"
    told = f"settings of {settings.app.name}"
    starts_are = "as AWS's, functions.like = lambda" if settings.functions.like == "lambda" else here
    return (
        Input(name="time on a server", value=_times(model.service_s), origin=here),
        Input(name="of which it waits for a core", value=f"{_waited_s(measured) * 1000:.2f} ms", origin=here),
        Input(name="part of it that computes", value=f"{model.cpu_share:.1%}", origin=here),
        Input(name="run on a function over that", value=f"{model.function_factor:.3f}", origin=here),
        Input(name="an invocation adds", value=f"{model.function_overhead_s * 1000:.2f} ms", origin=starts_are),
        Input(name="a cold start adds", value=_times(model.cold_start_s), origin=starts_are),
        Input(
            name="a replay sends late by",
            value=f"{model.client_s * 1000:g} ms",
            origin="its timers count whole milliseconds",
        ),
        Input(
            name="servers",
            value=f"{model.servers[0]} of {model.workers} workers with {model.slots} slots",
            origin=told,
        ),
        Input(name="objective", value=f"95 % within {model.objective_s * 1000:g} ms", origin=told),
        Input(name="may spill", value=f"{model.spillable_share:.0%} of the requests", origin=told),
        Input(name="instances stay idle for", value=f"{model.keep_alive_s:g} s", origin=told),
        Input(
            name="prices",
            value=(
                f"${model.server_usd_per_hour:g} an hour ({settings.servers.instance_type}), "
                f"${model.gb_second_usd:g} a GB-second of {model.memory_mb} MB"
            ),
            origin=f"price table, {settings.aws.region}",
        ),
    )


def _times(quantiles_s: tuple[float, ...]) -> str:
    last = len(quantiles_s) - 1
    p50, p95 = quantiles_s[last // 2], quantiles_s[round(last * 0.95)]
    return f"p50 {p50 * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms, mean {_mean_ms(quantiles_s):.1f} ms"


def _mean_ms(quantiles_s: tuple[float, ...]) -> float:
    return mean_of_quantiles(quantiles_s) * 1000 if len(quantiles_s) > 1 else fmean(quantiles_s) * 1000
