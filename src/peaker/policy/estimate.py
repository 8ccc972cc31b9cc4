"""How long things take: learned from what has finished, with a reasoned guess until something has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from peaker.units import MEMORY_MB_PER_VCPU

RECENT_WEIGHT = 0.1
"""Weight of one sample: `recent_s` speaks of the last twenty or so."""

HOLD_WEIGHT = 0.02
"""The same for how long a slot is held, from which the wait for one is expected: of the last hundred. With twenty,
exponential times make that expectation wrong by a fifth, and requests wait for slots that come too late."""

PERIOD_S = 10.0
PERIOD_SAMPLES = 30
"""A period's mean moves the baseline; shorter or thinner ones would be noise."""

BASELINE_FALL = 0.5
BASELINE_RISE_S = 1800.0
"""The baseline follows a fall at once and a rise with this time constant: at ten times the latency, it takes a quarter
of an hour until that is the new normal."""


class Times(NamedTuple):
    """What one kind of work takes: now (`recent_s`, `spread_s`) and when nothing is wrong (`baseline_s`).

    In seconds. A named tuple because a busy worker makes one for each of its routes twenty times a second.
    """

    samples: int = 0
    recent_s: float = 0.0
    spread_s: float = 0.0
    baseline_s: float = 0.0
    is_first_period: bool = True
    period_began_s: float = 0.0
    period_count: int = 0
    period_sum_s: float = 0.0

    @property
    def tail_s(self) -> float:
        """What 95 % stay within: mean + 2 standard deviations, which is right for an exponential and safe for less."""
        return self.recent_s + 2 * self.spread_s


def with_samples(
    times: Times,
    count: int,
    sum_s: float,
    sum_of_squares: float,
    now_s: float,
    *,
    learn_baseline: bool = True,
    weight_of_one: float = RECENT_WEIGHT,
) -> Times:
    """Times after `count` more samples, given by their sum and the sum of their squares."""
    if count <= 0:
        return times
    # The first samples are a plain mean, so that none of them counts for more than the others.
    weight = max(1 - (1 - weight_of_one) ** count, count / (times.samples + count))
    recent_s = times.recent_s + weight * (sum_s / count - times.recent_s)
    old_square = times.spread_s**2 + times.recent_s**2
    recent_square = old_square + weight * (sum_of_squares / count - old_square)
    spread_s = math.sqrt(max(0.0, recent_square - recent_s**2))
    if not learn_baseline:
        return times._replace(samples=times.samples + count, recent_s=recent_s, spread_s=spread_s)
    period_began_s = times.period_began_s if times.period_count else now_s
    period_count = times.period_count + count
    period_sum_s = times.period_sum_s + sum_s
    mean_s = period_sum_s / period_count
    baseline_s = mean_s if times.is_first_period else times.baseline_s  # In the first period it is all there is.
    lasted_s = now_s - period_began_s
    is_over = lasted_s >= PERIOD_S and period_count >= PERIOD_SAMPLES
    if is_over:
        rise = 1 - math.exp(-lasted_s / BASELINE_RISE_S)
        baseline_s += (BASELINE_FALL if mean_s < baseline_s else rise) * (mean_s - baseline_s)
        period_count, period_sum_s = 0, 0.0
    return Times(
        times.samples + count,
        recent_s,
        spread_s,
        baseline_s,
        times.is_first_period and not is_over,
        period_began_s,
        period_count,
        period_sum_s,
    )


CHANCE_WEIGHT = 0.2

OVERHEAD_GUESS_S = {"local": 0.002, "lambda": 0.015}
"""From the gate through the Invoke API to the app and back, until a run has been measured."""

COLD_GUESS_S = {"local": 0.02, "lambda": 1.0}
"""How much longer a cold run takes, until one has been seen: a fork from a warm zygote; a Python web framework on
Lambda (1,460 ms for FastAPI at 128 MB, maxday/lambda-perf 2026-08-22; less with more memory)."""

PEAK_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStarts:
    """How likely the next run is to start cold, and what that adds, from this gate's own finished runs.

    A run begun while more are in flight than ever lately needs an instance nobody has used yet; one begun below that
    finds one that has come back. So the chances are learned apart: `growing` and `within`. `peak` is the most in flight
    at once in this period of PEAK_S, `peak_before` in the one before.
    """

    extra_s: float
    growing: float = 1.0
    within: float = 0.0
    peak: int = 0
    peak_before: int = 0
    period_began_s: float = 0.0

    def is_growing(self, in_flight: int) -> bool:
        """Whether one more run would be more than there were lately."""
        return in_flight >= max(self.peak, self.peak_before)

    def expected_extra_s(self, in_flight: int) -> float:
        """The chance of a cold start times what one adds, with this many runs in flight already."""
        return (self.growing if self.is_growing(in_flight) else self.within) * self.extra_s


def with_run_begun(starts: ColdStarts, in_flight: int, now_s: float) -> ColdStarts:
    """After a run has begun, `in_flight` with it."""
    periods = (now_s - starts.period_began_s) / PEAK_S
    if periods >= 1:
        before = starts.peak if periods < 2 else 0
        return replace(starts, peak=in_flight, peak_before=before, period_began_s=now_s)
    return replace(starts, peak=in_flight) if in_flight > starts.peak else starts


def with_run_ended(starts: ColdStarts, extra_s: float | None, *, was_growing: bool) -> ColdStarts:
    """After a run has ended; `extra_s` is what starting cold added to it, None where it ran warm."""
    seen = 0.0 if extra_s is None else 1.0
    if was_growing:
        starts = replace(starts, growing=starts.growing + CHANCE_WEIGHT * (seen - starts.growing))
    else:
        starts = replace(starts, within=starts.within + CHANCE_WEIGHT * (seen - starts.within))
    if extra_s is None:
        return starts
    return replace(starts, extra_s=starts.extra_s + CHANCE_WEIGHT * (extra_s - starts.extra_s))


FUNCTION_SAMPLE_WEIGHT = 3
"""Runs on functions are fewer, and each has an instance to itself: one tells as much as three on a server."""


def with_warm_run(times: Times, elapsed_s: float, now_s: float, *, learn_baseline: bool) -> Times:
    """A route's function times after one more warm run; with a suspicion about the store, the baseline rests."""
    count = FUNCTION_SAMPLE_WEIGHT
    return with_samples(times, count, count * elapsed_s, count * elapsed_s**2, now_s, learn_baseline=learn_baseline)


def guess_function_s(service_s: float, cpu_s: float, *, stretch: float, overhead_s: float) -> float:
    """A warm run of a route never seen on a function, from its time on a server.

    Computing takes `stretch` times as long there (`cpu_stretch`), waiting as long as anywhere.
    """
    computing_s = min(cpu_s, service_s)
    return computing_s * stretch + (service_s - computing_s) + overhead_s


def cpu_stretch(memory_mb: int) -> float:
    """How much longer a function of this size computes: 1,769 / memory_mb; one request uses one vCPU at the most."""
    return max(1.0, MEMORY_MB_PER_VCPU / memory_mb)


def expected_wait_s(queued_ahead: int, hold_s: float, in_flight: int) -> float:
    """Until it is the turn of the one behind `queued_ahead` others: one in flight ends every hold_s / in_flight.

    Those in flight, not the slots: where the loop is the bottleneck, slots stand empty while requests wait.
    """
    return (queued_ahead + 1) * hold_s / max(1, in_flight)


CPU_STEP = 0.2


def attribute_cpu(costs_s: Mapping[str, float], counts: Mapping[str, float], used_s: float) -> dict[str, float]:
    """CPU seconds a request of each route takes, after a window in which `counts` requests used `used_s` in all.

    Nobody can see what one request among many computes, threads included; but each window is one linear equation,
    sum(count * cost) = used, and normalised least mean squares (Widrow and Hoff) follows it from window to window:
    cost += step * count * error / sum(count^2).
    """
    error_s = used_s - sum(count * costs_s.get(key, 0.0) for key, count in counts.items())
    norm = sum(count * count for count in counts.values())
    if not norm:
        return {}
    return {key: max(0.0, costs_s.get(key, 0.0) + CPU_STEP * count * error_s / norm) for key, count in counts.items()}


AGE_SIGMAS = 1.5
"""Deviations for times that hardly vary, and twice as many for exponential ones: with fewer, looking at each beat and
at each request in line finds one by chance all the time, and at each sixth look spills would be held back."""


def mean_age_max_s(times: Times, running: int) -> float:
    """The mean age of requests in flight that is still ordinary, where `running` of them are.

    In a steady stream it is E[S^2] / 2 E[S] (inspection paradox); all begun at once, it grows to E[S]. The last factor
    leaves room for chance: exponential ages deviate by their mean, the mean of n of them by that over sqrt(n).
    """
    mean_s = times.baseline_s
    steady_s = (mean_s**2 + times.spread_s**2) / (2 * mean_s) if mean_s else 0.0
    varies = min(1.0, times.spread_s / mean_s) if mean_s else 0.0
    return max(mean_s, steady_s) * (1 + AGE_SIGMAS * (1 + varies) / math.sqrt(max(1, running)))
