"""What the function host counts of its invocations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from peaker.meter.function_usage import (
    OTHERS,
    Architecture,
    Caller,
    FunctionMeter,
    FunctionUsage,
    create_function_table,
    open_function_table,
    read_functions,
)

KILLED_HOST = """
import os, signal, sys
from pathlib import Path
from peaker.meter.function_usage import Caller, FunctionMeter
meter = FunctionMeter(Path(sys.argv[1]), "arm64")
for _ in range(250):
    meter.ended("thumbnail", Caller.DIRECT, memory_mb=1024, billed_ms=10, duration_ms=9.5)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_killed_host(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_HOST, str(path)], check=False, timeout=30)
    assert ended.returncode == -9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "functions.table"
    create_function_table(made).close()
    return made


def usage(path: Path) -> dict[tuple[str, Caller], FunctionUsage]:
    table = open_function_table(path)
    try:
        return {(row.name, row.caller): row for row in read_functions(table)}
    finally:
        table.close()


def test_every_figure_of_an_invocation_is_counted(path: Path) -> None:
    meter = FunctionMeter(path, "arm64")
    meter.ended("shop-web", Caller.GATE, memory_mb=512, billed_ms=300, duration_ms=99.5, init_ms=200.25)
    meter.ended("shop-web", Caller.GATE, memory_mb=512, billed_ms=30_000, duration_ms=3e4, failed=True, timed_out=True)
    meter.throttled("shop-web", Caller.GATE)
    assert usage(path)["shop-web", Caller.GATE] == FunctionUsage(
        name="shop-web",
        caller=Caller.GATE,
        architecture=Architecture.ARM64,
        invocations=2,
        cold_starts=1,
        failures=1,
        timeouts=1,
        throttled=1,
        duration_us=99_500 + 30_000_000,
        init_us=200_250,
        billed_ms=30_300,
        billed_mb_ms=30_300 * 512,
    )


def test_gb_seconds_are_exact_over_many_small_runs(path: Path) -> None:
    """A million runs of 1 ms at 128 MB are 125 GB-s, which a sum of floats would miss."""
    meter = FunctionMeter(path, "x86_64")
    for _ in range(1000):
        meter.ended("tiny", Caller.EVENT, memory_mb=128, billed_ms=1000, duration_ms=1.0)
    assert usage(path)["tiny", Caller.EVENT].gb_seconds == 125.0


def test_who_asked_is_kept_apart(path: Path) -> None:
    meter = FunctionMeter(path, "arm64")
    for caller in Caller:
        meter.ended("shop-web", caller, memory_mb=512, billed_ms=int(caller), duration_ms=1.0)
    assert {caller: row.billed_ms for (_, caller), row in usage(path).items()} == {c: int(c) for c in Caller}


def test_a_new_host_goes_on_where_a_killed_one_ended(path: Path) -> None:
    """Twice, so that the second adds to a row that the first has left."""
    for run in (1, 2):
        run_killed_host(path)
        assert usage(path)["thumbnail", Caller.DIRECT].invocations == 250 * run
    table = open_function_table(path)
    assert sum(bool(table.get(row, "caller")) for row in range(table.rows)) == 1, "the row of the dead is used again"
    table.close()


def test_two_hosts_beside_each_other_lose_nothing_to_one_another(path: Path) -> None:
    """As during a reload: the row of a host that lives is left alone."""
    mine = FunctionMeter(path, "arm64")
    mine.ended("thumbnail", Caller.DIRECT, memory_mb=1024, billed_ms=10, duration_ms=9.5)
    run_killed_host(path)
    mine.ended("thumbnail", Caller.DIRECT, memory_mb=1024, billed_ms=10, duration_ms=9.5)
    assert usage(path)["thumbnail", Caller.DIRECT].invocations == 252
    table = open_function_table(path)
    assert sum(bool(table.get(row, "caller")) for row in range(table.rows)) == 2
    table.close()


def test_more_functions_than_rows_are_counted_together(tmp_path: Path) -> None:
    path = tmp_path / "small.table"
    create_function_table(path, rows=2).close()
    meter = FunctionMeter(path, "arm64")
    for number in range(5):
        meter.ended(f"f{number}", Caller.DIRECT, memory_mb=128, billed_ms=1, duration_ms=0.5)
    found = usage(path)
    assert found[OTHERS, Caller.DIRECT].invocations == 3
    assert sum(row.invocations for row in found.values()) == 5


def test_names_of_all_allowed_lengths_come_back_whole(path: Path) -> None:
    meter = FunctionMeter(path, "arm64")
    names = ["a", "b" * 64, "c" * 64 + "-web"]
    for name in names:
        meter.ended(name, Caller.GATE, memory_mb=128, billed_ms=1, duration_ms=0.5)
    assert [name for name, _ in usage(path)] == names
