"""Cold starts and idle memory of learned keep-alive, beside fixed ones and the hybrid histogram, group by group."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.keep_alive.hindsight import best_in_hindsight
from benchmarks.keep_alive.levels import Idle, idle_times
from benchmarks.keep_alive.paper import hybrid
from benchmarks.keep_alive.rules import Cost, fixed, fixed_of_equal_memory, learned, total
from benchmarks.keep_alive.traffic import Data, Traffic, sessions, thinned, timers, whole
from benchmarks.result import Result, at_least

FEWER_MIN = 0.30
FIXED_S = (10.0, 60.0, 300.0, 600.0, 1200.0, 3600.0)

TRAINING: dict[str, Callable[[Data], list[Traffic]]] = {
    "nasa, 12 functions": lambda data: thinned(data, "nasa_jul95_1s", 12, 3, seed=1),
    "timers of 1 min to 6 h": lambda data: timers(data, "timer", (60, 300, 600, 1800, 3600, 21_600), 20, 5, seed=3),
    "sessions": lambda data: sessions(data, "session", 20, 7, 4),
    "azure_llm": lambda data: whole(data, "azure_llm_2023_code_1s", 5),
}
TEST: dict[str, Callable[[Data], list[Traffic]]] = {
    "azure2019 cf75ee62": lambda data: whole(data, "azure2019_f_cf75ee62_1min", 11),
    "azure2019 b384e9ac": lambda data: whole(data, "azure2019_f_b384e9ac_1min", 12),
    "twitter, 12 functions": lambda data: thinned(data, "twitter_2021_08_1s", 12, 3, seed=13),
    "worldcup, 12 functions": lambda data: thinned(data, "worldcup98_1min", 12, 3, seed=14, skip_days=50),
    "clarknet, 12 functions": lambda data: thinned(data, "clarknet_1995_1h", 12, 3, seed=15),
    "elb, 12 functions": lambda data: thinned(data, "nab_elb_request_count_5min", 12, 6, seed=16),
    "timers of 2 min to 12 h": lambda data: timers(data, "cron", (120, 420, 900, 2700, 7200, 43_200), 20, 7, seed=17),
}


def _arguments(options: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks keep_alive --")
    parser.add_argument("--data", type=Path, help="folder with traces/ and functions/")
    parser.add_argument("--training", action="store_true", help="the traces the rule was tuned on, without the bar")
    return parser.parse_args(options)


def _line(name: str, cost: Cost) -> None:
    print(f"| {name} | {cost.cold_starts:,.0f} | {cost.idle_gb_s / 3600:,.1f} | {cost.starts_ahead:,.0f} |")


def _fewer(idles: Sequence[Idle], cost: Cost) -> tuple[float, float]:
    """Share of cold starts saved against the fixed keep-alive of the same idle memory, and that keep-alive."""
    keep_alive_s, equal = fixed_of_equal_memory(idles, cost.idle_gb_s)
    return 1 - cost.cold_starts / equal.cold_starts, keep_alive_s


def _group(name: str, idles: Sequence[Idle], *, has_bar: bool) -> Result:
    uses = sum(len(idle.level) for idle in idles)
    print(f"\n{name}: {uses:,} idle times\n\n| rule | cold starts | idle GB-h | started ahead |\n|---|---|---|---|")
    for keep_alive_s in FIXED_S:
        _line(f"fixed {keep_alive_s:g} s", total(fixed(idle, keep_alive_s) for idle in idles))
    paper, own = total(hybrid(idle) for idle in idles), total(learned(idle) for idle in idles)
    _line("hybrid histogram", paper)
    _line("Peaker", own)
    bound = best_in_hindsight(idles, own.idle_gb_s)
    _line("best keep-alive of each level in hindsight", bound)
    fewer, equal_s = _fewer(idles, own)
    of_bound, _ = _fewer(idles, bound)
    of_paper, paper_s = _fewer(idles, paper)
    detail = (
        f"as fixed {equal_s:,.0f} s in memory; hybrid histogram {of_paper:.1%} (as fixed {paper_s:,.0f} s); "
        f"bound without starting ahead {of_bound:.1%}"
    )
    if not has_bar:
        return Result(name, fewer * 100, "% fewer cold starts", detail=detail)
    return at_least(name, fewer * 100, FEWER_MIN * 100, "% fewer cold starts", detail)


def run(options: Sequence[str]) -> list[Result]:
    arguments = _arguments(options)
    if arguments.data is None:
        return [at_least("all groups together", None, FEWER_MIN * 100, "%", "no traces: name their folder by --data")]
    data = Data(arguments.data)
    groups = TRAINING if arguments.training else TEST
    results, everything = [], list[Idle]()
    for name, made in groups.items():
        idles = [idle_times(traffic) for traffic in made(data)]
        results.append(_group(name, idles, has_bar=not arguments.training))
        everything += idles
    results.append(_group("all groups together", everything, has_bar=not arguments.training))
    return results
