"""Runtimes that are killed, that eat memory, that leave children behind, and strangers at their door."""

import asyncio
import http.client
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from launched import is_running, until
from provided_runtime import provided, write_bootstrap

from peaker.functions.launcher import InstanceDied
from peaker.functions.limits import Limits
from peaker.functions.provided import ProvidedInstance

ECHO = """
    while True:
        request_id, event = take()
        if event == "hang": print("hangs", flush=True); time.sleep(60)
        answer(request_id, event)
"""


def test_a_runtime_killed_in_flight_fails_that_invocation_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, ECHO)
        async with provided(tmp_path) as bench:
            killed, other = await asyncio.gather(bench.fork(), bench.fork())
            running = asyncio.ensure_future(bench.run("hang", killed, request_id="killed"))
            await until(lambda: "hangs" in bench.lines("killed"))
            os.kill(killed.pid, signal.SIGKILL)
            with pytest.raises(InstanceDied, match="Runtime exited with error: signal: killed"):
                await running
            assert not killed.alive
            assert (await bench.run("other", other)).payload == b'"other"'

    asyncio.run(scenario())


def test_another_process_cannot_take_an_invocation_nor_answer_one(tmp_path: Path) -> None:
    """1. The test itself, a process like any other, asks the instance's port for the next event and answers the one
    that runs. 2. Another instance does. 3. Each time it is refused, that is logged, and the invocation goes on.
    """
    other_code = """
        request_id, event = take()
        os.environ["AWS_LAMBDA_RUNTIME_API"] = event["address"]
        stolen = ask("GET", "/invocation/next")[0]
        forged = answer("running", "forged")[0]
        os.environ["AWS_LAMBDA_RUNTIME_API"] = event["own"]
        answer(request_id, [stolen, forged])
        take()
    """

    async def scenario() -> None:
        for name, code in (("a", ECHO), ("b", other_code)):
            (tmp_path / name).mkdir()
            write_bootstrap(tmp_path / name, code)
        async with provided(tmp_path / "a") as bench, provided(tmp_path / "b") as others:
            instance, thief = await bench.fork(), await others.fork()
            assert isinstance(instance, ProvidedInstance)
            assert isinstance(thief, ProvidedInstance)
            running = asyncio.ensure_future(bench.run("hang", instance, request_id="running", timeout_s=5))
            await until(lambda: "hangs" in bench.lines("running"))
            assert await asyncio.to_thread(_ask, instance.address, "GET", "next") == 403
            assert await asyncio.to_thread(_ask, instance.address, "POST", "running/response") == 403
            told = await others.run({"address": instance.address, "own": thief.address}, thief)
            assert json.loads(told.payload) == [403, 403]
            assert not running.done()
            refusals = [line for line in bench.lines("running") if "another process" in line]
            assert len(refusals) == 4
            instance.kill()
            with pytest.raises(InstanceDied):
                await running

    asyncio.run(scenario())


def _ask(address: str, method: str, what: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(method, f"/2018-06-01/runtime/invocation/{what}")
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_child_of_the_runtime_may_speak_for_it(tmp_path: Path) -> None:
    """As curl does for a shell script, even when it has left its parent and its session."""
    code = """
        import subprocess
        child = "import http.client, os, sys; os.fork() and os._exit(0); os.setsid(); "
        child += "c = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API']); "
        child += "c.request('POST', sys.argv[1], '\\"from a child\\"'); print(c.getresponse().status, flush=True)"
        request_id, _ = take()
        path = "/2018-06-01/runtime/invocation/" + request_id + "/response"
        subprocess.run([sys.executable, "-c", child, path])
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            if not any("memory" in found.controllers for found in Limits.find("probe").hierarchies):
                pytest.skip("without a cgroup a process that has left its parent belongs to nobody")
            assert (await bench.run({})).payload == b'"from a child"'

    asyncio.run(scenario())


def test_one_over_its_memory_ends_in_lambdas_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, "request_id, _ = take(); kept = bytearray(400 * 1048576); answer(request_id, 1)")
        async with provided(tmp_path, memory_mb=128) as bench:
            with pytest.raises(InstanceDied) as died:
                await bench.run({})
            assert died.value.error_type == "Runtime.OutOfMemory"

    asyncio.run(scenario())


def test_without_cgroups_the_watchdog_sees_one_over_its_memory(tmp_path: Path) -> None:
    code = "request_id, _ = take(); kept = bytearray(b'x') * (400 * 1048576); time.sleep(60)"

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path, memory_mb=128, cgroups=False) as bench:
            with pytest.raises(InstanceDied) as died:
                await bench.run({})
            assert died.value.error_type == "Runtime.OutOfMemory"

    asyncio.run(scenario())


def test_what_a_runtime_has_started_ends_with_it(tmp_path: Path) -> None:
    code = """
        import subprocess
        request_id, _ = take()
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        answer(request_id, child.pid)
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            child = json.loads((await bench.run({}, instance)).payload)
            assert is_running(child)
            instance.kill()
            await until(lambda: not is_running(child) and not is_running(instance.pid))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"\x00" * 1000,
    ],
    ids=["nonsense", "negative length", "long head", "zeros"],
)
def test_a_runtime_that_speaks_no_http_harms_nobody_and_may_go_on(tmp_path: Path, said: bytes) -> None:
    code = f"""
        import socket
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        request_id, _ = take()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall({said!r})
            status = connection.recv(100).split()[1:2]
        answer(request_id, status and int(status[0]))
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            assert json.loads((await bench.run({})).payload) in (400, 431)

    asyncio.run(scenario())


def test_a_runtime_that_opens_too_many_connections_loses_the_last_and_serves_on(tmp_path: Path) -> None:
    code = """
        import socket
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        request_id, _ = take()
        kept = [socket.create_connection((host, int(port))) for _ in range(64)]
        last_is_closed = kept[-1].recv(1) == b""
        for one in kept: one.close()
        while True:
            try: answer(request_id, last_is_closed); break
            except OSError: time.sleep(0.02)
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            assert (await bench.run({})).payload == b"true"

    asyncio.run(scenario())


def test_the_zygotes_end_leaves_a_running_invocation_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, ECHO.replace("time.sleep(60)", "time.sleep(0.3)"))
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            if not instance.enclosure.limits_memory:
                pytest.skip("without a cgroup an instance ends with its zygote")
            running = asyncio.ensure_future(bench.run("hang", instance, request_id="running"))
            await until(lambda: "hangs" in bench.lines("running"))
            os.kill(bench.launcher.zygote_pid, signal.SIGKILL)
            assert (await running).payload == b'"hang"'
            await until(lambda: bool(bench.deaths))
            instance.kill()
            await instance.wait_ended()

    asyncio.run(scenario())


def test_the_interpreter_of_these_tests_is_the_runtimes(tmp_path: Path) -> None:
    """`python` means the one Peaker runs in, where that is a virtual environment."""
    if sys.prefix == sys.base_prefix:
        pytest.skip("Peaker runs outside a virtual environment here")

    async def scenario() -> None:
        (tmp_path / "main.py").write_text("import sys; print(sys.prefix, flush=True); sys.exit(1)")
        async with provided(tmp_path, command=("python", "main.py")) as bench:
            with pytest.raises(Exception, match="exit status 1"):
                await bench.fork()
            await until(lambda: bench.lines() == [sys.prefix])

    asyncio.run(scenario())
