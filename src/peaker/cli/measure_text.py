"""What `peaker measure` shows a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from peaker.cli import present
from peaker.plan.cpu_benchmark import CpuScore, Speed
from peaker.plan.measured import Measured
from peaker.plan.workload import mean_of_quantiles
from peaker.units import human_bytes, human_duration

if TYPE_CHECKING:
    from peaker.traffic.mix import Target

COUNT_ROUTES_SHOWN = 20


def announcement(
    web: str, targets: Sequence[Target], *, body_bytes: int, for_s: float, requests_max: int, on_functions: bool
) -> str:
    """What will be done, before it is."""
    whole = sum(target.weight for target in targets)
    lines = [f"{web} will be started with one worker, on a port of its own and with a state directory of its own."]
    lines.append(
        f"It will be sent up to {requests_max:,} requests in about {for_s:g} s, as fast as it can answer them:"
    )
    lines += [f"  {target.method} {target.path}  ({target.weight / whole:.0%})" for target in targets]
    if body_bytes:
        lines.append(f"  with a body of {human_bytes(body_bytes)} where the method has one")
    if on_functions:
        lines.append("A few hundred of them then run on functions of this machine (--no-functions leaves that out).")
    lines.append("The app has the environment of `peaker run`: what these requests do to databases and others is real.")
    return "\n".join(lines)


def report(measured: Measured) -> str:
    """The measurement on one screen."""
    lines = [f"{measured.app} on {measured.machine}, Python {measured.python}, {measured.measured_at[:16]}Z", ""]
    lines += [*_routes(measured), "", *_figures(measured), ""]
    if measured.curve:
        lines += ["One worker under load (latency from when a request was due):", _curve(measured), ""]
    lines += [f"note: {note}" for note in measured.notes]
    return "\n".join(lines).rstrip()


def score_text(score: CpuScore) -> str:
    """The score of this machine."""
    return (
        f"{score.machine}, Python {score.python}: {score.rounds_per_s:.4g} rounds a second "
        f"(interval {score.low_per_s:.4g} to {score.high_per_s:.4g}, {score.rounds} rounds)"
    )


def speed_text(speed: Speed) -> str:
    """The factor, its interval, and where it comes from."""
    origin = "assumed" if speed.is_assumed else "measured"
    return f"speed {speed.factor:.3g} ({speed.low:.3g} to {speed.high:.3g}), {origin}: {speed.note}"


def _routes(measured: Measured) -> list[str]:
    rows = [("one request at a time", "share", "requests", "p50", "p95", "CPU", "computes", "answer")]
    for route in measured.routes[:COUNT_ROUTES_SHOWN]:
        mean_s = mean_of_quantiles(route.service_s)
        rows.append(
            (
                route.target,
                f"{route.share:.0%}",
                f"{route.requests}",
                _ms(route.service_s[len(route.service_s) // 2]),
                _ms(_p95(route.service_s)),
                _ms(route.cpu_s),
                "-" if route.cpu_s is None or not mean_s else f"{min(1.0, route.cpu_s / mean_s):.0%}",
                human_bytes(route.response_bytes),
            )
        )
    rest = len(measured.routes) - COUNT_ROUTES_SHOWN
    return [present.table(rows, indent=""), *([f"and {rest} more"] if rest > 0 else [])]


def _figures(measured: Measured) -> list[str]:
    share = measured.cpu_share
    rows = [
        ("capacity of one worker", _capacity(measured)),
        ("knee of the latency curve", _rate(measured.knee_per_s)),
        ("computes, of a request's time", "-" if share is None else f"{share:.1%}"),
        ("memory of a worker", f"{_mb(measured.worker_memory_mb)}, {_mb(measured.worker_idle_mb)} before any request"),
        ("memory of a function", _mb(measured.function_memory_mb)),
        ("start of a fresh process", _spread(measured.fresh_start_s)),
        ("cold start here, by fork", f"{_spread(measured.local_cold_start_s)}; Lambda cannot do that"),
        ("run on a warm function", _spread(measured.warm_function_s)),
    ]
    if measured.cpu is not None:
        rows.append(("CPU score", score_text(measured.cpu)))
    if measured.speed is not None:
        rows.append(("instance type", speed_text(measured.speed)))
    return [present.table(rows, indent="")]


def _capacity(measured: Measured) -> str:
    if measured.capacity_per_s is None:
        return "none was found that keeps the objective"
    text = f"{_rate(measured.capacity_per_s)} with p95 within {measured.objective_s * 1000:g} ms"
    if measured.is_bound_by_generator:
        return f"at least {text}; a note says why no more was offered"
    return f"{text}, not {_rate(measured.missed_per_s)}"


def _curve(measured: Measured) -> str:
    rows = [("requests/s", "answered/s", "failed", "p50", "p95", "p99", "cores", "")]
    rows += [
        (
            f"{point.rate_per_s:,.4g}",
            f"{point.achieved_per_s:,.4g}",
            f"{point.failed:,}",
            _ms(point.p50_s),
            _ms(point.p95_s),
            _ms(point.p99_s),
            "-" if point.cpu_cores is None else f"{point.cpu_cores:.2f}",
            str(point.verdict),
        )
        for point in sorted(measured.curve, key=lambda point: point.rate_per_s)
    ]
    return present.table(rows)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g} requests/s"


def _ms(value_s: float | None) -> str:
    return "-" if value_s is None else human_duration(value_s)


def _mb(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} MB"


def _p95(quantiles: Sequence[float]) -> float:
    return quantiles[round(0.95 * (len(quantiles) - 1))]


def _spread(quantiles: Sequence[float] | None) -> str:
    if quantiles is None:
        return "-"
    return f"median {_ms(quantiles[len(quantiles) // 2])}, 95 % within {_ms(_p95(quantiles))}"
