"""What the same traffic would have cost on servers alone, and on functions alone.

Both are reckoned from what was measured, by rules that are stated beside each figure (`rests_on`); neither is a
simulation. The load balancer or API in front, data transfer and storage are left out of both, and of what was paid.
Handlers cost the same either way, so that their cost is part of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from peaker.meter.price import Prices
from peaker.meter.servers import billed_seconds
from peaker.meter.usage import BUCKETS, Ran, Usage, bucket_end_s
from peaker.meter.work import WINDOW_S, Peaks
from peaker.policy.estimate import COLD_GUESS_S, cpu_stretch
from peaker.units import billed_ms

_BUCKET_MIDDLE = 2 ** (-1 / 32)
"""Middle of a bucket of a sixteenth octave, as a part of its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebFunction:
    """What functions did for the web app: invocations and their billed time."""

    invocations: int = 0
    billed_mb_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """`usd` is None where nothing can be said yet; `rests_on` are sentences for a person."""

    usd: float | None
    rests_on: tuple[str, ...]
    servers: int | None = None
    invocations: int | None = None
    function_ms_mean: float | None = None


def servers_only(peaks: Peaks, prices: Prices, *, run_s: float, handlers_usd: float) -> Alternative:
    """So many servers that the peak would have fitted, all of them paid for during the whole run.

    Args:
        peaks: of windows of ten seconds (`meter/work.py`).
        prices: of one server.
        run_s: how long the app has run.
        handlers_usd: what handlers cost, which run on functions anyway.
    """
    if not peaks.windows:
        return Alternative(usd=None, rests_on=(f"Nothing is known before the first {WINDOW_S:g} s are over.",))
    if peaks.held_per_server:
        servers = max(1, math.ceil(peaks.offered / peaks.held_per_server - 1e-6))
        how = (
            f"The peak was {peaks.offered:.1f} requests at once, the mean of {WINDOW_S:g} s; a full server was seen "
            f"to hold {peaks.held_per_server:.1f}."
        )
    else:
        servers = max(1, math.ceil(peaks.servers_max - 1e-6))
        how = "No server was ever full, so as many as there were at the most would have done."
    return Alternative(
        usd=servers * prices.servers_usd(billed_seconds(run_s)) + handlers_usd,
        servers=servers,
        rests_on=(
            how,
            "What functions took, and what was refused, counts with the mean latency it has on servers.",
            f"All {servers} run the whole time: a peak does not wait for a server to start.",
            f"Peaks shorter than {WINDOW_S:g} s are averaged over it: on servers alone, some of their requests wait.",
        ),
    )


def functions_only(
    usage: Usage,
    web: WebFunction,
    peaks: Peaks,
    prices: Prices,
    *,
    memory_mb: int,
    is_like_lambda: bool,
    handlers_usd: float,
) -> Alternative:
    """Every request as an invocation: CPU time stretched to the function's share of a vCPU, and what it waited.

    Args:
        usage: of all workers; its histograms are the latencies, `cpu_us` the CPU time of the workers.
        web: what functions did for the web app.
        peaks: how many instances were needed at once.
        prices: of invocations and GB-seconds.
        memory_mb: of the web app's function.
        is_like_lambda: functions ran at Lambda's speed here, so that their times count as they are.
        handlers_usd: what handlers cost.
    """
    counters = usage.counters
    on_servers = counters["on_server"] + counters["on_sibling"]
    requests = on_servers + counters["on_function"] + counters["refused"]
    if not on_servers and not web.invocations:
        return Alternative(usd=None, rests_on=("No request has been answered yet.",))
    measured = web.invocations if is_like_lambda or not on_servers else 0
    if on_servers:
        cpu_s = counters["cpu_us"] / 1e6 / on_servers
        ms_mean = _billed_ms_mean(usage, cpu_s, cpu_stretch(memory_mb))
        how = (
            f"A request takes {cpu_s * 1e3:.2f} ms of CPU (all CPU time of the workers, by requests), which at "
            f"{memory_mb} MB takes {cpu_stretch(memory_mb):.2f} times as long, and waits as long as it did here."
        )
    else:
        ms_mean = web.billed_mb_ms / memory_mb / web.invocations
        how = "Requests take what those on functions were billed for, since none ran on a server."
    converted = max(0, requests - measured)
    mb_ms = round(converted * ms_mean * memory_mb) + (web.billed_mb_ms if measured else 0)
    starts, init_mb_ms = _starts(peaks, memory_mb, usage, ms_mean)
    usd = prices.functions_usd(requests, mb_ms + (0 if measured else init_mb_ms), prices.architecture)
    started = (
        f"{starts} starts of {COLD_GUESS_S['lambda']:g} s (an assumption: Python on Lambda), one for each "
        "instance that the peak needs at once, are billed too; instances that end and start again are not counted."
        if starts and not measured
        else "Starts are counted only where they were measured: there would have been more."
    )
    return Alternative(
        usd=usd + handlers_usd,
        invocations=requests,
        function_ms_mean=ms_mean,
        rests_on=(
            how,
            "Time that a request waited for a slot here is taken for its own: a little too much.",
            started,
            f"{counters['websockets']:,} WebSocket connections are left out: no function can hold them."
            if counters["websockets"]
            else "Every request counts, as if all routes might run on functions.",
        ),
    )


def _billed_ms_mean(usage: Usage, cpu_s: float, stretch: float) -> float:
    """Mean over the latencies on servers, each converted and then rounded up as Lambda bills it."""
    total = sum_ms = 0
    for ran in (Ran.SERVER, Ran.SIBLING):
        for bucket, count in enumerate(usage.histograms[ran]):
            if count:
                latency_s = bucket_end_s(bucket) * _BUCKET_MIDDLE
                busy_s = min(cpu_s, latency_s)
                total += count
                sum_ms += count * billed_ms(busy_s * stretch + latency_s - busy_s)
    return sum_ms / total if total else float(billed_ms(cpu_s * stretch))


def _starts(peaks: Peaks, memory_mb: int, usage: Usage, ms_mean: float) -> tuple[int, int]:
    """How many instances the peak needs at once, and what their starts are billed, in megabyte-milliseconds."""
    if not peaks.offered:
        return 0, 0
    server_s = mean_latency_s(usage.histograms, (Ran.SERVER, Ran.SIBLING)) or ms_mean / 1e3
    starts = max(1, math.ceil(peaks.offered * (ms_mean / 1e3) / server_s))
    return starts, round(starts * COLD_GUESS_S["lambda"] * 1e3 * memory_mb)


def latency_sum_s(counts: tuple[int, ...]) -> float:
    """Sum of the latencies of a histogram, to 2 %: each counts as the middle of its bucket."""
    return sum(count * _MIDDLES_S[bucket] for bucket, count in enumerate(counts) if count)


def mean_latency_s(histograms: Mapping[Ran, tuple[int, ...]], rans: tuple[Ran, ...]) -> float | None:
    """Of all requests that ran there, None without any."""
    total = sum(sum(histograms[ran]) for ran in rans)
    return sum(latency_sum_s(histograms[ran]) for ran in rans) / total if total else None


_MIDDLES_S = tuple(bucket_end_s(bucket) * _BUCKET_MIDDLE for bucket in range(BUCKETS))
