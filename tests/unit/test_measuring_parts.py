"""What a process costs, and what a busy machine adds to a request's time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from peaker.engines.local.measuring.alone import settings_alone
from peaker.engines.local.measuring.idle import undisturbed
from peaker.engines.local.measuring.process_cost import core_wait_s, cpu_time_s, machine_name, memory_mb
from peaker.errors import SettingsError
from peaker.settings import AppSection, FunctionSection, RouteSection, Settings
from peaker.testing.running import until


def test_the_cpu_time_of_a_process_is_what_it_computes_and_not_what_it_sleeps() -> None:
    own = os.getpid()
    before_s, process_s = cpu_time_s(own), time.process_time()
    while time.process_time() - process_s < 0.05:
        pass
    after_s = cpu_time_s(own)
    assert before_s is not None
    assert after_s is not None
    assert 0.05 <= after_s - before_s < 0.5
    time.sleep(0.05)
    later_s = cpu_time_s(own)
    assert later_s is not None
    assert later_s - after_s < 0.04


BURNING_CHILD = """
import subprocess, sys, time
print("before", flush=True)
sys.stdin.readline()
burn = "import time\\nwhile time.process_time() < 0.2: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
print("after", flush=True)
sys.stdin.readline()
"""


def test_the_cpu_time_of_children_is_in_it_also_when_they_have_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURNING_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdout.readline()
            before_s = cpu_time_s(process.pid)
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            after_s = cpu_time_s(process.pid)
        finally:
            process.kill()
    assert before_s is not None
    assert after_s is not None
    assert after_s - before_s >= 0.19


def test_of_a_process_that_has_ended_nothing_is_known() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_time_s(process.pid) is None
    assert memory_mb(process.pid) is None
    assert core_wait_s(process.pid) == 0


def test_the_memory_of_a_process_is_what_it_holds() -> None:
    code = "import sys; kept = bytearray(50 << 20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        size_mb = memory_mb(process.pid)
        process.kill()
    assert size_mb is not None
    assert 50 < size_mb < 80


def test_a_machine_has_a_name_and_cores() -> None:
    assert f"{len(os.sched_getaffinity(0))} core" in machine_name()


BURN_ON_ONE_CORE = """
import os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while time.process_time() < 5: pass
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not count waits for a core")
def test_of_two_that_want_one_core_each_waits_for_the_other() -> None:
    burning = [subprocess.Popen([sys.executable, "-c", BURN_ON_ONE_CORE]) for _ in range(2)]
    try:
        until(lambda: all(core_wait_s(process.pid) > 0.05 for process in burning), 30)
    finally:
        for process in burning:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("took_s", "waited_s", "cpu_s", "expected_s"),
    [
        (0.05, 0.0, 0.01, 0.05),
        (0.05, 0.02, 0.01, 0.03),
        (0.05, 0.05, 0.01, 0.01),
        (0.05, 0.05, None, 0.0),
        (0.005, 0.005, 0.01, 0.005),
    ],
)
def test_a_request_is_never_taken_for_quicker_than_it_computes(
    took_s: float, waited_s: float, cpu_s: float | None, expected_s: float
) -> None:
    assert undisturbed([took_s], [waited_s], cpu_s) == [pytest.approx(expected_s)]


def test_an_app_alone_meets_no_other() -> None:
    settings = Settings(
        app=AppSection(name="shop", web="shop:app", listen="0.0.0.0:80", spill=True, access_log="access.log"),
        route=(RouteSection(path="/feed", placement="functions", stream=True, latency_p95_ms=50.0),),
        function=(FunctionSection(name="resize", handler="media:resize"),),
    )
    alone = settings_alone(settings, functions=False)
    assert (alone.app.listen, alone.app.ops_listen, alone.functions.invoke_listen) == ("127.0.0.1:0",) * 3
    assert (alone.app.spill, alone.app.access_log, alone.function) == (False, "", ())
    assert (alone.servers.count_max, alone.servers.workers) == (1, 1)
    assert alone.route == (RouteSection(path="/feed", placement="servers", latency_p95_ms=50.0),)
    assert settings_alone(settings, functions=True).app.spill
    assert alone.app.web == "shop:app"


def test_without_a_web_app_there_is_nothing_to_start() -> None:
    with pytest.raises(SettingsError, match=r"app\.web is not set"):
        settings_alone(Settings(), functions=False)
