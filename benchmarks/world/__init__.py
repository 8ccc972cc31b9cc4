"""The world simulator: requests a second, the production gate in it, beside SimPy at a bare queue. See the README."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import Result, at_least
from peaker.plan.theory import mmc_wait_s
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, exponential_quantiles
from peaker.simulate.case import Case
from peaker.simulate.world import FUNCTION, Ran, run_world

REQUESTS_PER_S_MIN = 20_000
SERVICE_S = 0.1
SLOTS = 16
WAIT_MARGIN = 0.25
"""Of the mean wait at 85 % load: neighbours in a queue tell little more than one of them."""

WEB = Workload(service_quantiles_s=exponential_quantiles(SERVICE_S, 1025), cold_start_quantiles_s=(0.1, 0.15, 0.3))
ALONE = Rules(objective_s=100.0, queue_max=1_000_000, queue_wait_s_max=1000.0, spill=False)


@dataclass(frozen=True, slots=True)
class Load:
    """One case: servers of 16 slots in workers, requests as a share of what they carry."""

    name: str
    servers: int
    workers: int
    load: float
    rules: Rules = Rules(objective_s=0.5)


QUEUE = Load("servers alone, 16 slots, 85 % load", 1, 1, 0.85, ALONE)
LOADS = (
    QUEUE,
    Load("hybrid, 4 servers of 2 workers, 60 % load", 4, 2, 0.6),
    Load("hybrid, 4 servers of 2 workers, 110 % load", 4, 2, 1.1),
    Load("hybrid, 4 servers of 2 workers, 200 % load: every second one on a function", 4, 2, 2.0),
    Load("hybrid, 1 server of 2 workers, 20 % load: they beat more often than they are asked", 1, 2, 0.2),
)


def case_of(load: Load, requests: int) -> Case:
    """Requests at moments independent of each other, as a Poisson process has them."""
    rate = load.load * load.servers * SLOTS / SERVICE_S
    return Case(
        counts=(requests,),
        step_s=requests / rate,
        workload=WEB,
        pool=ServerPool(slots=SLOTS // load.workers, workers=load.workers),
        functions=FunctionPool(overhead_s=0.005),
        rules=load.rules,
        servers=load.servers,
        like="local",
    )


def _run(load: Load, requests: int, seed: int) -> tuple[float, Ran]:
    began_s = time.process_time()
    ran = run_world(case_of(load, requests), seed=seed)
    return requests / (time.process_time() - began_s), ran


def _simpy(python: str, requests: int, seed: int) -> dict[str, float] | None:
    """None where the interpreter has no simpy."""
    peer = Path(__file__).with_name("peer.py")
    rate = QUEUE.load * SLOTS / SERVICE_S
    arguments = map(str, (SLOTS, rate, SERVICE_S, requests, seed))
    done = subprocess.run([python, str(peer), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"SimPy did not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _shown(load: Load, speeds: list[float], ran: Ran) -> Result:
    spilled = ran.outcome.ends[FUNCTION] / len(ran.requests)
    detail = f"{spilled:.1%} spilled; rounds {min(speeds):,.0f} to {max(speeds):,.0f}"
    return at_least(load.name, statistics.median(speeds), REQUESTS_PER_S_MIN, "requests/s", detail)


def _peers(python: str, requests: int, rounds: int, ours: list[float], waits_s: list[float]) -> list[Result]:
    """The same queue in SimPy, and both beside Erlang's formula."""
    theirs = [_simpy(python, requests, seed) for seed in range(rounds)]
    expected_s = mmc_wait_s(SLOTS, QUEUE.load * SLOTS / SERVICE_S, SERVICE_S)
    low, high = ((1 + sign * WAIT_MARGIN) * expected_s * 1000 for sign in (-1, 1))
    bar = f"{low:.2f} to {high:.2f}"
    wait_ms = statistics.fmean(waits_s) * 1000
    results = [Result("mean wait in that queue, here", wait_ms, "ms", bar, low <= wait_ms <= high, "Erlang C")]
    found = [each for each in theirs if each is not None]
    if len(found) < rounds:
        return [*results, Result("SimPy, the same queue", None, "requests/s", detail="absent: --simpy-python")]
    speeds = [each["requests"] / each["took_s"] for each in found]
    ratios = [own / peer for own, peer in zip(ours, speeds, strict=True)]
    peer_wait_ms = statistics.fmean(each["wait_s"] for each in found) * 1000
    spread = f"rounds {min(speeds):,.0f} to {max(speeds):,.0f}"
    return [
        *results,
        Result("SimPy, the same queue", statistics.median(speeds), "requests/s", detail=spread),
        Result("mean wait in that queue, SimPy", peer_wait_ms, "ms", bar, low <= peer_wait_ms <= high, "Erlang C"),
        Result(
            "times SimPy, which has no gate in it",
            statistics.median(ratios),
            "times",
            detail=f"rounds {min(ratios):.2f} to {max(ratios):.2f}",
        ),
    ]


def run(arguments: list[str]) -> list[Result]:
    """See the README."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks world --")
    parser.add_argument("--simpy-python", default=sys.executable, help="an interpreter that has simpy")
    parser.add_argument("--requests", type=int, default=30_000, help="of one round of a case")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # One core, and SimPy inherits it.
    try:
        speeds: dict[str, list[float]] = {load.name: [] for load in LOADS}
        last: dict[str, Ran] = {}
        waits_s: list[float] = []
        for seed in range(options.rounds):
            for load in LOADS:
                speed, last[load.name] = _run(load, options.requests, seed)
                speeds[load.name].append(speed)
            queue = last[QUEUE.name].requests
            waits_s.append(statistics.fmean(one.latency_s for one in queue) - SERVICE_S)
        shown = [_shown(load, speeds[load.name], last[load.name]) for load in LOADS]
        peers = _peers(options.simpy_python, options.requests, options.rounds, speeds[QUEUE.name], waits_s)
        return [*shown, *peers]
    finally:
        os.sched_setaffinity(0, before)
