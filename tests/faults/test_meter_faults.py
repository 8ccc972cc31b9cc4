"""SIGKILL of workers, host, control and supervisor under load: no total falls, only what was in flight is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from peaker.meter.function_usage import open_function_table, read_functions
from peaker.meter.usage import open_usage_table, read_usage
from peaker.meter.work import WorkHistory, open_work_table
from peaker.testing.faults import Checker, kill
from peaker.testing.running import PeakerRun, until

APPS = Path(__file__).parents[1] / "apps"
CLIENTS = 16
DIRECT = 20
SETTINGS = f"""
[app]
name = "metered"
web = "traced_app:app"
spill = true
listen = "127.0.0.1:0"
placement_header = true

[servers]
workers = 2
in_flight_max = 3
queue_wait_s_max = 10
drain_idle_s = 0.2

[functions]
concurrency_max = 30

[env]
PYTHONPATH = "{APPS}"
TRACE_FILE = "{{trace}}"

[[route]]
path = "/work"
placement = "hybrid"

[[function]]
name = "echo"
handler = "handlers:echo"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    directory = tmp_path_factory.mktemp("metered")
    (directory / "peaker.toml").write_text(SETTINGS.format(trace=directory / "trace"))
    with PeakerRun(directory) as running:
        yield running


def totals(run: PeakerRun) -> dict[str, float]:
    """Everything that may only grow, straight from the tables and the book."""
    usage, functions = open_usage_table(run.state.usage), open_function_table(run.state.function_usage)
    work = open_work_table(run.state.work)
    try:
        counted: dict[str, float] = dict(read_usage(usage).counters)
        for row in read_functions(functions):
            counted[f"{row.name} {row.caller.name} invocations"] = row.invocations
            counted[f"{row.name} {row.caller.name} billed"] = row.billed_mb_ms
        counted["windows"] = WorkHistory(work).peaks().windows
        return counted
    finally:
        for table in (usage, functions, work):
            table.close()


async def watch(run: PeakerRun, stop: asyncio.Event, falls: list[str]) -> None:
    """Look every 10 ms; whatever is less than it was is a fall."""
    before = totals(run)
    while not stop.is_set():
        now = await asyncio.to_thread(totals, run)
        falls += [f"{name}: {before[name]} -> {now.get(name)}" for name in before if now.get(name, 0) < before[name]]
        before = now
        await asyncio.sleep(0.01)


def client(run: PeakerRun) -> Checker:
    return Checker(run.app_url, lambda name: f"/work?id={name}&ms=30", clients=CLIENTS)


async def kill_and_settle(run: PeakerRun, load: Checker, name: str) -> None:
    pid = run.pids()[name]
    kill(pid)
    await load.answers(80)
    await asyncio.to_thread(until, lambda: run.pids().get(name, pid) != pid, 30)
    await asyncio.to_thread(run.wait_settled)
    await load.answers(80)


async def take_over(run: PeakerRun, load: Checker) -> None:
    """Kill the supervisor; another takes everything over."""
    kill(run.supervisor_pid)
    await asyncio.to_thread(run.wait)
    await load.answers(40)
    run.start()
    await asyncio.to_thread(run.wait_ready)
    await load.answers(40)


def invoke_directly(run: PeakerRun) -> None:
    found = run.status()
    secrets = dict(
        line.split(" = ")
        for line in Path(found["aws_shared_credentials_file"]).read_text().splitlines()
        if " = " in line
    )
    lambda_client = boto3.client(
        "lambda",
        endpoint_url=found["lambda_endpoint"],
        region_name="us-east-1",
        aws_access_key_id=secrets["aws_access_key_id"],
        aws_secret_access_key=secrets["aws_secret_access_key"],
    )
    for _ in range(DIRECT):
        assert lambda_client.invoke(FunctionName="echo", Payload=b"{}")["StatusCode"] == 200
    lambda_client.close()


def test_totals_survive_the_death_of_whoever_counts_them(run: PeakerRun) -> None:
    """1. Load that spills, and direct calls. 2. A worker, the host, control and the supervisor are killed in turn.

    3. Nothing has ever fallen. 4. Of the answers that were given, only such are missing as the killed worker had not
    published: of each client at most one. 5. Every answer of a function was counted before it was given. 6. What the
    day has cost is what the function host has counted.
    """
    falls: list[str] = []

    async def main() -> Checker:
        stop = asyncio.Event()
        watching = asyncio.create_task(watch(run, stop, falls))
        async with client(run) as load:
            await load.until(lambda: any(one.headers.get("x-peaker-ran") == "function" for one in load.outcomes))
            await asyncio.to_thread(invoke_directly, run)
            for name in ("worker-0", "host", "control"):
                await kill_and_settle(run, load, name)
            await take_over(run, load)
        stop.set()
        await watching
        return load

    load = asyncio.run(main())
    assert falls == []
    answered = [one for one in load.outcomes if one.status == 200]
    on_function = sum(one.headers.get("x-peaker-ran") == "function" for one in answered)
    until(lambda: totals(run)["requests"] >= len(answered) - CLIENTS, 5)
    found = totals(run)
    assert found["metered-web GATE invocations"] >= on_function > 0
    assert found["metered-web GATE invocations"] <= on_function + CLIENTS * 3, "and no run was counted twice"
    assert found["echo DIRECT invocations"] == DIRECT
    status = run.settle(lambda now: now["spend"]["today_usd"] >= sum(one["usd"] for one in now["functions"]) - 1e-6)
    assert status["spend"]["today_usd"] == pytest.approx(sum(one["usd"] for one in status["functions"]), abs=2e-6)


def test_servers_are_paid_for_through_all_of_it(run: PeakerRun) -> None:
    """The killed worker's server is one launch, and its time has gone on without a gap."""
    kept = json.loads(run.state.meter.read_text())["servers"]
    assert kept["launches"] == 1
    assert kept["past_s"] == 0
    cost = run.command_json("status")["cost"]
    table = open_usage_table(run.state.usage)
    began_s = table.made_ns / 1e9
    table.close()
    assert abs(kept["launched_epoch_s"]["1"] - began_s) < 30
    servers = cost["lines"][0]
    assert servers["item"] == "ec2.c7g.large"
    assert servers["quantity"] * 3600 >= max(60, cost["run_s"] - 30)
