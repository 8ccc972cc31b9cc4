"""The copy forked ahead: who gets it, what it has run, and what becomes of it when something dies."""

import asyncio
import json
import os
import signal
from pathlib import Path

from launched import Launched, is_running, launched, until

from peaker.functions.proc import children, memory_bytes
from peaker.functions.working_set import copy_ahead, written_by

TELLS_ITS_PID = """
    import os
    def entry(event, context):
        return os.getpid()
"""
COUNTS_ITS_STARTS = """
    import contextlib, os
    @contextlib.asynccontextmanager
    async def lifespan(app):
        with open("starts", "a") as log:
            print(os.getpid(), file=log)
        yield
    from fastapi import FastAPI
    entry = FastAPI(lifespan=lifespan)
    @entry.get("/")
    async def root() -> int:
        return os.getpid()
"""


async def parked(bench: Launched) -> int:
    await until(lambda: bench.launcher.parked_pid)
    return bench.launcher.parked_pid


def test_the_parked_copy_is_the_next_instance_and_another_is_parked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, TELLS_ITS_PID) as bench:
            first = await parked(bench)
            instances = [await bench.fork(), await bench.fork()]
            assert instances[0].pid == first
            assert [json.loads((await bench.run(None, one)).payload) for one in instances] == [p.pid for p in instances]
            assert await parked(bench) not in {one.pid for one in instances}

    asyncio.run(scenario())


def test_the_app_starts_in_the_copy_only_when_it_is_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, COUNTS_ITS_STARTS, web=True, warm_up="/") as bench:
            pid = await parked(bench)
            await until(lambda: _own_bytes(pid) > 1_000_000)  # it has taken its pages and waits
            assert str(pid) not in (tmp_path / "starts").read_text().split()
            assert (await bench.get("/"))["body"] == str(pid)
            assert str(pid) in (tmp_path / "starts").read_text().split()

    asyncio.run(scenario())


def _own_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


def test_a_start_forks_where_the_parked_copy_was_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, TELLS_ITS_PID) as bench:
            killed = await parked(bench)
            os.kill(killed, signal.SIGKILL)
            await until(lambda: not bench.launcher.parked_pid)
            assert json.loads((await bench.run()).payload) != killed
            assert await parked(bench) != killed

    asyncio.run(scenario())


def test_the_parked_copy_ends_with_its_zygote_and_with_its_launcher(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, TELLS_ITS_PID) as bench:
            old = await parked(bench)
            os.kill(bench.launcher.zygote_pid, signal.SIGKILL)
            await until(lambda: bench.deaths and not is_running(old))
            assert bench.launcher.parked_pid == 0
            await bench.launcher.start()
            new = await parked(bench)
        assert not is_running(new)

    asyncio.run(scenario())


def test_like_lambda_parks_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, TELLS_ITS_PID, like="lambda") as bench:
            instance = await bench.fork()
            await asyncio.sleep(0.1)  # what would be parked by then is what is looked for
            assert children(bench.launcher.zygote_pid) == [instance.pid]

    asyncio.run(scenario())


def test_what_a_child_wrote_to_is_found_and_can_be_copied_ahead() -> None:
    block = bytearray(b"x") * (64 * 4096)
    ready, told = os.pipe()
    go, went = os.pipe()
    pid = os.fork()
    if pid == 0:
        for page in range(0, 64, 2):
            block[page * 4096] = 1
        os.write(told, b"r")
        os.read(go, 1)
        os._exit(0)
    os.read(ready, 1)
    try:
        found = written_by(pid)
        assert sum(length for _, length in found) >= 32 * 4096
        copy_ahead([*found, (4096, 4096)])  # the last is nobody's memory, and no harm
        assert memory_bytes()[1] > 0
        assert block == bytearray(b"x") * (64 * 4096)
    finally:
        os.write(went, b"g")
        os.waitpid(pid, 0)
        for fd in (ready, told, go, went):
            os.close(fd)
