"""What a handler does to itself harms its own invocation and nothing else."""

import asyncio
import json
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from launched import Launched, is_running, launched, until

from peaker.errors import AppStartError, Unavailable
from peaker.frames import FrameError
from peaker.functions.launcher import Instance, InstanceDied
from peaker.functions.log_pipe import LOG_BYTES_MAX
from peaker.functions.result_json import ESCAPES

FAULTS = """
    import ctypes, json, os, signal, subprocess, sys, threading, time
    held = []

    def hang():
        threading.Event().wait()

    def fork_and_leave():
        pids = []
        for own_session in (False, True):
            pid = os.fork()
            if pid == 0:
                if own_session:
                    os.setsid()
                threading.Event().wait()
            pids.append(pid)
        return pids

    def flood(megabytes):
        line = "x" * 1023 + "\\n"
        for _ in range(megabytes * 1024):
            os.write(1, line.encode())

    def eat(megabytes):
        for _ in range(megabytes):
            held.append(b"x" * 2**20)
        return len(held)

    def eat_with_children(megabytes):
        for _ in range(4):
            if os.fork() == 0:
                eat(megabytes // 4)
                time.sleep(60)
        hang()

    def recurse():
        return recurse()

    def close_channel():
        os.closerange(3, 100)
        hang()

    def write_to_channel():
        for fd in range(3, 100):
            try:
                os.write(fd, b"\\xff" * 64)
            except OSError:
                pass
        hang()

    def entry(event, context):
        return eval(event)
"""


async def died(bench: Launched, code: str, instance: Instance | None = None, **more: Any) -> InstanceDied:
    """How an invocation of a new instance (or this one) ends that does not come back."""
    instance = instance or await bench.fork()
    with pytest.raises(InstanceDied) as caught:
        await bench.run(code, instance, **more)
    await instance.wait_ended()
    assert not instance.alive
    assert not is_running(instance.pid)
    return caught.value


def harms_nobody_else(directory: Path, code: str, error_type: str, message: str) -> None:
    """Run it beside an instance that is in an invocation and one that is idle; both go on."""

    async def scenario() -> None:
        async with launched(directory, FAULTS) as bench:
            idle, busy = await bench.fork(), await bench.fork()
            running = asyncio.create_task(bench.run("time.sleep(0.3) or 'done'", busy))
            death = await died(bench, code)
            assert (death.error_type, death.message) == (error_type, message)
            assert json.loads(death.payload("id")) == {
                "errorType": error_type,
                "errorMessage": f"RequestId: id Error: {message}",
            }
            assert json.loads((await running).payload) == "done"
            assert json.loads((await bench.run("1 + 1", idle)).payload) == 2
            assert json.loads((await bench.run("2 + 2")).payload) == 4
            assert bench.deaths == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("sys.exit(4)", "Runtime exited with error: exit status 4"),
        ("sys.exit()", "Runtime exited without providing a reason"),
        ("ctypes.string_at(0)", "Runtime exited with error: signal: segmentation fault"),
        ("os.abort()", "Runtime exited with error: signal: aborted"),
        ("os.killpg(0, signal.SIGTERM)", "Runtime exited with error: signal: terminated"),
    ],
)
def test_a_handler_that_ends_its_process(tmp_path: Path, code: str, message: str) -> None:
    harms_nobody_else(tmp_path, code, "Runtime.ExitError", message)


def test_a_handler_that_hangs_is_killed_at_its_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            instance = await bench.fork()
            started_s = time.monotonic()
            death = await died(bench, "hang()", instance, timeout_s=0.25)
            assert death.timed_out
            assert death.message.startswith("Task timed out after 0.2")
            assert time.monotonic() - started_s < 2
            assert json.loads((await bench.run("1")).payload) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("cgroups", [True, False])
def test_children_do_not_outlive_their_instance(tmp_path: Path, *, cgroups: bool) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS, cgroups=cgroups) as bench:
            instance = await bench.fork()
            children = json.loads((await bench.run("fork_and_leave()", instance)).payload)
            assert all(is_running(pid) for pid in children)
            instance.kill()
            await instance.wait_ended()
            await until(lambda: not any(is_running(pid) for pid in children))

    asyncio.run(scenario())


def test_a_handler_that_floods_its_output_is_slowed_and_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            instance, other = await bench.fork(), await bench.fork()
            flood = asyncio.create_task(bench.run("flood(8)", instance, request_id="flood"))
            for _ in range(20):  # others answer meanwhile
                started_s = time.monotonic()
                await bench.run("1", other, request_id="other")
                assert time.monotonic() - started_s < 1
            outcome = await flood
            kept = bench.lines("flood")
            assert sum(len(line) + 1 for line in kept) <= LOG_BYTES_MAX + 2 * 65536
            assert len(kept) + outcome.log_lines_dropped == pytest.approx(8 * 1024, abs=2)
            # The next invocation has its whole allowance again.
            assert (await bench.run("print('next')", instance, request_id="next")).log_lines_dropped == 0
            assert bench.lines("next") == ["next"]

    asyncio.run(scenario())


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            await bench.run("print('y' * 200_000)", request_id="long")
            lines = bench.lines("long")
            assert max(map(len, lines)) <= 65536
            assert sum(map(len, lines)) == 200_000

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("{1, 2}", "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable"),
        ("[held, held.append(held)]", "Runtime.MarshalError", "Unable to marshal response: Circular reference"),
        pytest.param(
            "'\\udc80'",
            "Runtime.MarshalError",
            "Unable to marshal response: 'utf-8' codec can't encode",
            marks=pytest.mark.skipif(ESCAPES, reason="before Python 3.12 such text is escaped"),
        ),
        ("recurse()", "RecursionError", "maximum recursion depth exceeded"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("'z' * (7 * 2**20)", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed"),
    ],
)
def test_a_result_that_is_none_is_an_error_and_the_instance_lives(
    tmp_path: Path, code: str, error_type: str, message: str
) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            instance = await bench.fork()
            outcome = await bench.run(code, instance, request_id="bad")
            told = json.loads(outcome.payload)
            assert outcome.function_error == "Unhandled"
            assert told["errorType"] == error_type
            assert told["errorMessage"].startswith(message)
            assert isinstance(told["stackTrace"], list)
            assert json.loads((await bench.run("1", instance)).payload) == 1

    asyncio.run(scenario())


def test_an_exception_tells_its_stack_from_the_users_first_frame(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            told = json.loads((await bench.run("recurse", request_id="r-9")).payload)
            assert told["requestId"] == "r-9"
            told = json.loads((await bench.run("1 / 0")).payload)
            assert told["stackTrace"][0].startswith(f'  File "{tmp_path}/user_code.py", line ')
            assert any("[ERROR] ZeroDivisionError: division by zero" in line for line in bench.lines())

    asyncio.run(scenario())


@pytest.mark.parametrize("code", ["eat(400)", "eat_with_children(400)"])
def test_a_handler_that_eats_memory_is_killed_and_others_live(tmp_path: Path, code: str) -> None:
    async def scenario(*, cgroups: bool) -> str:
        async with launched(tmp_path, FAULTS, memory_mb=256, cgroups=cgroups) as bench:
            other = await bench.fork()
            instance = await bench.fork()
            if bench.launcher.warnings and cgroups:
                pytest.skip(bench.launcher.warnings[0])
            try:
                outcome = await bench.run(code, instance, timeout_s=20 if "children" not in code else 1.5)
                error_type = json.loads(outcome.payload)["errorType"]
            except InstanceDied as death:
                error_type = death.error_type
                await instance.wait_ended()
            assert json.loads((await bench.run("eat(100)", other)).payload) == 100
            assert bench.deaths == []
            return str(error_type)

    with_cgroups = asyncio.run(scenario(cgroups=True))
    # Where the children ate it, the kernel may take one of them and leave the handler to its deadline.
    assert with_cgroups in ("Runtime.OutOfMemory", *(["Sandbox.Timedout"] if "children" in code else []))
    # Without cgroups the address space ends first, or the watchdog comes.
    assert asyncio.run(scenario(cgroups=False)) in ("MemoryError", "Runtime.OutOfMemory")


def test_children_together_get_no_more_memory_than_one_instance(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS, memory_mb=256) as bench:
            instance = await bench.fork()
            if bench.launcher.warnings:
                pytest.skip(bench.launcher.warnings[0])
            await died(bench, "eat_with_children(2000)", instance, timeout_s=2)

            assert instance.private_peak_bytes() <= 256 * 2**20

    asyncio.run(scenario())


def test_a_handler_that_closes_its_channel_is_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            death = await died(bench, "close_channel()")
            assert death.message == "Runtime closed its channel"
            assert json.loads((await bench.run("1")).payload) == 1

    asyncio.run(scenario())


def test_a_handler_that_writes_to_the_channel_is_not_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            death = await died(bench, "write_to_channel()")
            assert death.message.startswith("Runtime sent what is no answer: head of ")
            assert json.loads((await bench.run("1")).payload) == 1

    asyncio.run(scenario())


def test_an_event_that_is_too_large_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            instance = await bench.fork()
            with pytest.raises(FrameError, match="body of 7340034 bytes"):
                await bench.run("x" * (7 * 2**20), instance)
            assert json.loads((await bench.run("1", instance)).payload) == 1

    asyncio.run(scenario())


def test_an_invocation_that_is_given_up_ends_its_instance(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            instance = await bench.fork()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await bench.run("hang()", instance)
            await instance.wait_ended()

    asyncio.run(scenario())


def test_an_instance_whose_start_up_fails_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
        import os
        async def entry(scope, receive, send):
            await receive()
            if os.path.exists("broken"):
                await send({"type": "lifespan.startup.failed", "message": "the store is gone"})
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
    """

    async def scenario() -> None:
        async with launched(tmp_path, code, web=True) as bench:
            (tmp_path / "broken").touch()
            with pytest.raises(AppStartError, match="the store is gone"):
                await bench.fork()
            (tmp_path / "broken").unlink()
            await bench.fork()

    asyncio.run(scenario())


def test_an_idle_instance_that_is_killed_tells_its_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            instance, ended = await bench.fork(), []
            instance.on_exit = ended.append
            os.kill(instance.pid, signal.SIGKILL)
            await until(lambda: ended == [instance])

    asyncio.run(scenario())


def test_a_host_without_descriptors_left_starts_nothing_and_recovers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, FAULTS) as bench:
            instance = await bench.fork()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            open_fds = [int(entry) for entry in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names only
            for spare in range(8):
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_fds) + 1 + spare, hard))
                try:
                    (await bench.fork()).kill()
                except Unavailable as error:
                    assert "Too many open files" in str(error)  # noqa: PT017 - how many are enough is not promised
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert json.loads((await bench.run("1", instance)).payload) == 1
            assert json.loads((await bench.run("2")).payload) == 2

    asyncio.run(scenario())


def test_an_instance_that_needs_too_much_memory_to_start_says_so(tmp_path: Path) -> None:
    code = """
        import os
        held = []
        async def entry(scope, receive, send):
            await receive()
            if os.path.exists("greedy"):
                held.append(b"x" * 200 * 2**20)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
    """

    async def scenario() -> None:
        async with launched(tmp_path, code, web=True, memory_mb=128) as bench:
            if bench.launcher.warnings:
                pytest.skip(bench.launcher.warnings[0])
            (tmp_path / "greedy").touch()
            with pytest.raises(AppStartError, match="signal: killed") as caught:
                await bench.fork()
            assert "memory_mb is too little for it" in str(caught.value)

    asyncio.run(scenario())
