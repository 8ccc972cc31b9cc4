"""Reading a combined-format log of 1 GB: seconds and memory, GoAccess in the same run, every count checked."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import Result, at_most

SECONDS_MAX = 30.0
MEMORY_MB_MAX = 500.0
_SAMPLE_S = 0.05
_LINES_AT_ONCE = 20_000
_POOL = 100_000
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "curl/8.5.0",
)
_PATHS = (
    ("/", 12), ("/titles/{n}", 30), ("/titles/{n}/similar", 10), ("/search?q=w{n}&page={d}", 12),
    ("/api/v1/users/{n}", 8), ("/static/app.css", 9), ("/static/app.js", 9), ("/images/{n}.jpg", 10), ("/health", 2),
)  # fmt: skip
_STATUS = ((200, 88), (304, 5), (404, 4), (302, 2), (500, 1))


@dataclass(slots=True)
class Truth:
    """What was written."""

    classes: Counter[int]
    lines: int = 0
    health: int = 0


@dataclass(slots=True)
class Run:
    """One run of a program."""

    seconds: float
    memory_mb: float
    output: bytes


def write_log(path: Path, size: int, seed: int = 1) -> Truth:
    """A log of about `size` bytes, 60 requests a second from a pool of visitors' requests; what is in it."""
    chance = random.Random(seed)
    pool = [_body(chance) for _ in range(_POOL)]
    times_used = Counter[int]()
    now, second, stamp = 1_719_792_000.0, 0, b""
    with path.open("wb") as file:
        while file.tell() < size:
            lines = []
            chosen = chance.choices(range(_POOL), k=_LINES_AT_ONCE)
            times_used.update(chosen)
            for index in chosen:
                now += chance.expovariate(60)
                if int(now) != second:
                    second = int(now)
                    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second)).encode()
                before, after, _, _ = pool[index]
                lines.append(before + stamp + after)
            file.write(b"".join(lines))
    truth = Truth(lines=times_used.total(), classes=Counter())
    for index, count in times_used.items():
        _, _, status, is_health = pool[index]
        if is_health:
            truth.health += count
        else:
            truth.classes[status // 100] += count
    return truth


def _body(chance: random.Random) -> tuple[bytes, bytes, int, bool]:
    """What stands before and after the time of a line, its status, and whether it asks for /health."""
    form = chance.choices([form for form, _ in _PATHS], [weight for _, weight in _PATHS])[0]
    status = chance.choices([code for code, _ in _STATUS], [weight for _, weight in _STATUS])[0]
    target = form.replace("{n}", str(chance.randrange(1_000_000))).replace("{d}", str(chance.randrange(9)))
    address = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
    agent = _AGENTS[int(chance.random() ** 2 * len(_AGENTS))]
    rest = f'] "GET {target} HTTP/1.1" {status} {chance.randrange(200, 90_000)} '
    rest += f'"https://shop.example/titles/{chance.randrange(1000)}" "{agent}"\n'
    return f"{address} - - [".encode(), rest.encode(), status, form == "/health"


def timed(command: Sequence[str]) -> Run:
    """Run it to its end; its memory is the largest sum over it and its children, shared pages in proportion."""
    begun_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    most_mb, output = 0.0, b""
    while process.poll() is None:
        most_mb = max(most_mb, _tree_mb(process.pid))
        output += process.stdout.read() or b""
        time.sleep(_SAMPLE_S)
    seconds = time.perf_counter() - begun_s
    output += process.stdout.read() or b""
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return Run(seconds, most_mb, output)


def _tree_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended between two samples
    own = next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0) / 1024
    return own + sum(_tree_mb(int(child)) for child in children)


def check(run: Run, truth: Truth) -> None:
    """The counts are those that were written."""
    found = json.loads(run.output)
    report = found["report"]
    assert (report["lines"], report["excluded"], report["unreadable"]) == (truth.lines, truth.health, []), report
    classes = {int(hundred): count for hundred, count in found["traffic"]["status_classes"].items()}
    assert classes == dict(truth.classes), (classes, truth.classes)


def run(options: list[str]) -> list[Result]:
    parser = argparse.ArgumentParser(prog="log_reading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1000)
    chosen = parser.parse_args(options)
    goaccess = shutil.which("goaccess")
    ours: list[Run] = []
    theirs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "access.log"
        truth = write_log(path, chosen.megabytes * 1_000_000)
        for _ in range(chosen.rounds):
            ours.append(timed([sys.executable, "-m", "peaker", "traffic", str(path), "--json"]))
            check(ours[-1], truth)
            if goaccess:
                report = str(Path(folder) / "report.json")
                command = [goaccess, str(path), "--log-format=COMBINED", "--no-global-config", "-o", report]
                theirs.append(timed(command))
        size_gb = path.stat().st_size / 1e9
    seconds = [each.seconds for each in ours]
    detail = f"{truth.lines:,} lines, {size_gb:.2f} GB; rounds {min(seconds):.1f} to {max(seconds):.1f}"
    results = [
        at_most("peaker traffic", statistics.median(seconds), SECONDS_MAX, "s", detail),
        at_most("its memory, all processes", max(each.memory_mb for each in ours), MEMORY_MB_MAX, "MB"),
    ]
    if theirs:
        seconds = [each.seconds for each in theirs]
        results += [
            Result(
                "GoAccess", statistics.median(seconds), "s", detail=f"rounds {min(seconds):.1f} to {max(seconds):.1f}"
            ),
            Result("its memory", max(each.memory_mb for each in theirs), "MB"),
        ]
    else:
        results.append(Result("GoAccess", None, "s", detail="not installed here"))
    return results
