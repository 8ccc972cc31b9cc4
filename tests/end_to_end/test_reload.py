"""`peaker reload`, SIGHUP and `peaker run --take-over` under load, with clients that never try again.

Each client keeps its connection; the load is three times what the workers hold, so that spilled requests are in flight
all the time (tests/apps/versioned_project.py says which version of the code answered).
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from versioned_project import make_project, ran, version_of, versions_by_connection, write_version

from peaker.engines.local.state_dir import read_run
from peaker.functions.credentials import load_or_create_key
from peaker.testing.faults import Checker, kill
from peaker.testing.running import PeakerRun, is_alive, until
from peaker.wire.sigv4 import sign


def generation_of(run: PeakerRun) -> int:
    record = read_run(run.state)
    assert record is not None
    return record.generation


ALL_PLACES = ("server", "sibling", "function")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    with PeakerRun(make_project(tmp_path_factory.mktemp("reload"))) as run:
        yield run


def load(run: PeakerRun, clients: int = 24) -> Checker:
    return Checker(run.app_url, lambda name: f"/work?id={name}", clients=clients)


async def answered_by(client: Checker, version: str) -> None:
    """Servers and functions have both answered with this version."""
    await client.until(
        lambda: (
            {"server", "function"} <= {ran(one) for one in client.outcomes if version_of(one) == version and one.status}
        )
    )


def test_a_reload_under_load_loses_no_request_and_mixes_no_versions(shop: PeakerRun) -> None:
    async def main() -> None:
        before = shop.pids()
        async with load(shop) as client:
            await answered_by(client, "11")
            write_version(shop.directory, "2")
            reply = await asyncio.to_thread(shop.command_json, "reload")
            ended_s = time.monotonic()
            assert reply == {"generation": 2, "before": 1, "old_is_gone": True}
            await answered_by(client, "22")
            await client.answers(60)
        assert client.failed == []
        assert {version_of(one) for one in client.outcomes} == {"11", "22"}
        assert {version_of(one) for one in client.outcomes if one.sent_s > ended_s} == {"22"}
        by_connection = versions_by_connection(client.outcomes, places=ALL_PLACES)
        assert all(len(versions) == 1 for versions in by_connection.values())
        assert not any(is_alive(pid) for pid in before.values())

    asyncio.run(main())
    assert shop.status()["generation"] == 2
    done = shop.command("invoke", "version")
    assert '"22"' in done.stdout


class Invoker:
    """Signed invocations one after another on a connection that is kept, each sent once."""

    def __init__(self, run: PeakerRun) -> None:
        self._endpoint = run.status()["lambda_endpoint"].removeprefix("http://")
        self._key = load_or_create_key(run.state.credentials)
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._invoke)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _invoke(self) -> None:
        connection = http.client.HTTPConnection(self._endpoint, timeout=30)
        target = "/2015-03-31/functions/version/invocations"
        while not self._stopping.is_set():
            signed = sign(
                self._key, method="POST", target=target, headers=[("host", self._endpoint)], body=b"{}",
                region="us-east-1", epoch_s=time.time(),
            )  # fmt: skip
            try:
                connection.request("POST", target, body=b"{}", headers={**dict(signed), "host": self._endpoint})
                answer = connection.getresponse()
                self.answers.append(answer.read().decode())
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()


def test_direct_invocations_go_on_while_the_function_host_is_replaced(shop: PeakerRun) -> None:
    with Invoker(shop) as first, Invoker(shop) as second:
        until(lambda: len(first.answers) > 20 and len(second.answers) > 20, 30)
        write_version(shop.directory, "3")
        assert shop.command("reload").returncode == 0
        until(lambda: first.answers[-1:] == second.answers[-1:] == ['"33"'], 30)
    for one in (first, second):
        assert one.failures == []
        assert set(one.answers) <= {'"22"', '"33"'}
        assert one.answers == sorted(one.answers)  # Never back to the old version.


def test_code_that_does_not_import_leaves_the_old_generation_and_says_why(shop: PeakerRun) -> None:
    async def main() -> None:
        before, generation = shop.pids(), generation_of(shop)
        version = (await one_answer(shop)).split()[0]
        async with load(shop, clients=4) as client:
            (shop.directory / "part.py").write_text("VERSION = undefined_name\n")
            done = await asyncio.to_thread(shop.command, "reload")
            assert done.returncode == 1
            assert "'shop:app' does not import: NameError: name 'undefined_name' is not defined" in done.stderr
            assert "part.py:1 VERSION = undefined_name" in done.stderr
            await client.answers(20)
        write_version(shop.directory, version[0])
        assert client.failed == []
        assert {version_of(one) for one in client.outcomes} == {version}
        assert shop.pids() == before
        assert generation_of(shop) == generation

    asyncio.run(main())


def test_code_that_imports_and_does_not_start_leaves_the_old_generation(shop: PeakerRun) -> None:
    async def main() -> None:
        generation = generation_of(shop)
        version = (await one_answer(shop)).split()[0]
        text = (shop.directory / "shop.py").read_text()
        async with load(shop, clients=4) as client:
            failing = 'await receive()\n        await send({"type": "lifespan.startup.failed", "message": "no cellar"})'
            start = text.replace('if scope["type"] != "http":\n', f'if scope["type"] != "http":\n        {failing}\n')
            (shop.directory / "shop.py").write_text(start)
            done = await asyncio.to_thread(shop.command, "reload")
            assert done.returncode == 1
            assert "no cellar" in done.stderr
            await client.answers(20)
        write_version(shop.directory, version[0])
        assert client.failed == []
        assert {version_of(one) for one in client.outcomes} == {version}
        await asyncio.to_thread(shop.wait_settled)
        assert generation_of(shop) == generation

    asyncio.run(main())


def test_settings_that_cannot_change_are_refused_by_name_and_others_are_taken(shop: PeakerRun) -> None:
    text = (shop.directory / "peaker.toml").read_text()
    try:
        (shop.directory / "peaker.toml").write_text(text.replace("127.0.0.1:0", "127.0.0.1:1").replace("2\n", "3\n", 1))
        done = shop.command("reload")
        assert done.returncode == 1
        assert "a reload cannot change: app.listen, servers.workers." in done.stderr
        (shop.directory / "peaker.toml").write_text(text.replace("in_flight_max = 4", "in_flight_max = 5"))
        assert shop.command("reload").returncode == 0
        assert {worker["slots"] for worker in shop.status()["workers"]} == {5}
    finally:
        (shop.directory / "peaker.toml").write_text(text)


def test_sighup_reloads(shop: PeakerRun) -> None:
    async def main() -> None:
        generation = generation_of(shop)
        async with load(shop, clients=8) as client:
            await client.answers(20)
            write_version(shop.directory, "4")
            shop.send(signal.SIGHUP)
            await asyncio.to_thread(until, lambda: generation_of(shop) > generation, 60)
            await client.until(lambda: version_of(client.outcomes[-1]) == "44")
            await asyncio.to_thread(shop.wait_settled)
        assert client.failed == []

    asyncio.run(main())


def test_a_worker_restarted_with_changed_code_spills_to_no_function_of_the_old_code(shop: PeakerRun) -> None:
    """A crash between a deployment and its reload: the new worker's hash is not the function's, so it serves alone."""

    async def main() -> None:
        old = (await one_answer(shop)).split()[0]
        write_version(shop.directory, "5")
        victim = next(pid for name, pid in shop.pids().items() if name.startswith("worker"))
        kill(victim)
        await asyncio.to_thread(until, lambda: victim not in shop.pids().values(), 30)
        await asyncio.to_thread(shop.wait_settled)
        async with load(shop) as client:
            await client.until(lambda: {old, "55"} <= {version_of(one) for one in client.outcomes})
            await client.answers(150)
        assert client.failed == []
        by_connection = versions_by_connection(client.outcomes, places=("server", "function"))
        assert all(len(versions) == 1 for versions in by_connection.values())
        assert {version_of(one) for one in client.outcomes if ran(one) == "function"} <= {old}
        assert (await asyncio.to_thread(shop.command, "reload")).returncode == 0
        async with load(shop) as client:
            await answered_by(client, "55")
        assert client.failed == []

    asyncio.run(main())


def test_a_live_supervisor_is_replaced_under_load_and_its_heir_reloads(shop: PeakerRun) -> None:
    async def main() -> None:
        before = shop.pids()
        heir = PeakerRun(shop.directory, "--take-over")
        try:
            async with load(shop) as client:
                await client.answers(60)
                await asyncio.to_thread(heir.start)
                assert await asyncio.to_thread(shop.wait) == 0
                await asyncio.to_thread(heir.wait_ready)
                assert shop.pids() == before
                await client.answers(60)
                write_version(shop.directory, "6")
                assert (await asyncio.to_thread(heir.command, "reload")).returncode == 0
                await answered_by(client, "66")
            assert client.failed == []
        finally:
            await asyncio.to_thread(heir.stop)
        assert f"pid {heir.supervisor_pid} has taken over" in shop.errors
        assert not any(is_alive(pid) for pid in before.values())
        shop.start()
        await asyncio.to_thread(shop.wait_ready)

    asyncio.run(main())


def test_a_directory_of_a_later_schema_is_not_taken_over_and_nothing_happens_to_what_runs(shop: PeakerRun) -> None:
    schema = shop.state.schema.read_text()
    before = shop.pids()
    try:
        shop.state.schema.write_text('{"schema": 99, "peaker": "9.0.0"}')
        done = subprocess.run(
            ["python", "-m", "peaker", "run", "--take-over"],
            cwd=shop.directory, env=os.environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "the directory is of schema 99, written by Peaker 9.0.0" in done.stderr
        assert "Use that version" in done.stderr
    finally:
        shop.state.schema.write_text(schema)
    assert shop.pids() == before
    shop.wait_settled()


async def one_answer(run: PeakerRun) -> str:
    async with Checker(run.app_url, lambda name: f"/work?id={name}", clients=1, requests_max=1) as client:
        await client.answers(1)
    return client.outcomes[0].body.decode()


def test_a_plain_run_beside_a_live_supervisor_names_the_ways(shop: PeakerRun) -> None:
    done = shop.command("run")
    assert done.returncode == 1
    assert "`peaker run --take-over` replaces it" in done.stderr
    assert Path(shop.state.run).exists()
