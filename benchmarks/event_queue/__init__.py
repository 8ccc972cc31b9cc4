"""Durable events: accepted, dispatched and finished, beside procrastinate with PostgreSQL and Celery with Redis."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.event_queue.peaker_events import peaker, queue_alone
from benchmarks.event_queue.peers import PEERS, AbsentError, Ask
from benchmarks.result import Result, at_least, at_most

PEAKER = "Peaker"
TIMES_MIN = 2.0
IDLE_START_MS_MAX = 5.0


def run(options: list[str]) -> list[Result]:
    """All that are there in turn, round by round; those that are not are named."""
    parser = argparse.ArgumentParser(prog="event_queue")
    parser.add_argument("--peers-dir", type=Path, help="where peers.sh has installed the others")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=2_000, help="of each round")
    parser.add_argument("--senders", type=int, default=32, help="each sends the next event when one is accepted")
    parser.add_argument("--handlers", type=int, default=8, help="how many run at once")
    parser.add_argument("--idle-events", type=int, default=40, help="of each round, one at a time")
    chosen = parser.parse_args(options)
    rates: defaultdict[str, list[float]] = defaultdict(list)
    starts: defaultdict[str, list[float]] = defaultdict(list)
    whole: defaultdict[str, list[float]] = defaultdict(list)
    absent: dict[str, str] = {}
    alone: list[tuple[float, float]] = []
    syncs: list[float] = []
    with ExitStack() as stack:
        asked: dict[str, Ask] = {PEAKER: stack.enter_context(peaker(chosen.handlers))}
        for name, start in PEERS.items():
            try:
                asked[name] = stack.enter_context(start(chosen.peers_dir, chosen.handlers))
            except AbsentError as error:
                absent[name] = str(error)
        for _ in range(chosen.rounds):
            syncs.append(sync_ms())
            alone.append(asyncio.run(queue_alone(chosen.events, chosen.senders, chosen.handlers)))
            for name, ask in asked.items():
                rates[name].append(chosen.events / ask("load", chosen.events, chosen.senders)["finish_s"])
            for name, ask in asked.items():
                told = ask("latency", chosen.idle_events)
                starts[name].append(statistics.median(told["accept_to_start_ms"]))
                whole[name].append(statistics.median(told["send_to_start_ms"]))
    return _figures(rates, starts, whole, absent) + _bars(rates, starts) + _around(alone, syncs)


def sync_ms(writes: int = 50) -> float:
    """What one write of 4 KB with fdatasync takes now, which bounds whoever syncs each event."""
    with TemporaryDirectory() as folder:
        descriptor = os.open(Path(folder) / "synced", os.O_CREAT | os.O_RDWR)
        taken = []
        for number in range(writes):
            begun_s = time.perf_counter()
            os.pwrite(descriptor, b"x" * 4096, number * 4096)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - begun_s)
        os.close(descriptor)
    return statistics.median(taken) * 1000


def _figures(
    rates: dict[str, list[float]], starts: dict[str, list[float]], whole: dict[str, list[float]], absent: dict[str, str]
) -> list[Result]:
    results = []
    for name in (PEAKER, *PEERS):
        if name in absent:
            results.append(Result(f"{name}, events", None, "/s", detail=absent[name]))
            continue
        rate = round(statistics.median(rates[name]))
        results.append(Result(f"{name}, events", rate, "/s", detail=_spread(rates[name])))
        start = round(statistics.median(starts[name]), 2)
        results.append(Result(f"{name}, accepted to started when idle, p50", start, "ms", detail=_spread(starts[name])))
        sent = round(statistics.median(whole[name]), 2)
        results.append(Result(f"{name}, sent to started when idle, p50", sent, "ms", detail=_spread(whole[name])))
    return results


def _bars(rates: dict[str, list[float]], starts: dict[str, list[float]]) -> list[Result]:
    """Ratios of the same round."""
    results = []
    for peer in PEERS:
        ratios = [ours / theirs for ours, theirs in zip(rates[PEAKER], rates[peer], strict=False)]
        value = round(statistics.median(ratios), 2) if ratios else None
        if peer == "procrastinate":
            results.append(at_least(f"events as a multiple of {peer}", value, TIMES_MIN, "times", _spread(ratios)))
        else:
            results.append(Result(f"events as a multiple of {peer}", value, "times", detail=_spread(ratios)))
    idle = round(statistics.median(starts[PEAKER]), 2)
    return [*results, at_most("accepted to started when idle, p50", idle, IDLE_START_MS_MAX, "ms")]


def _around(alone: Sequence[tuple[float, float]], syncs: Sequence[float]) -> list[Result]:
    events = [rate for rate, _ in alone]
    shared = statistics.median(per_commit for _, per_commit in alone)
    detail = f"{_spread(events)}; {shared:.1f} events a commit"
    return [
        Result("the queue alone, in one process", round(statistics.median(events)), "/s", detail=detail),
        Result("one write with fdatasync", round(statistics.median(syncs), 2), "ms", detail=_spread(syncs)),
    ]


def _spread(values: Sequence[float]) -> str:
    return f"rounds {min(values):.4g} to {max(values):.4g}" if values else ""
