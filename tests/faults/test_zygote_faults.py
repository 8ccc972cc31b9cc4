"""A zygote or the host dies: what runs finishes or ends as it should, and what is asked next works."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from launched import groups_left, is_running, launched, until

from peaker.errors import AppStartError, Unavailable
from peaker.functions.limits import Limits
from peaker.functions.proc import children

WAITS_FOR_A_FILE = """
    import os, time
    def entry(event, context):
        while event and not os.path.exists(event):
            time.sleep(0.005)
        return os.getpid()
"""


def test_instances_finish_when_their_zygote_is_killed_and_a_new_one_takes_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, WAITS_FOR_A_FILE) as bench:
            idle, busy = await bench.fork(), await bench.fork()
            go = tmp_path / "go"
            running = asyncio.create_task(bench.run(str(go), busy))
            await until(lambda: busy.invocations == 1)
            old_zygote = bench.launcher.zygote_pid
            os.kill(old_zygote, signal.SIGKILL)
            await until(lambda: bench.deaths == ["The zygote of function tried ended by SIGKILL."])
            assert bench.launcher.zygote_pid == 0
            with pytest.raises(Unavailable, match="has no zygote now"):
                await bench.fork()
            await bench.launcher.start()
            assert bench.launcher.zygote_pid not in (0, old_zygote)
            new = await bench.fork()
            go.touch()
            assert json.loads((await running).payload) == busy.pid
            assert json.loads((await bench.run("", idle)).payload) == idle.pid
            assert json.loads((await bench.run("", new)).payload) == new.pid

            # Orphans are reaped and their ends told by the host itself.
            ended = []
            idle.on_exit = busy.on_exit = ended.append
            idle.kill()
            os.kill(busy.pid, signal.SIGKILL)
            await until(lambda: set(ended) == {idle, busy})
            assert {idle.pid, busy.pid}.isdisjoint(children())

    asyncio.run(scenario())


def test_what_an_orphaned_instance_started_ends_with_it(tmp_path: Path) -> None:
    code = """
        import os, threading
        def entry(event, context):
            pid = os.fork()
            if pid == 0:
                threading.Event().wait()
            return pid
    """

    async def scenario() -> None:
        async with launched(tmp_path, code) as bench:
            instance = await bench.fork()
            child = json.loads((await bench.run(None, instance)).payload)
            os.kill(bench.launcher.zygote_pid, signal.SIGKILL)
            await until(lambda: len(bench.deaths) == 1)
            instance.kill()
            await instance.wait_ended()
            await until(lambda: not is_running(child))
            await until(lambda: child not in children())

    asyncio.run(scenario())


def test_forks_in_flight_fail_as_not_started_when_the_zygote_dies(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, WAITS_FOR_A_FILE) as bench:
            os.kill(bench.launcher.zygote_pid, signal.SIGSTOP)
            forks = [asyncio.create_task(bench.fork()) for _ in range(3)]
            await asyncio.sleep(0)
            os.kill(bench.launcher.zygote_pid, signal.SIGKILL)
            for fork in forks:
                with pytest.raises(Unavailable):
                    await fork

    asyncio.run(scenario())


def test_a_zygote_that_stands_still_costs_a_start_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, WAITS_FOR_A_FILE, start_s_max=1.0) as bench:
            os.kill(bench.launcher.zygote_pid, signal.SIGSTOP)
            with pytest.raises(AppStartError, match="not ready within 1 s"):
                await bench.fork()
            os.kill(bench.launcher.zygote_pid, signal.SIGCONT)
            assert json.loads((await bench.run("")).payload) > 0
            # The late one found its channel closed and has ended.
            await until(lambda: len(children(bench.launcher.zygote_pid)) == 1)

    asyncio.run(scenario())


HOST = """
    import asyncio, sys, time
    from pathlib import Path
    from launched import launched
    async def main():
        async with launched(Path({directory!r}), Path({directory!r}, "code.txt").read_text()) as bench:
            instances = [await bench.fork() for _ in range(3)]
            asyncio.create_task(bench.run("never there", instances[0]))
            await asyncio.sleep(0)
            print(bench.launcher.zygote_pid, *[one.pid for one in instances], flush=True)
            await asyncio.sleep(60)
    asyncio.run(main())
"""


@pytest.mark.parametrize("zygote_dies_first", [False, True])
def test_nothing_outlives_the_host(tmp_path: Path, *, zygote_dies_first: bool) -> None:
    """A SIGKILL of the host ends zygote and instances; one that hangs without a zygote falls to the next host."""
    name = "".join(letter for letter in tmp_path.name if letter.isalnum())[-30:]
    (tmp_path / "code.txt").write_text(textwrap.dedent(WAITS_FOR_A_FILE))
    script = textwrap.dedent(HOST).format(directory=str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "apps")}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as host:
        assert host.stdout is not None
        zygote, *instances = map(int, host.stdout.readline().split())
        if zygote_dies_first:
            os.kill(zygote, signal.SIGKILL)
        host.kill()
    pids = [zygote, *instances]
    give_up_s = time.monotonic() + 10
    if zygote_dies_first:
        pids.remove(instances[0])  # it hangs, and nobody is left who would kill it
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < give_up_s
        time.sleep(0.005)
    limits = Limits.find(f"t{name}")  # the next host of this app
    try:
        assert len(groups_left(limits.hierarchies, f"t{name}")) == len(limits.hierarchies)
        if limits.hierarchies:
            assert not is_running(instances[0])
    finally:
        if is_running(instances[0]):
            os.kill(instances[0], signal.SIGKILL)
        limits.close()
