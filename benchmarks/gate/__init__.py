"""What the gate costs on the baseline path; see README.md."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gate.apps import paths
from benchmarks.result import Result, at_least, at_most

VARIANTS = ("plain", "gate", "again")
"""`again` is a second server without the gate: what differs between the two is noise."""

BARS = {"starlette": 0.94, "fastapi": 0.96}
CPU_US_MAX = 4.0
P99_MAX = 1.15
OPEN_SHARE = 0.3
"""Fixed arrival rate, as a share of what the server without the gate carries."""

RESTART = 3
ROUNDS_AT_MOST = 4
"""Times the rounds asked for; with more voided than that, the machine is too busy."""

ROUNDS_AT_LEAST = 9
SLOWED_MAX = 1.15
LATE_US_MAX = 10_000
WARM_UP_S = 0.5

NOISE_MAX = {"throughput": 0.03, "p99": 0.10}
"""Where plain against plain is further from 1 than this, nothing is proved."""


class Server:
    """One server process, on its core."""

    def __init__(self, app: str, kind: str, core: int) -> None:
        command = [sys.executable, "-m", "benchmarks.gate.server", app, kind, str(core)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{app} with {kind} did not start: exit {self._process.wait()}")
        self.port = int(line)

    def cpu_s(self) -> float:
        """CPU time of its one thread so far, to the nanosecond (proc(5), /proc/PID/schedstat)."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1e9

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


class Generator:
    """The load generator's process, on the other core."""

    def __init__(self, core: int) -> None:
        command = [sys.executable, "-m", "benchmarks.gate.load", str(core)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"connections": 32, "paths": paths(), **command}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def running(app: str) -> Iterator[tuple[dict[str, Server], Generator]]:
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        servers = {}
        for kind in VARIANTS:
            servers[kind] = Server(app, "gate" if kind == "gate" else "plain", cores[0])
            stack.callback(servers[kind].stop)
        generator = Generator(cores[-1])
        stack.callback(generator.stop)
        yield servers, generator


def turns(rounds: int) -> Iterator[Sequence[str]]:
    """The order within each round, so that each variant is first, second and last equally often."""
    for number in range(rounds):
        shift = number % len(VARIANTS)
        yield VARIANTS[shift:] + VARIANTS[:shift]


Found = dict[str, list[dict[str, float]]]
"""Figures of each variant, round by round."""

Measure = Callable[[Generator, Server, int], dict[str, float]]


def compare(app: str, rounds: int, measure: Measure, is_calm: Callable[[Found], list[bool]]) -> Found:
    """Every variant in every round, until there are enough calm rounds; only those are returned.

    Fresh servers every RESTART rounds: where a process happens to lie in memory decides about a microsecond a request,
    for as long as it lives.
    """
    found: Found = {kind: [] for kind in VARIANTS}
    for first in range(0, ROUNDS_AT_MOST * rounds, RESTART):
        with running(app) as (servers, generator):
            for kind in VARIANTS:
                generator.run(port=servers[kind].port, loop="closed", seconds=WARM_UP_S)
            for number, order in enumerate(turns(RESTART), first):
                for kind in order:
                    found[kind].append(measure(generator, servers[kind], number))
        if sum(is_calm(found)) >= rounds:
            break
    calm = is_calm(found)
    return {kind: [row for row, keep in zip(rows, calm, strict=True) if keep] for kind, rows in found.items()}


def by_plain_cpu(found: Found) -> list[bool]:
    """A round is calm when neither server without the gate was slowed by other work; the gate's own is not asked."""
    without = [*found["plain"], *found["again"]]
    limit_us = SLOWED_MAX * min(row["cpu_us"] for row in without)
    return [
        max(one["cpu_us"], two["cpu_us"]) <= limit_us for one, two in zip(found["plain"], found["again"], strict=True)
    ]


def by_generator(found: Found) -> list[bool]:
    """A round is calm when the generator kept its times in each of its runs."""
    return [all(row["late_us"] <= LATE_US_MAX for row in rows) for rows in zip(*found.values(), strict=True)]


def saturate(app: str, rounds: int, seconds: float) -> Found:
    """Requests a second and CPU a request."""

    def measure(generator: Generator, server: Server, _: int) -> dict[str, float]:
        before_s = server.cpu_s()
        answer = generator.run(port=server.port, loop="closed", seconds=seconds)
        used_s = server.cpu_s() - before_s
        return {
            "per_second": answer["done"] / answer["seconds"],
            "per_core_second": answer["done"] / used_s,
            "cpu_us": used_s / answer["done"] * 1e6,
        }

    return compare(app, rounds, measure, by_plain_cpu)


def at_fixed_rate(app: str, rounds: int, seconds: float, per_second: float) -> Found:
    """Percentiles of latency at this rate; the same arrivals for each variant of a round."""

    def measure(generator: Generator, server: Server, number: int) -> dict[str, float]:
        return generator.run(port=server.port, loop="open", seconds=seconds, per_second=per_second, seed=number)

    return compare(app, rounds, measure, by_generator)


def ratios(found: Found, kind: str, figure: str) -> list[float]:
    pairs = zip(found[kind], found["plain"], strict=True)
    return [one[figure] / other[figure] for one, other in pairs]


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"quartiles {low:.3f} to {high:.3f}"


def proved(result: Result, again: list[float], limit: float) -> Result:
    """The result, or one that proves nothing: too few calm rounds, or two equal servers that differ too much."""
    low, middle, high = statistics.quantiles(again, n=4)
    if len(again) >= ROUNDS_AT_LEAST and abs(middle - 1) <= limit and high - low <= 4 * limit:
        return result
    return Result(result.name, result.value, result.unit, result.bar, None, f"{result.detail}; too noisy")


def of_saturation(app: str, found: Found) -> list[Result]:
    """Ratio of throughput, and CPU a request; nothing where the machine was never calm.

    Throughput is requests for each second of the core that the server had: on a machine with other work, time is taken
    from one and the other by chance, but what a request needs stays nearly the same.
    """
    if len(found["plain"]) < 2:
        return [Result(f"{app}: throughput with the gate / without", None, "", detail="the machine was never calm")]
    gate, again = ratios(found, "gate", "per_core_second"), ratios(found, "again", "per_core_second")
    noise = statistics.median(again)
    plain = statistics.median(row["per_second"] for row in found["plain"])
    detail = (
        f"{len(gate)} calm rounds; plain {plain:,.0f} req/s by the clock; {spread(gate)}; "
        f"plain against plain {noise:.3f}, {spread(again)}"
    )
    name, value = f"{app}: throughput with the gate / without", statistics.median(gate)
    ratio = at_least(name, value, BARS[app], "", detail) if app in BARS else Result(name, value, "", detail=detail)
    added = [
        one["cpu_us"] - (two["cpu_us"] + three["cpu_us"]) / 2
        for one, two, three in zip(found["gate"], found["plain"], found["again"], strict=True)
    ]
    base = statistics.median(row["cpu_us"] for row in found["plain"])
    detail = f"plain {base:.1f} us; {spread(added)}"
    name, value = f"{app}: CPU added to a request", statistics.median(added)
    cpu = at_most(name, value, CPU_US_MAX, "us", detail) if app == "raw" else Result(name, value, "us", detail=detail)
    return [proved(result, again, NOISE_MAX["throughput"]) for result in (ratio, cpu)]


def of_fixed_rate(app: str, per_second: float, found: Found) -> Result:
    if len(found["plain"]) < 2:
        return Result(f"{app}: p99 with the gate / without", None, "", detail="the machine was never calm")
    gate, again = ratios(found, "gate", "p99_us"), ratios(found, "again", "p99_us")
    plain = statistics.median(row["p99_us"] for row in found["plain"])
    late_us = statistics.median(row["late_us"] for rows in found.values() for row in rows)
    detail = (
        f"{len(gate)} calm rounds; at {per_second:,.0f} req/s; plain {plain:.0f} us; {spread(gate)}; "
        f"plain against plain {statistics.median(again):.3f}, {spread(again)}; "
        f"generator late by {late_us:.0f} us at the most, as a median"
    )
    result = at_most(f"{app}: p99 with the gate / without", statistics.median(gate), P99_MAX, "", detail)
    return proved(result, again, NOISE_MAX["p99"])


def run(arguments: list[str]) -> list[Result]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate --")
    parser.add_argument("--rounds", type=int, default=21, help="of each comparison; a multiple of three is fair")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--apps", default="raw,starlette,fastapi")
    chosen = parser.parse_args(arguments)
    if len(os.sched_getaffinity(0)) < 2:
        return [Result("gate", None, "", "two cores", None, "server and generator need a core each")]
    results: list[Result] = []
    for app in chosen.apps.split(","):
        found = saturate(app, chosen.rounds, chosen.seconds)
        results += of_saturation(app, found)
        if app == "starlette" and found["plain"]:
            per_second = OPEN_SHARE * statistics.median(row["per_second"] for row in found["plain"])
            fixed = at_fixed_rate(app, chosen.rounds, 2 * chosen.seconds, per_second)
            results.append(of_fixed_rate(app, per_second, fixed))
    return results
