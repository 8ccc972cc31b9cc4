"""How many requests a second one core simulates, and whether SimFaaS on its own example says the same."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.result import Result, at_least
from peaker.plan.outcome import Outcome
from peaker.plan.quick import simulate
from peaker.plan.workload import FunctionPool, Rules, ServerPool, Workload, exponential_quantiles
from peaker.policy.placement import Placement

REQUESTS_PER_S_MIN = 5e6
TIMES_SIMFAAS_MIN = 100
T_99 = 3.106
"""Student's t, two-sided 99 %, of twelve runs."""

ARRIVALS_PER_S, WARM_S, COLD_S, KEEP_ALIVE_S = 0.9, 1.991, 2.244, 600.0
"""The example of SimFaaS' documentation; its authors measured these on AWS Lambda."""

WEB = Workload(service_quantiles_s=exponential_quantiles(0.1, 1025), cold_start_quantiles_s=(0.1, 0.2, 0.5))
POOL = ServerPool(slots=8, workers=2)
RULES = Rules(objective_s=0.3)


@dataclass(frozen=True, slots=True)
class Case:
    """One model: 16 slots a server, 100 ms a request, and a load as a share of what the servers could carry."""

    name: str
    servers: int
    load: float
    rules: Rules = RULES
    workload: Workload = WEB
    is_hybrid: bool = True


CASES = (
    Case("hybrid, 10 servers, 60 % load", 10, 0.6),
    Case("hybrid, 10 servers, 95 % load", 10, 0.95),
    Case("hybrid, 10 servers, 130 % load", 10, 1.3),
    Case("hybrid, 2 servers, 100 % load", 2, 1.0),
    Case("hybrid, 100 servers, 105 % load", 100, 1.05),
    Case("servers only, 10 servers, 95 % load", 10, 0.95, replace(RULES, spill=False), is_hybrid=False),
    Case("functions only", 10, 0.6, replace(RULES, placement=Placement.FUNCTIONS), is_hybrid=False),
    Case("half of the time computes", 10, 0.2, RULES, replace(WEB, cpu_share=0.5), is_hybrid=False),
)


def _run_case(case: Case, requests: int) -> tuple[float, Outcome]:
    """Requests a second, chance and counting of latencies included, and the outcome."""
    rate = case.load * case.servers * POOL.slots_per_server / 0.1
    counts = np.random.default_rng(1).poisson(rate, max(1, round(requests / rate)))
    began_s = time.perf_counter()
    outcome = simulate(counts, 1.0, case.servers, case.workload, POOL, FunctionPool(), case.rules, seed=1)
    return outcome.requests / (time.perf_counter() - began_s), outcome


def _cases(requests: int, rounds: int) -> list[Result]:
    results = []
    for case in CASES:
        _run_case(case, 1000)  # Compiles, or reads the machine code.
    speeds: dict[str, list[float]] = {case.name: [] for case in CASES}
    outcomes: dict[str, Outcome] = {}
    for _ in range(rounds):
        for case in CASES:
            speed, outcomes[case.name] = _run_case(case, requests)
            speeds[case.name].append(speed)
    for case in CASES:
        outcome, speed = outcomes[case.name], statistics.median(speeds[case.name])
        spread = f"rounds {min(speeds[case.name]) / 1e6:.1f} to {max(speeds[case.name]) / 1e6:.1f}"
        detail = f"{outcome.spilled_share:.1%} spilled, {outcome.waited / outcome.requests:.1%} waited; {spread}"
        if case.is_hybrid:
            results.append(at_least(case.name, speed / 1e6, REQUESTS_PER_S_MIN / 1e6, "M requests/s", detail))
        else:
            results.append(Result(case.name, speed / 1e6, "M requests/s", detail=detail))
    return results


def _own_example(requests: int) -> tuple[float, Outcome]:
    """The model of SimFaaS' example: functions only, instances kept for ten minutes.

    A cold run takes an exponential time of another mean there; here it takes a warm one's and the difference.
    """
    workload = Workload(service_quantiles_s=exponential_quantiles(WARM_S), cold_start_quantiles_s=(COLD_S - WARM_S,))
    pool = FunctionPool(keep_alive_s=KEEP_ALIVE_S)
    rules = Rules(objective_s=10.0, placement=Placement.FUNCTIONS)
    step_s = 1000.0
    counts = np.random.default_rng(2).poisson(ARRIVALS_PER_S * step_s, round(requests / (ARRIVALS_PER_S * step_s)))
    simulate(counts[:1], step_s, 0, workload, ServerPool(slots=1), pool, rules, seed=1)
    began_s = time.perf_counter()
    outcome = simulate(counts, step_s, 0, workload, ServerPool(slots=1), pool, rules, seed=1)
    speed = outcome.requests / (time.perf_counter() - began_s)
    return speed, replace(outcome, instance_s=outcome.instance_s / (len(counts) * step_s))


def _simfaas(python: str, simulated_s: float) -> list[dict[str, float]] | None:
    """Twelve runs; None where the interpreter has no simfaas."""
    peer = Path(__file__).with_name("peer.py")
    arguments = [ARRIVALS_PER_S, WARM_S, COLD_S, KEEP_ALIVE_S, simulated_s, 12]
    done = subprocess.run([python, str(peer), *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"SimFaaS did not run: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    runs: list[dict[str, float]] = json.loads(done.stdout)
    return runs


def _against_simfaas(python: str, requests: int, simulated_s: float) -> list[Result]:
    speed, outcome = _own_example(requests)
    runs = _simfaas(python, simulated_s)
    ours = {"cold": outcome.cold_starts / outcome.requests, "instances": outcome.instance_s}
    results = [Result("SimFaaS' example, here", speed / 1e6, "M requests/s")]
    if runs is None:
        absent = "simfaas is absent; name an interpreter that has it with --simfaas-python"
        return [*results, at_least("times SimFaaS", None, TIMES_SIMFAAS_MIN, "times", absent)]
    theirs = [run["requests"] / run["took_s"] for run in runs]
    results.append(Result("SimFaaS' example, SimFaaS", statistics.median(theirs) / 1e6, "M requests/s"))
    results.append(at_least("times SimFaaS", speed / statistics.median(theirs), TIMES_SIMFAAS_MIN, "times"))
    for key, name in (("cold", "share of cold starts"), ("instances", "instances on average")):
        values = [run[key] for run in runs]
        mean, margin = statistics.mean(values), T_99 * statistics.stdev(values) / len(values) ** 0.5
        holds = abs(ours[key] - mean) <= margin
        bar = f"{mean - margin:.4g} to {mean + margin:.4g}"
        results.append(Result(name, ours[key], "", bar, holds, "the 99 % interval of twelve runs of SimFaaS"))
    return results


def run(arguments: list[str]) -> list[Result]:
    """See the README."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks simulation --")
    parser.add_argument("--simfaas-python", default=sys.executable, help="an interpreter that has simfaas")
    parser.add_argument("--requests", type=int, default=5_000_000, help="of one round of a case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--simfaas-s", type=float, default=200_000.0, help="simulated seconds of one run of SimFaaS")
    options = parser.parse_args(arguments)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # One core, and SimFaaS inherits it.
    try:
        return [
            *_cases(options.requests, options.rounds),
            *_against_simfaas(options.simfaas_python, 4 * options.requests, options.simfaas_s),
        ]
    finally:
        os.sched_setaffinity(0, before)
