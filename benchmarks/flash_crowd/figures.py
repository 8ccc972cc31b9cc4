"""Figures from what was seen: percentiles by second, with failed requests above every answer."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.flash_crowd.case import RECOVERY_S_MAX, SLOTS, SLOW_FOR_S, SLOW_NOTICE_S, SLOW_TRICKLE, WORKERS, Case
from benchmarks.flash_crowd.measure import Seen
from benchmarks.result import Result, at_most
from peaker.traffic.tally import LAG_S_MAX, Outcome, Sample

CLIENT_TIMEOUTS = (Outcome.TIMED_OUT, Outcome.NO_CONNECTION_FREE, Outcome.GENERATOR_FULL)
SERVER_ERRORS = (Outcome.REFUSED, Outcome.SERVER_ERROR)


def percentile_ms(samples: Sequence[Sample], fraction: float) -> float:
    """Nearest rank of the latency from when a request was due; infinite where the rank falls on a failed one."""
    latencies = sorted(
        (sample.done_s - sample.due_s) * 1000 if sample.outcome is Outcome.ANSWERED else math.inf for sample in samples
    )
    return latencies[max(1, math.ceil(fraction * len(latencies))) - 1]


def by_second(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    """Requests by the second in which they were due."""
    seconds: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        seconds[int(sample.due_s)].append(sample)
    return dict(sorted(seconds.items()))


def worst_lag_ms(samples: Sequence[Sample]) -> float:
    """How late the generator sent, p99 of the worst second."""
    lags = []
    for second in by_second(samples).values():
        ordered = sorted(sample.sent_s - sample.due_s for sample in second)
        lags.append(ordered[math.ceil(0.99 * len(ordered)) - 1] * 1000)
    return max(lags)


def is_void(seen: Seen) -> bool:
    """The generator lagged, so the run says nothing."""
    return worst_lag_ms(seen.samples) > LAG_S_MAX * 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One case's run from its event (jump or slowness) on; latencies in ms from when requests were due."""

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    first_second_p95_ms: float
    worst_second_p95_ms: float
    seconds_missed: int
    failed: int
    server_errors: int
    client_timeouts: int
    shares: dict[str, float]
    lag_ms: float


def figures(case: Case, seen: Seen) -> Figures:
    """What the clients saw from the event on."""
    samples = [sample for sample in seen.samples if sample.due_s >= case.event_at_s]
    outcomes = Counter(sample.outcome for sample in samples)
    seconds = [percentile_ms(second, 0.95) for second in by_second(samples).values()]
    ran = Counter(sample.placement for sample in samples if sample.outcome is Outcome.ANSWERED)
    return Figures(
        requests=len(samples),
        p50_ms=percentile_ms(samples, 0.50),
        p95_ms=percentile_ms(samples, 0.95),
        p99_ms=percentile_ms(samples, 0.99),
        first_second_p95_ms=seconds[0],
        worst_second_p95_ms=max(seconds),
        seconds_missed=sum(p95 > case.objective_p95_ms for p95 in seconds),
        failed=len(samples) - outcomes[Outcome.ANSWERED],
        server_errors=sum(outcomes[kind] for kind in SERVER_ERRORS),
        client_timeouts=sum(outcomes[kind] for kind in CLIENT_TIMEOUTS),
        shares={name: round(count / len(samples), 3) for name, count in sorted(ran.items())},
        lag_ms=worst_lag_ms(seen.samples),
    )


def results(case: Case, seen: Seen) -> list[Result]:
    """All figures of a case, with bars where it has some; a void run proves nothing."""
    found = figures(case, seen)
    detail = ", ".join(f"{share:.1%} {name}" for name, share in found.shares.items())
    name = case.name
    rows = [
        Result(f"{name}: p50", _finite(found.p50_ms), "ms", detail=case.about),
        Result(f"{name}: p95", _finite(found.p95_ms), "ms", detail=_or_failed(found.p95_ms, detail)),
        Result(f"{name}: p99", _finite(found.p99_ms), "ms"),
        Result(f"{name}: p95, the gate's own", seen.gate_p95_ms, "ms", detail="answered requests only"),
        Result(f"{name}: p95 of the first second", _finite(found.first_second_p95_ms), "ms"),
        Result(f"{name}: seconds that missed the objective", found.seconds_missed, "s"),
        Result(f"{name}: failed", found.failed, "requests", detail=f"of {found.requests:,}"),
        Result(f"{name}: cold starts", seen.cold_starts, ""),
        Result(f"{name}: instances at the most", seen.instances_max, ""),
        Result(f"{name}: generator lag, p99 of the worst second", round(found.lag_ms, 1), "ms"),
    ]
    if name == "hybrid":
        rows += _hybrid_bars(case, seen, found)
    if name == "servers":
        missed = found.p95_ms > case.objective_p95_ms
        rows.append(
            Result(
                f"{name}: p95 misses the objective, as it must for the comparison",
                _finite(found.p95_ms),
                "ms",
                f"> {case.objective_p95_ms:g}",
                missed,
                _or_failed(found.p95_ms, ""),
            )
        )
    if case.slow_store:
        rows += _slow_store_bars(case, seen)
    return [dataclasses.replace(row, holds=None) if row.bar and is_void(seen) else row for row in rows]


def _hybrid_bars(case: Case, seen: Seen, found: Figures) -> list[Result]:
    gone = seen.instances_gone_after_s
    return [
        Result(
            "hybrid: p95 of the worst second, the first of the jump included",
            _finite(found.worst_second_p95_ms),
            "ms",
            f"<= {case.objective_p95_ms:g}",
            found.worst_second_p95_ms <= case.objective_p95_ms,
            _or_failed(found.worst_second_p95_ms, ""),
        ),
        at_most("hybrid: 5xx", found.server_errors, 0, "requests"),
        at_most("hybrid: client time-outs", found.client_timeouts, 0, "requests"),
        at_most("hybrid: failed in any way", found.failed, 0, "requests"),
        Result(
            "hybrid: instances left after the crowd",
            0 if gone is not None else seen.instances_max,
            "",
            "0",
            gone is not None,
            "" if gone is None else f"the last was gone {gone:.1f} s after the last answer",
        ),
    ]


def _slow_store_bars(case: Case, seen: Seen) -> list[Result]:
    begin_s, end_s = case.event_at_s, case.event_at_s + SLOW_FOR_S
    noticed = [count for at_s, count in seen.store_concurrency if begin_s + SLOW_NOTICE_S < at_s <= end_s]
    before = [count for at_s, count in seen.store_concurrency if at_s <= begin_s]
    noticing = [count for at_s, count in seen.store_concurrency if begin_s < at_s <= begin_s + SLOW_NOTICE_S]
    late = [
        second
        for second, samples in by_second(seen.samples).items()
        if second >= end_s and percentile_ms(samples, 0.95) > case.objective_p95_ms
    ]
    return [
        at_most(
            "slow_store: queries at once in the slow store",
            max(noticed, default=None),
            WORKERS * SLOTS + SLOW_TRICKLE,
            "",
            f"{max(before, default=0)} before, {max(noticing, default=0)} in the {SLOW_NOTICE_S} s it takes to notice",
        ),
        at_most(
            "slow_store: seconds until the objective holds again",
            max(late) + 1 - end_s if late else 0,
            RECOVERY_S_MAX,
            "s",
        ),
        Result("slow_store: connections refused by the store", seen.store_refused, ""),
    ]


def _finite(value: float) -> float | None:
    return round(value, 1) if math.isfinite(value) else None


def _or_failed(value: float, detail: str) -> str:
    return detail if math.isfinite(value) else "; ".join(["more than 5 % failed", *([detail] if detail else [])])
