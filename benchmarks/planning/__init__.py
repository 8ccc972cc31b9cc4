"""How long a full plan takes, reading included: every candidate of two long traces, `peaker plan` as people run it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import Result, at_most

TRACES = {"twitter_2021_08_1s": (30.0, "22 days by the second"), "worldcup98_1min": (60.0, "1.35 billion requests")}


def run(arguments: Sequence[str]) -> list[Result]:
    """Plan each trace in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks planning --")
    parser.add_argument("--data", type=Path, help="folder with traces/")
    data = parser.parse_args(list(arguments)).data
    return [_planned(data, name, limit_s, what) for name, (limit_s, what) in TRACES.items()]


def _planned(data: Path | None, name: str, limit_s: float, what: str) -> Result:
    title = f"{name}: full plan"
    trace = data / "traces" / f"{name}.csv.gz" if data else None
    if trace is None or not trace.is_file():
        return at_most(title, None, limit_s, "s", "no trace: name its folder with -- --data DIR")
    began_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "peaker", "plan", str(trace), "--json"], capture_output=True, text=True, check=False
    )
    took_s = time.perf_counter() - began_s
    if done.returncode not in {0, 1}:
        return Result(title, None, "s", detail=done.stderr.strip()[-200:])
    plan = json.loads(done.stdout)
    plan = plan.get("plan", plan)
    simulated = sum(candidate["simulated"] for candidate in plan["candidates"])
    detail = f"{what}; {len(plan['candidates'])} candidates, {simulated:,} requests simulated"
    return at_most(title, took_s, limit_s, "s", detail)
