"""What Peaker's entry point adds to a cold start on Lambda: import time by module, beside bare Python and Mangum."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.result import Result, at_most
from peaker.engines.aws.contents import peaker_files
from peaker.engines.aws.package import write_package

IMPORT_MS_MAX = 40.0
PACKAGE_MB_MAX = 3.0
MODULES_SHOWN = 8
_IMPORTED = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*([\w.]+)")


def run(options: list[str]) -> list[Result]:
    """Processes in turn, so that a slow phase of the machine meets all alike; medians."""
    parser = argparse.ArgumentParser(prog="lambda_entry")
    parser.add_argument("--peers", type=Path, help="folder made by peers.sh; without it nothing is compared")
    parser.add_argument("--rounds", type=int, default=25)
    chosen = parser.parse_args(options)
    own = sys.executable
    commands = {
        "bare Python": [own, "-c", "pass"],
        "asyncio": [own, "-c", "import asyncio"],
        "peaker.aws": [own, "-c", "import peaker.aws"],
        "peaker.aws with a web app": [own, "-c", "import peaker.aws, peaker.web_on_lambda"],
        "awslambdaric": [own, "-c", "import awslambdaric.bootstrap"],
        "awslambdaric, then peaker.aws with a web app": [
            own,
            "-c",
            "import awslambdaric.bootstrap, peaker.aws, peaker.web_on_lambda",
        ],
    }
    if chosen.peers is not None:
        peer = str(chosen.peers / "bin/python")
        commands["bare Python of the peers"] = [peer, "-c", "pass"]
        commands["mangum"] = [peer, "-c", "import mangum"]
        commands["awslambdaric, then mangum"] = [peer, "-c", "import awslambdaric.bootstrap, mangum"]
    times: dict[str, list[float]] = {name: [] for name in commands}
    for each in commands.values():
        _cpu_ms(each)  # Bytecode is written and files are in memory; Lambda's first start has neither.
    for _ in range(chosen.rounds):
        for name, each in commands.items():
            times[name].append(_cpu_ms(each))
    return [*_results({name: statistics.median(found) for name, found in times.items()}), *_modules(), _package()]


def _cpu_ms(command: list[str]) -> float:
    """User and system time of the process: an import computes, and other work on the machine is not its own."""
    # -I: nothing of the caller's environment; site packages stay.
    process = subprocess.Popen([command[0], "-I", *command[1:]])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return (used.ru_utime + used.ru_stime) * 1000


def _results(medians: dict[str, float]) -> list[Result]:
    bare = medians["bare Python"]
    results = [Result(f"CPU of a process, {name}", round(found, 1), "ms") for name, found in medians.items()]
    added = medians["peaker.aws"] - bare
    results.append(at_most("import for a handler over bare Python", round(added, 1), IMPORT_MS_MAX, "ms"))
    added = medians["peaker.aws with a web app"] - bare
    results.append(at_most("import for a web app over bare Python", round(added, 1), IMPORT_MS_MAX, "ms"))
    results.append(Result("ratio to bare Python", round(medians["peaker.aws with a web app"] / bare, 2), ""))
    beyond = medians["peaker.aws with a web app"] - medians["asyncio"]
    results.append(Result("of it beyond asyncio, which every web app there imports", round(beyond, 1), "ms"))
    after_ric = medians["awslambdaric, then peaker.aws with a web app"] - medians["awslambdaric"]
    results.append(Result("added after AWS's runtime client, peaker.aws", round(after_ric, 1), "ms"))
    if "mangum" in medians:
        mangum = medians["mangum"] - medians["bare Python of the peers"]
        results.append(Result("import of mangum over bare Python", round(mangum, 1), "ms"))
        results.append(Result("ratio to mangum's", round(added / mangum, 2), "", detail="neither with an app"))
    return results


def _modules() -> list[Result]:
    """Self times of one run under -X importtime, which itself costs about as much again, by package."""
    done = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", "-c", "import peaker.aws, peaker.web_on_lambda"],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    known = set(_imported(["-c", "pass"]))
    sums: Counter[str] = Counter()
    for self_us, name in _IMPORTED.findall(done.stderr):
        if name not in known:
            sums[name if name.startswith("peaker.") else name.partition(".")[0]] += int(self_us)
    return [
        Result(f"of it {name}", round(us / 1000, 2), "ms", detail="under -X importtime")
        for name, us in sums.most_common(MODULES_SHOWN)
    ]


def _imported(arguments: list[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return [name for _, name in _IMPORTED.findall(done.stderr)]


def _package() -> Result:
    """Peaker's own modules, as `peaker build` zips them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "peaker.zip")
        write_package([("peaker", peaker_files())], file)
        return at_most("Peaker's own part of a package, zipped", file.stat().st_size / 1e6, PACKAGE_MB_MAX, "MB")
