"""The first flash crowd: a real jump of traffic against one app on servers, on functions, and on both."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter

from benchmarks.flash_crowd.case import BY_NAME, CASES, Case
from benchmarks.flash_crowd.figures import by_second, figures, is_void, percentile_ms, results
from benchmarks.flash_crowd.measure import Seen, measure
from benchmarks.result import Result
from peaker.traffic.tally import Outcome

RUNS_MAX = 3


def run(options: list[str]) -> list[Result]:
    """Each chosen case once, again where the generator lagged, at most three times."""
    parser = argparse.ArgumentParser(prog="flash_crowd", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(BY_NAME)}; all when left out")
    parser.add_argument("--seconds", action="store_true", help="show every second")
    chosen = parser.parse_args(options)
    if unknown := set(chosen.case) - set(BY_NAME):
        parser.error(f"no case is called {', '.join(sorted(unknown))}; there are {', '.join(BY_NAME)}")
    rows: list[Result] = []
    for case in [BY_NAME[name] for name in chosen.case] or CASES:
        seen = _until_not_void(case)
        if chosen.seconds:
            _show_seconds(case, seen)
        rows += results(case, seen)
    return rows


def _until_not_void(case: Case) -> Seen:
    for attempt in range(1, RUNS_MAX + 1):
        seen = asyncio.run(measure(case))
        found = figures(case, seen)
        print(
            f"{case.name}, run {attempt}: p95 {found.p95_ms:.0f} ms, first second {found.first_second_p95_ms:.0f} ms, "
            f"worst {found.worst_second_p95_ms:.0f} ms, {found.failed} of {found.requests} failed, {found.shares}, "
            f"lag {found.lag_ms:.1f} ms{', void' if is_void(seen) else ''}",
            file=sys.stderr,
            flush=True,
        )
        if not is_void(seen):
            break
    return seen


def _show_seconds(case: Case, seen: Seen) -> None:
    for second, samples in by_second(seen.samples).items():
        spilled = sum(sample.placement == "function" for sample in samples)
        failed = Counter(str(sample.outcome) for sample in samples if sample.outcome is not Outcome.ANSWERED)
        mark = " <- event" if second == case.event_at_s else ""
        print(
            f"  {second:3} s  {len(samples):4} requests, {spilled:4} on functions, "
            f"p50 {percentile_ms(samples, 0.5):6.0f}, p95 {percentile_ms(samples, 0.95):6.0f}, "
            f"max {percentile_ms(samples, 1.0):6.0f} ms{mark} {dict(failed) or ''}",
            file=sys.stderr,
        )
