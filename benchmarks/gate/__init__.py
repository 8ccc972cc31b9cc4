"""What the gate costs on the baseline path; see README.md."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gate.apps import paths
from benchmarks.result import Result, at_least, at_most

VARIANTS = ("plain", "gate", "again")
"""`again` is a second server without the gate: what differs between the two is noise."""

BARS = {"starlette": 0.94, "fastapi": 0.96}
CPU_US_MAX = 4.0
P99_MAX = 1.15
OPEN_SHARE = 0.5
"""Fixed arrival rate, as a share of what the server without the gate carries."""

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
    servers = {kind: Server(app, "gate" if kind == "gate" else "plain", cores[0]) for kind in VARIANTS}
    generator = Generator(cores[-1])
    try:
        yield servers, generator
    finally:
        for process in (*servers.values(), generator):
            process.stop()


def turns(rounds: int) -> Iterator[Sequence[str]]:
    """The order within each round, so that each variant is first, second and last equally often."""
    for number in range(rounds):
        shift = number % len(VARIANTS)
        yield VARIANTS[shift:] + VARIANTS[:shift]


def saturate(app: str, rounds: int, seconds: float) -> dict[str, list[dict[str, float]]]:
    """Requests a second and CPU a request of each variant, round by round."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in VARIANTS}
    with running(app) as (servers, generator):
        for kind in VARIANTS:
            generator.run(port=servers[kind].port, loop="closed", seconds=1.0)  # warm-up
        for order in turns(rounds):
            for kind in order:
                before_s = servers[kind].cpu_s()
                answer = generator.run(port=servers[kind].port, loop="closed", seconds=seconds)
                cpu_us = (servers[kind].cpu_s() - before_s) / answer["done"] * 1e6
                found[kind].append({"per_second": answer["done"] / answer["seconds"], "cpu_us": cpu_us})
    return found


def at_fixed_rate(app: str, rounds: int, seconds: float, per_second: float) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in VARIANTS}
    with running(app) as (servers, generator):
        for kind in VARIANTS:
            generator.run(port=servers[kind].port, loop="closed", seconds=1.0)
        for seed, order in enumerate(turns(rounds)):
            for kind in order:
                found[kind].append(
                    generator.run(
                        port=servers[kind].port, loop="open", seconds=seconds, per_second=per_second, seed=seed
                    )
                )
    return found


def ratios(found: dict[str, list[dict[str, float]]], kind: str, figure: str) -> list[float]:
    pairs = zip(found[kind], found["plain"], strict=True)
    return [one[figure] / other[figure] for one, other in pairs]


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"quartiles {low:.3f} to {high:.3f}"


def proved(result: Result, noise: float, limit: float) -> Result:
    """The result, or one that proves nothing where two equal servers differ too much."""
    if abs(noise - 1) <= limit:
        return result
    return Result(result.name, result.value, result.unit, result.bar, None, f"{result.detail}; too noisy")


def of_saturation(app: str, found: dict[str, list[dict[str, float]]]) -> list[Result]:
    gate, again = ratios(found, "gate", "per_second"), ratios(found, "again", "per_second")
    noise = statistics.median(again)
    plain = statistics.median(row["per_second"] for row in found["plain"])
    detail = f"plain {plain:,.0f} req/s; {spread(gate)}; plain against plain {noise:.3f}, {spread(again)}"
    name, value = f"{app}: throughput with the gate / without", statistics.median(gate)
    ratio = at_least(name, value, BARS[app], "", detail) if app in BARS else Result(name, value, "", detail=detail)
    results = [proved(ratio, noise, NOISE_MAX["throughput"])]
    added = [
        one["cpu_us"] - (two["cpu_us"] + three["cpu_us"]) / 2
        for one, two, three in zip(found["gate"], found["plain"], found["again"], strict=True)
    ]
    base = statistics.median(row["cpu_us"] for row in found["plain"])
    differs = statistics.median(
        one["cpu_us"] - two["cpu_us"] for one, two in zip(found["again"], found["plain"], strict=True)
    )
    detail = f"plain {base:.1f} us; {spread(added)}; plain less plain {differs:+.2f} us"
    name, value = f"{app}: CPU added to a request", statistics.median(added)
    if app == "raw":
        cpu = at_most(name, value, CPU_US_MAX, "us", detail)
        results.append(proved(cpu, 1 + differs / base, NOISE_MAX["throughput"]))
    else:
        results.append(Result(name, value, "us", detail=detail))
    return results


def of_fixed_rate(app: str, per_second: float, found: dict[str, list[dict[str, float]]]) -> Result:
    gate, again = ratios(found, "gate", "p99_us"), ratios(found, "again", "p99_us")
    noise = statistics.median(again)
    plain = statistics.median(row["p99_us"] for row in found["plain"])
    late_us = max(row["late_us"] for rows in found.values() for row in rows)
    detail = (
        f"at {per_second:,.0f} req/s; plain {plain:.0f} us; {spread(gate)}; plain against plain {noise:.3f}, "
        f"{spread(again)}; generator at most {late_us:.0f} us late"
    )
    result = at_most(f"{app}: p99 with the gate / without", statistics.median(gate), P99_MAX, "", detail)
    return proved(result, noise, NOISE_MAX["p99"])


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
        if app == "starlette":
            per_second = OPEN_SHARE * statistics.median(row["per_second"] for row in found["plain"])
            fixed = at_fixed_rate(app, chosen.rounds, 2 * chosen.seconds, per_second)
            results.append(of_fixed_rate(app, per_second, fixed))
    return results
