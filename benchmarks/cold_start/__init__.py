"""From no instance to the first response, beside a fresh process and beside what a fork costs at the least."""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cold_start.client import Caller, event
from benchmarks.result import Result, at_least, at_most
from peaker.settings import AppSection, FunctionsSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost

HERE = Path(__file__).parent
FUNCTION = "bench-web"
TITLE = event("/titles/7")
WARM_UP = "/titles/1"
BURST = 100
SETTLE_S = 0.02
SPREAD_MAX = 0.5
"""Largest less smallest of the rounds' medians, as a share of their median; above it nothing is proved."""

Rounds = dict[str, list[list[float]]]


def settings(warm_up: str = WARM_UP, **functions: Any) -> Settings:
    return Settings(
        app=AppSection(name="bench", web="app:app", spill=True, warm_up=warm_up),
        servers=ServersSection(drain_s_max=2.0),
        functions=FunctionsSection(**{"memory_mb": 512, "concurrency_max": 200, **functions}),
        directory=str(HERE),
    )


def fresh_process_s() -> float:
    """From nothing to the first HTTP answer of uvicorn, on a socket that is there already."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun_s = time.perf_counter()
        command = [sys.executable, "-m", "uvicorn", "app:app", "--fd", str(listener.fileno()), "--log-level", "error"]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()], cwd=HERE)
        try:
            with closing(http.client.HTTPConnection(*listener.getsockname(), timeout=60)) as connection:
                connection.request("GET", "/titles/7")
                answer = connection.getresponse()
                check_title({"statusCode": answer.status, "body": answer.read()})
                return time.perf_counter() - begun_s
        finally:
            process.kill()
            process.wait()


def check_title(result: dict[str, Any]) -> None:
    assert result["statusCode"] == 200, result
    assert json.loads(result["body"])["id"] == 7, result


@contextmanager
def forker(*arguments: str) -> Iterator[Callable[[], float]]:
    """A process that forks and answers; gives what times one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(60)
    command = [sys.executable, str(HERE / "forker.py"), str(theirs.fileno()), *arguments]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=HERE)
    theirs.close()
    assert ours.recv(1) == b"r"

    def one() -> float:
        time.sleep(SETTLE_S)
        begun_s = time.perf_counter()
        ours.send(b"f")
        assert ours.recv(1) == b"a"
        return time.perf_counter() - begun_s

    try:
        yield one
    finally:
        ours.close()
        process.wait(10)


def settled(host: RunningHost, *, spares: int) -> None:
    """Nothing but spares is left, and nothing is under way."""
    deadline_s = time.monotonic() + 30
    while True:
        function = host.function(FUNCTION)
        counts: dict[str, int] = function["instances"]
        is_quiet = not counts["starting"] + counts["ending"] and function["parked_pid"]
        if (counts["idle"], counts["spares"]) == (spares, spares) and is_quiet:
            time.sleep(SETTLE_S)
            return
        assert time.monotonic() < deadline_s, counts
        time.sleep(0.005)


def first_answer_s(host: RunningHost, caller: Caller, *, spares: int) -> float:
    settled(host, spares=spares)
    took_s, result = caller.timed(TITLE)
    check_title(result)
    assert result["peaker"]["cold"] is (spares == 0), result["peaker"]
    return took_s


def forked_answer_s(host: RunningHost, caller: Caller) -> float:
    """As the second of two requests that come together: nothing is parked, so the fork is in the way."""
    settled(host, spares=0)
    os.kill(host.function(FUNCTION)["parked_pid"], signal.SIGKILL)
    while host.function(FUNCTION)["parked_pid"]:
        time.sleep(0.001)
    time.sleep(SETTLE_S)
    took_s, result = caller.timed(TITLE)
    check_title(result)
    assert result["peaker"]["cold"], result["peaker"]
    return took_s


def warm_s(caller: Caller) -> float:
    took_s, result = caller.timed(TITLE)
    check_title(result)
    return took_s


def measure_starts(rounds: int, samples: int) -> Rounds:
    """All kinds in turn, round by round, so that a slow phase of the machine meets all of them."""
    found: Rounds = {}
    with ExitStack() as stack:
        bare = stack.enter_context(forker())
        image = stack.enter_context(forker("app", WARM_UP))
        cold_host = stack.enter_context(RunningHost(settings(keep_alive_s=0.02)))
        touched_host = stack.enter_context(RunningHost(settings(keep_alive_s=0.02, buffer=1)))
        spare_host = stack.enter_context(RunningHost(settings("", keep_alive_s=0.02, buffer=1)))
        warm_host = stack.enter_context(RunningHost(settings()))
        cold, touched, spare, warm = (
            stack.enter_context(closing(Caller(host.state.invoke_socket, FUNCTION)))
            for host in (cold_host, touched_host, spare_host, warm_host)
        )
        kinds: dict[str, tuple[Callable[[], float], int]] = {
            "fresh process": (fresh_process_s, 1),
            "bare fork": (bare, samples),
            "fork of the image": (image, samples),
            "cold": (lambda: first_answer_s(cold_host, cold, spares=0), samples),
            "cold, none parked": (lambda: forked_answer_s(cold_host, cold), samples),
            "spare": (lambda: first_answer_s(spare_host, spare, spares=1), samples),
            "spare, touched": (lambda: first_answer_s(touched_host, touched, spares=1), samples),
            "warm": (lambda: warm_s(warm), samples * 10),
        }
        for one, _ in kinds.values():
            one()
        for _ in range(rounds):
            for kind, (one, count) in kinds.items():
                found.setdefault(kind, []).append([one() for _ in range(count)])
    return found


def measure_burst(repeats: int) -> tuple[list[float], float, float]:
    """Seconds from nothing to a hundred that all answered, MB of each in proportion, MB of the parked copy."""
    seconds = []
    with RunningHost(settings(keep_alive_s=1.0)) as host, tempfile.TemporaryDirectory() as folder:
        barrier = Path(folder) / "barrier.sock"
        settled(host, spares=0)
        parked_mb = memory_mb(host.function(FUNCTION)["parked_pid"], "Private_Dirty:")
        alone_mb = ahead_mb(host)
        for _ in range(repeats):
            settled(host, spares=0)
            seconds.append(together(host, barrier, "together")[0])
        _, pids = together(host, barrier, "collect")
        all_mb = ahead_mb(host) + sum(memory_mb(pid, "Pss:") for pid in pids)
    return seconds, (all_mb - alone_mb) / BURST, parked_mb


def ahead_mb(host: RunningHost) -> float:
    """What is there without an instance: the zygote and the parked copy."""
    function = host.function(FUNCTION)
    return sum(memory_mb(function[pid], "Pss:") for pid in ("zygote_pid", "parked_pid") if function[pid])


def together(host: RunningHost, barrier: Path, route: str) -> tuple[float, list[int]]:
    """BURST calls at once; none is answered before as many instances run at the same time."""
    payload = event(f"/{route}{barrier}")
    callers = [Caller(host.state.invoke_socket, FUNCTION) for _ in range(BURST)]
    barrier.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(barrier))
        listener.listen(BURST)
        listener.settimeout(60)
        begun_s = time.perf_counter()
        for caller in callers:
            caller.send(payload)
        arrived = [listener.accept()[0] for _ in range(BURST)]
        for connection in arrived:
            connection.sendall(b"g")
        results = [json.loads(caller.receive()) for caller in callers]
        took_s = time.perf_counter() - begun_s
    for each in (*arrived, *callers):
        each.close()
    pids = [int(json.loads(result["body"])["pid"]) for result in results]
    assert len(set(pids)) == BURST, f"{len(set(pids))} instances answered"
    return took_s, pids


def memory_mb(pid: int, kind: str) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(kind)) / 1024


def percentile(values: Sequence[float], fraction: float) -> float:
    return sorted(values)[min(len(values) - 1, int(fraction * len(values)))]


def figures(found: Rounds) -> dict[str, Result]:
    """Median and p95 of all samples, and how far the rounds' medians lie apart."""
    shown = {}
    for kind, by_round in found.items():
        medians = [statistics.median(samples) * 1000 for samples in by_round]
        every = [value * 1000 for samples in by_round for value in samples]
        detail = f"p95 {percentile(every, 0.95):.2f}; rounds {min(medians):.2f} to {max(medians):.2f}"
        shown[kind] = Result(f"{kind}, p50", statistics.median(medians), "ms", detail=detail)
    return shown


def ratio(found: Rounds, above: str, below: str, bar: Callable[..., Result], limit: float) -> Result:
    """Of the medians, round by round. Rounds that lie far apart and on both sides of the bar prove nothing."""
    name = f"{above} over {below}"
    ratios = [
        statistics.median(up) / statistics.median(down) for up, down in zip(found[above], found[below], strict=True)
    ]
    middle = statistics.median(ratios)
    result = bar(name, middle, limit, "times", f"rounds {min(ratios):.2f} to {max(ratios):.2f}")
    verdicts = {bar(name, each, limit, "times").holds for each in ratios}
    is_wide = (max(ratios) - min(ratios)) / middle > SPREAD_MAX
    return dataclasses.replace(result, holds=None) if is_wide and len(verdicts) > 1 else result


def run(options: list[str]) -> list[Result]:
    parser = argparse.ArgumentParser(prog="cold_start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--bursts", type=int, default=7)
    chosen = parser.parse_args(options)
    found = measure_starts(chosen.rounds, chosen.samples)
    seconds, instance_mb, parked_mb = measure_burst(chosen.bursts)
    burst = f"slowest {max(seconds):.3f}, quickest {min(seconds):.3f}, {os.cpu_count()} cores"
    return [
        *figures(found).values(),
        ratio(found, "fresh process", "cold", at_least, 100),
        ratio(found, "fresh process", "cold, none parked", at_least, 100),
        ratio(found, "cold", "fork of the image", at_most, 4),
        ratio(found, "cold", "bare fork", at_most, 15),
        ratio(found, "spare", "fork of the image", at_most, 1.6),
        ratio(found, "spare, touched", "fork of the image", at_most, 1.3),
        ratio(found, "spare, touched", "bare fork", at_most, 3),
        at_most(f"0 to {BURST} instances, all answering", statistics.median(seconds), 0.6, "s", burst),
        at_most("proportional memory of an instance", instance_mb, 6, "MB", f"of {BURST}, after a collection in each"),
        Result("memory of the parked copy", parked_mb, "MB", detail="its own pages"),
    ]
