"""Signed Invoke over TLS: what a call costs the worker's core, and what a ramp adds, beside boto3 and aiobotocore."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme

from benchmarks.result import Result, at_least, at_most

HERE = Path(__file__).parent
PEERS = ("boto3", "aiobotocore")
TIMES_BOTO3_MIN = 5.0
RAMP_P99_MS_MAX = 50.0
PINNED = ("taskset", "--cpu-list")


def run(options: list[str]) -> list[Result]:
    """Rounds in turn, so that a slow phase of the machine meets all alike; medians."""
    parser = argparse.ArgumentParser(prog="spill_client_tls")
    parser.add_argument("--peers", type=Path, help="folder made by peers.sh; without it nothing is compared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=8000, help="of Peaker's a round; the others make an eighth")
    chosen = parser.parse_args(options)
    peers = PEERS if chosen.peers is not None else ()
    cores = sorted(os.sched_getaffinity(0))
    calls: dict[str, list[dict[str, float]]] = {name: [] for name in ("peaker", *peers)}
    ramps: dict[str, list[dict[str, float]]] = {name: [] for name in ("peaker", "peaker, none warm", *peers)}
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder), str(cores[0])) as server:
        pinned = _Client(server, chosen.peers, str(cores[-1]))
        for _ in range(chosen.rounds):
            for name, found in calls.items():
                count = chosen.calls if name == "peaker" else chosen.calls // 8
                found.append(pinned.run("calls", name, count))
            for name, found in ramps.items():
                found.append(pinned.run("ramp", name, 0))
    return [*_throughput(calls), *_ramps(ramps)]


class _Server:
    """The endpoint's process, its port and authority."""

    def __init__(self, process: subprocess.Popen[str], authority: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self.port = int(self._out.readline())
        self.authority = authority

    def cpu_s(self) -> float:
        """So far."""
        self._in.write("\n")
        self._in.flush()
        return float(self._out.readline())


@contextlib.contextmanager
def _serving(folder: Path, core: str) -> Iterator[_Server]:
    made = trustme.CA()
    authority, certificate = folder / "authority.pem", folder / "certificate.pem"
    made.cert_pem.write_to_path(str(authority))
    made.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    command = [*PINNED, core, sys.executable, str(HERE / "server.py"), str(certificate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield _Server(process, authority)
    finally:
        process.kill()
        process.communicate()


class _Client:
    """Runs client.py on a core of its own."""

    def __init__(self, server: _Server, peers: Path | None, core: str) -> None:
        self._server = server
        self._peers = peers
        self._core = core
        self._environment = {**os.environ, "AWS_CA_BUNDLE": str(server.authority)}

    def run(self, kind: str, name: str, count: int) -> dict[str, float]:
        python = f"{self._peers}/bin/python" if name in PEERS else sys.executable
        command = [*PINNED, self._core, python, str(HERE / "client.py"), kind, name]
        before_s = self._server.cpu_s()
        done = subprocess.run(
            [*command, f"https://localhost:{self._server.port}", str(count)],
            stdout=subprocess.PIPE,
            env=self._environment,
            check=True,
            timeout=300,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        if count:
            found["server_us"] = (self._server.cpu_s() - before_s) / count * 1e6
        return found


def _median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in rounds)


def _throughput(calls: dict[str, list[dict[str, float]]]) -> list[Result]:
    a_core = {name: 1e6 / _median(rounds, "cpu_us") for name, rounds in calls.items()}
    results = [
        Result(
            f"calls a second of one core, {name}",
            round(a_core[name]),
            "1/s",
            detail=(
                f"{_median(rounds, 'cpu_us'):.0f} us of CPU ({min(each['cpu_us'] for each in rounds):.0f} to "
                f"{max(each['cpu_us'] for each in rounds):.0f}); {1e6 / _median(rounds, 'wall_us'):,.0f}/s by the "
                f"clock; the endpoint used {_median(rounds, 'server_us'):.0f} us a call"
            ),
        )
        for name, rounds in calls.items()
    ]
    for peer in PEERS:
        times = round(a_core["peaker"] / a_core[peer], 1) if peer in a_core else None
        name = f"times the throughput of {peer} on a core"
        results.append(at_least(name, times, TIMES_BOTO3_MIN, "") if peer == "boto3" else Result(name, times, ""))
    return results


def _ramps(ramps: dict[str, list[dict[str, float]]]) -> list[Result]:
    results = []
    for name, rounds in ramps.items():
        p99 = round(_median(rounds, "p99_ms"), 1)
        worst = max(each["max_ms"] for each in rounds)
        detail = (
            f"p50 {_median(rounds, 'p50_ms'):.1f}, worst call of all rounds {worst:.0f}, "
            f"{min(each['in_flight'] for each in rounds):.0f} in flight at the end"
        )
        title = f"0 to 200 in flight in 1 s, added at p99, {name}"
        is_ours = name.startswith("peaker")
        results.append(
            at_most(title, p99, RAMP_P99_MS_MAX, "ms", detail) if is_ours else Result(title, p99, "ms", detail=detail)
        )
    return results
