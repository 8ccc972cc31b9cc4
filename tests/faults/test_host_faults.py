"""The function host when things die, callers leave, or nobody watches it; all with real processes and real kills."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peaker.errors import DeadlineExceeded, FunctionCrashed, PeakerError, Throttled
from peaker.gate.spill import InvokeClient
from peaker.http1 import Address
from peaker.messages import Invocation, Reply
from peaker.settings import (
    AppSection,
    FunctionSection,
    FunctionsSection,
    ResourceSection,
    ServersSection,
    Settings,
)
from peaker.testing.hosts import RunningHost

APPS = str(Path(__file__).parents[1] / "apps")
DEADLINE_S = 20.0


def settings_with(
    *,
    handler: str = "handlers:misbehave",
    servers: dict[str, Any] | None = None,
    resource: tuple[ResourceSection, ...] = (),
    **functions: Any,
) -> Settings:
    return Settings(
        app=AppSection(name="faults"),
        servers=ServersSection(**{"drain_s_max": 5.0, **(servers or {})}),
        functions=FunctionsSection(**{"memory_mb": 128, "timeout_s": 10.0, **functions}),
        function=(FunctionSection(name="f", handler=handler),),
        resource=resource,
        directory=APPS,
    )


@asynccontextmanager
async def caller(host: RunningHost) -> AsyncIterator[InvokeClient]:
    client = InvokeClient(Address(unix=host.state.invoke_socket))
    try:
        yield client
    finally:
        client.close()
        await asyncio.sleep(0)  # Transports close in the loop's next turn.


async def invoke(client: InvokeClient, request_id: str = "r", timeout_s: float = DEADLINE_S, **event: Any) -> Reply:
    payload = json.dumps({"do": "print", "text": "hi", **event}).encode()
    return await client.invoke(Invocation(function="f", payload=payload, request_id=request_id, timeout_s=timeout_s))


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for what another process does; raises TimeoutError."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await asyncio.to_thread(condition)):  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.01)
    return found


def hosted(**settings: Any) -> Callable[[Callable[[RunningHost], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Run an async test with a host of these settings."""

    def decorate(test: Callable[[RunningHost], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def run() -> None:
            with RunningHost(settings_with(**settings)) as host:
                asyncio.run(test(host))

        run.__name__ = test.__name__
        return run

    return decorate


def instances_of(host: RunningHost) -> list[int]:
    """Processes forked for requests or as spares: all that the zygote forked but the copy that is parked."""
    function = host.function("f")
    return [pid for pid in children_of(function["zygote_pid"]) if pid != function["parked_pid"]]


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def groups_of(host_pid: int) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/peaker-faults-*-{host_pid}"))


def cpu_ticks(pid: int) -> int:
    return sum(int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@hosted()
async def test_a_killed_zygote_costs_no_invocation(host: RunningHost) -> None:
    async with caller(host) as client:
        running = asyncio.ensure_future(invoke(client, do="sleep", s=1.0))
        await until(lambda: host.function("f")["instances"]["busy"])
        zygote_pid = host.function("f")["zygote_pid"]
        os.kill(zygote_pid, signal.SIGKILL)
        # These need new instances, so they wait for the new zygote.
        waited = await asyncio.gather(*(invoke(client) for _ in range(5)))
        assert [reply.payload for reply in waited] == [b'"printed"'] * 5
        assert (await running).payload == b'"slept"'
        assert host.function("f")["zygote_pid"] not in (0, zygote_pid)


@hosted(buffer=1)
async def test_a_killed_host_leaves_nothing_behind_and_starts_again_in_its_place(host: RunningHost) -> None:
    assert host.process is not None
    async with caller(host) as client:
        running = asyncio.ensure_future(invoke(client, do="sleep", s=30))
        await until(lambda: host.function("f")["instances"]["busy"])
        zygote_pid = host.function("f")["zygote_pid"]
        left = [zygote_pid, *children_of(zygote_pid)]
        assert len(left) >= 2
        groups = groups_of(host.process.pid)
        os.kill(host.process.pid, signal.SIGKILL)
        host.process.wait()
        with pytest.raises(FunctionCrashed):
            await running
        await until(lambda: all(is_gone(pid) for pid in left))
        assert host.state.invoke_socket.exists()  # Stale: nobody listens.
        await asyncio.to_thread(host.start)
        await asyncio.to_thread(host.wait_until_ready)
        assert (await invoke(client)).payload == b'"printed"'
        assert not any(group.exists() for group in groups)
        assert len(list(host.state.scratch.iterdir())) == 1  # that of the host that lives


@hosted(starts_in_flight_max=1, handler="slow_start:handler")
async def test_a_caller_that_leaves_while_it_waits_costs_no_invocation(host: RunningHost) -> None:
    async with caller(host) as client:
        # Caller and host count the same 50 ms: whichever is first tells.
        with pytest.raises((DeadlineExceeded, Throttled)):
            await invoke(client, "left-early", timeout_s=0.05)
        await invoke(client, "stayed")
        await until(lambda: "REPORT RequestId: stayed" in host.log_text())
        assert "left-early" not in host.log_text()
        assert host.function("f")["totals"]["started"] == 1  # The start made for the first served the second.


@hosted()
async def test_a_caller_that_leaves_while_it_runs_is_billed_and_its_instance_used_again(host: RunningHost) -> None:
    async with caller(host) as client:
        await invoke(client)
        with pytest.raises(DeadlineExceeded):
            await invoke(client, "gone", timeout_s=0.1, do="sleep", s=0.5)
        await until(lambda: "REPORT RequestId: gone" in host.log_text())
        line = next(line for line in host.log_text().splitlines() if "REPORT RequestId: gone" in line)
        assert 500 <= int(line.partition("Billed Duration: ")[2].split()[0]) < 5000
        await invoke(client)
        assert host.function("f")["totals"] | {"instances_peak": 0} == {
            "invocations": 3, "cold_starts": 1, "started": 1, "start_failures": 0, "throttled": 0,
            "crashed": 0, "timed_out": 0, "instances_peak": 0,
        }  # fmt: skip


@hosted()
async def test_a_drain_answers_what_runs_and_exits_cleanly(host: RunningHost) -> None:
    assert host.process is not None
    async with caller(host) as client:
        running = asyncio.ensure_future(invoke(client, do="sleep", s=0.5))
        await until(lambda: host.function("f")["instances"]["busy"])
        os.kill(host.process.pid, signal.SIGTERM)
        assert (await running).payload == b'"slept"'
        assert await until(lambda: host.process is not None and host.process.poll() is not None)
        assert host.process.returncode == 0
        assert not host.state.invoke_socket.exists()
        assert not host.state.control_socket("host").exists()


@hosted(servers={"drain_s_max": 0.2})
async def test_a_drain_ends_at_its_limit_and_says_that_it_cut_something_short(host: RunningHost) -> None:
    assert host.process is not None
    async with caller(host) as client:
        running = asyncio.ensure_future(invoke(client, do="sleep", s=9))
        await until(lambda: host.function("f")["instances"]["busy"])
        os.kill(host.process.pid, signal.SIGTERM)
        with pytest.raises(FunctionCrashed):
            await running
        assert await asyncio.to_thread(host.process.wait, DEADLINE_S) == 1


def test_an_orphan_drains(tmp_path: Path) -> None:
    host = RunningHost(settings_with(servers={"orphan_s_max": 0.3}), state=tmp_path, with_events=True)
    with host:
        assert host.process is not None
        assert host.events_process is not None
        host.let_go()
        assert host.events_process.wait(DEADLINE_S) == 0
        assert host.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("handler", "words"),
    [("no_such_module:handler", "No module named 'no_such_module'"), ("handlers:absent", "absent")],
)
def test_a_handler_that_does_not_import_fails_the_start_by_name(handler: str, words: str) -> None:
    host = RunningHost(settings_with(handler=handler))
    with pytest.raises(PeakerError, match=words) as caught, host:
        raise AssertionError("it started")
    assert handler in str(caught.value)
    assert host.process is not None
    assert host.process.returncode == 3


@hosted(buffer=2, keep_alive_s=0.2)
async def test_spares_are_there_before_the_first_request_and_idle_instances_end(host: RunningHost) -> None:
    await until(lambda: host.function("f")["instances"]["spares"] == 2)
    async with caller(host) as client:
        await asyncio.gather(*(invoke(client, do="sleep", s=0.1) for _ in range(4)))
    await until(lambda: host.function("f")["instances"]["idle"] == 2)
    assert host.function("f")["totals"]["cold_starts"] <= 2
    await until(lambda: len(instances_of(host)) == 2)


@hosted(keep_alive_s=0.1)
async def test_without_spares_the_function_goes_to_zero(host: RunningHost) -> None:
    async with caller(host) as client:
        await asyncio.gather(*(invoke(client) for _ in range(4)))
    await until(lambda: instances_of(host) == [])


@hosted(
    concurrency_max=100,
    servers={"workers": 2},
    resource=(ResourceSection(name="db", connections_max=7, per_worker=2, per_instance=1),),
)
async def test_a_shared_resource_holds_instances_below_its_connections(host: RunningHost) -> None:
    async with caller(host) as client:
        calls = [invoke(client, timeout_s=1.5, do="sleep", s=1.0) for _ in range(8)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        # 7 - 2 workers x 2 = 3 at a time: three run, and the others wait until their callers leave.
        assert sum(isinstance(outcome, Reply) for outcome in outcomes) == 3
        assert all(isinstance(each, Reply | DeadlineExceeded | Throttled) for each in outcomes)
        assert len(instances_of(host)) == 3


@hosted(like="lambda", memory_mb=512)
async def test_like_lambda_starts_as_slowly_and_freezes_what_is_idle(host: RunningHost) -> None:
    async with caller(host) as client:
        begun_s = time.monotonic()
        await invoke(client, "cold-1")
        assert time.monotonic() - begun_s > 0.100  # Placement and the runtime's init, at the least.
        begun_s = time.monotonic()
        await invoke(client, "warm-1")
        assert 0.008 < time.monotonic() - begun_s < 0.100
        await until(lambda: "REPORT RequestId: warm-1" in host.log_text())
        line = next(line for line in host.log_text().splitlines() if "REPORT RequestId: cold-1" in line)
        assert 100 < float(line.partition("Init Duration: ")[2].split()[0]) < 1000
        await invoke(client, do="spin behind")
        (instance,) = children_of(host.function("f")["zygote_pid"])
        before = cpu_ticks(instance)
        await asyncio.sleep(0.3)  # What it would spend here is what is looked for.
        assert cpu_ticks(instance) - before <= 1
