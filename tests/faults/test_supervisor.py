"""The supervisor with real processes that do nothing but keep its contract (tests/apps/stand_in.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peaker.clock import SystemClock
from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable, Status
from peaker.engines.local.child import Child
from peaker.engines.local.report import report
from peaker.engines.local.state_dir import LockedState, read_run, started_ticks
from peaker.engines.local.stop import stop_orphans
from peaker.engines.local.supervisor import Supervisor
from peaker.errors import AppStartError, CapacityUnavailable, ListenError, StateError
from peaker.interfaces import ServerStatus
from peaker.policy.supervision import Kind
from peaker.settings import AppSection, FunctionSection, ServersSection, Settings
from peaker.state import StateDirectory

STAND_INS = dict.fromkeys(Kind, "stand_in")
DEADLINE_S = 20.0


class Place:
    """A project directory, the settings of its app, and how its stand-ins are to behave."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = StateDirectory(root / "state")
        self.script = root / "behaviour.json"

    def behave(self, **behaviour: str) -> None:
        self.script.write_text(json.dumps({name.replace("_", "-"): how for name, how in behaviour.items()}))

    def settings(self, **servers: object) -> Settings:
        chosen = {"workers": 1, "count_max": 3, "drain_s_max": 1.0, "drain_idle_s": 0.0, "orphan_s_max": 5.0}
        return Settings(
            app=AppSection(name="shop", web="shop:app", listen="127.0.0.1:0"),
            servers=ServersSection(**{**chosen, **servers}),
            function=(FunctionSection(name="thumbnail", handler="shop:thumbnail"),),
            env={"PYTHONPATH": str(Path(__file__).parents[1] / "apps"), "STAND_IN": str(self.script)},
            directory=str(self.root),
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def within_deadline(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await main()

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def running(place: Place, settings: Settings) -> AsyncIterator[Supervisor]:
    locked = LockedState(place.state.root)
    supervisor = await Supervisor.open(locked, settings, SystemClock(), STAND_INS)
    run = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        if not run.done():
            supervisor.stop()
        await asyncio.wait([run])
        locked.close()
        failure = run.exception()
    if failure is not None:
        raise failure


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited on happens in other processes
        await asyncio.sleep(0.005)


def pid_of(supervisor: Supervisor, name: str) -> int:
    return next((member.child.pid for member in supervisor.members if member.name == name), 0)


async def ask(url: str) -> str:
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = await reader.read()
    writer.close()
    return answer.decode().strip()


def test_everything_is_started_recorded_and_stopped_in_order(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings(workers=2)) as supervisor:
            await supervisor.settled()
            names = [member.name for member in supervisor.members]
            assert names == ["host", "events", "control", "worker-0", "worker-1"]
            record = read_run(place.state)
            assert record is not None
            assert [process.pid for process in record.processes] == [m.child.pid for m in supervisor.members]
            assert (await ask(supervisor.urls[0])).startswith("worker-")
            ends: list[str] = []
            for member in supervisor.members:
                watched = Child.adopt(member.child.pid)
                watched.watch(lambda name=member.name: ends.append(name))
        assert set(ends[:2]) == {"worker-0", "worker-1"}
        assert ends[2:] == ["events", "host", "control"]
        assert read_run(place.state).processes == ()
        assert not place.state.sockets.exists() or list(place.state.sockets.iterdir()) == []

    within_deadline(main)


def test_a_dead_worker_is_replaced_at_once_and_its_counts_are_kept(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            await supervisor.settled()
            await ask(supervisor.urls[0])
            first = pid_of(supervisor, "worker-0")
            os.kill(first, signal.SIGKILL)
            await until(lambda: pid_of(supervisor, "worker-0") not in (0, first) and supervisor.is_settled)
            assert await ask(supervisor.urls[0]) == f"worker-0 {pid_of(supervisor, 'worker-0')}"
            assert supervisor.rows.usage().counters["requests"] == 2

    within_deadline(main)


@pytest.mark.parametrize("name", ["host", "events", "control"])
def test_host_and_control_are_started_again_under_the_same_address(place: Place, name: str) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            await supervisor.settled()
            urls, first = supervisor.urls, pid_of(supervisor, name)
            os.kill(first, signal.SIGKILL)
            await until(lambda: pid_of(supervisor, name) not in (0, first) and supervisor.is_settled)
            assert supervisor.urls == urls

    within_deadline(main)


def test_a_worker_that_keeps_dying_at_start_backs_off_and_says_why(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            await supervisor.settled()
            place.behave(worker_0="fail")
            os.kill(pid_of(supervisor, "worker-0"), signal.SIGKILL)
            await until(lambda: sum("No module named 'shop'" in text for text in caplog.messages) >= 2)
            said = [text for text in caplog.messages if text.startswith("worker-0 (pid")]
            assert "died by SIGKILL; started again at once" in said[0]
            assert "exited with status 2: 'shop:app' does not import" in said[1]
            assert said[1].endswith("started again in 0.5 s (death 2 in a row)")
            assert said[2].endswith("started again in 1 s (death 3 in a row)")
            place.behave()
            await until(lambda: supervisor.is_settled)

    within_deadline(main)


def test_an_app_that_does_not_start_at_all_ends_the_run_with_its_error(place: Place) -> None:
    async def main() -> None:
        place.behave(worker_0="fail")
        with pytest.raises(AppStartError, match="worker-0: 'shop:app' does not import") as caught:
            async with running(place, place.settings()) as supervisor:
                await supervisor.settled()
        assert caught.value.exit_code == 2

    within_deadline(main)


def test_a_process_that_ends_at_start_without_a_word_ends_the_run_after_some_tries(place: Place) -> None:
    async def main() -> None:
        place.behave(worker_0="die")
        with pytest.raises(AppStartError, match="worker-0: it exited with status 3 3 times in a row"):
            async with running(place, place.settings()) as supervisor:
                await supervisor.settled()

    within_deadline(main)


def test_a_process_that_does_not_get_ready_in_time_is_killed(place: Place) -> None:
    async def main() -> None:
        place.behave(worker_0="hang")
        settings = place.settings(start_s_max=1.0)
        with pytest.raises(AppStartError, match=r"did not start within servers\.start_s_max = 1 s"):
            async with running(place, settings) as supervisor:
                await supervisor.settled()

    within_deadline(main)


def test_a_process_that_does_not_drain_is_killed_and_a_second_stop_does_not_wait(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings(drain_s_max=900)) as supervisor:
            await supervisor.settled()
            place.behave(worker_1="hang")
            await supervisor.set_server_count(2)
            await until(lambda: pid_of(supervisor, "worker-1") != 0)
            hanging = next(member for member in supervisor.members if member.name == "worker-1")
            await until(lambda: hanging.is_connected)
            supervisor.stop()
            await until(lambda: pid_of(supervisor, "worker-0") == 0)
            assert not hanging.child.has_exited  # It ignores SIGTERM, and 900 s are not over.
            supervisor.stop()
            await until(lambda: hanging.child.has_exited)
            assert hanging.child.exit_status == -signal.SIGKILL

    within_deadline(main)


def test_servers_are_added_and_drained_within_the_range(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings(workers=2)) as supervisor:
            client = await ControlClient.connect(place.state.supervisor_socket)
            assert (await client.command("scale", servers=3))["servers"] == 3
            servers = await supervisor.servers()
            assert [(server.name, server.status) for server in servers] == [
                (f"server-{number}", ServerStatus.READY) for number in (1, 2, 3)
            ]
            assert (await client.command("scale", servers=1)) | {"id": 0} == {
                "ok": True, "id": 0, "servers": 1, "before": 3,
            }  # fmt: skip
            assert [m.name for m in supervisor.members] == ["host", "events", "control", "worker-0", "worker-1"]
            for wrong in (0, 4):
                with pytest.raises(CapacityUnavailable, match=f"servers = {wrong} is not allowed; allowed: 1 to 3"):
                    await supervisor.set_server_count(wrong)
            with pytest.raises(CommandRefused, match="not a whole number"):
                await client.command("scale", servers="many")
            client.close()

    within_deadline(main)


def test_a_second_supervisor_of_the_same_app_is_refused_with_the_pid_of_the_first(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            with pytest.raises(StateError, match=rf"running this app already \(pid {os.getpid()}\)"):
                LockedState(place.state.root)
            await supervisor.settled()

    within_deadline(main)


async def abandon(run: asyncio.Task[None], locked: LockedState) -> None:
    """What remains of a supervisor that was killed: nothing but its children and the files."""
    run.cancel()
    await asyncio.wait([run])
    locked.close()


async def start_and_abandon(place: Place, settings: Settings) -> tuple[dict[str, int], tuple[str, str, str]]:
    locked = LockedState(place.state.root)
    supervisor = await Supervisor.open(locked, settings, SystemClock(), STAND_INS)
    run = asyncio.create_task(supervisor.run())
    await supervisor.settled()
    pids = {member.name: member.child.pid for member in supervisor.members}
    urls = supervisor.urls
    await abandon(run, locked)
    return pids, urls


def test_a_new_supervisor_takes_over_processes_sockets_generation_and_count(place: Place) -> None:
    async def main() -> None:
        settings = place.settings(workers=2)
        pids, urls = await start_and_abandon(place, settings)
        answered = await ask(urls[0])
        async with running(place, settings) as supervisor:
            await supervisor.settled()
            assert supervisor.took_over
            assert {member.name: member.child.pid for member in supervisor.members} == pids
            assert supervisor.urls == urls
            assert supervisor.launch.generation == 1
            assert (await ask(urls[0])).split()[0][:6] == answered.split()[0][:6] == "worker"
            assert supervisor.rows.usage().counters["requests"] == 2
            # Adopted processes are watched and replaced like its own.
            os.kill(pids["worker-1"], signal.SIGKILL)
            await until(lambda: pid_of(supervisor, "worker-1") not in (0, pids["worker-1"]) and supervisor.is_settled)
        assert all(started_ticks(pid) is None for pid in pids.values())

    within_deadline(main)


def test_what_died_without_a_supervisor_is_replaced_at_the_take_over(place: Place) -> None:
    async def main() -> None:
        settings = place.settings(workers=2)
        pids, urls = await start_and_abandon(place, settings)
        for _ in range(6):
            await ask(urls[0])
        os.kill(pids["worker-0"], signal.SIGKILL)
        os.kill(pids["control"], signal.SIGKILL)
        await until(lambda: started_ticks(pids["worker-0"]) is None and started_ticks(pids["control"]) is None)
        async with running(place, settings) as supervisor:
            await supervisor.settled()
            assert pid_of(supervisor, "worker-1") == pids["worker-1"]
            assert pid_of(supervisor, "worker-0") != pids["worker-0"]
            assert supervisor.rows.usage().counters["requests"] == 6
            assert supervisor.urls[0] == urls[0]

    within_deadline(main)


def test_a_take_over_with_other_settings_is_refused_and_names_them(place: Place) -> None:
    async def main() -> None:
        pids, _ = await start_and_abandon(place, place.settings())
        locked = LockedState(place.state.root)
        try:
            with pytest.raises(StateError, match=r"different: servers\.queue_max\.") as caught:
                await Supervisor.open(locked, place.settings(queue_max=7), SystemClock(), STAND_INS)
            assert "peaker stop" in str(caught.value)
            assert await stop_orphans(locked, SystemClock()) == len(pids)
        finally:
            locked.close()
        async with running(place, place.settings(queue_max=7)) as supervisor:
            await supervisor.settled()
            assert supervisor.launch.generation == 2
            assert [path.name for path in place.state.root.glob("generation-*")] == ["generation-2.json"]

    within_deadline(main)


def test_orphans_drain_when_no_supervisor_comes(place: Place) -> None:
    async def main() -> None:
        pids, _ = await start_and_abandon(place, place.settings(orphan_s_max=0.2))
        await until(lambda: all(started_ticks(pid) is None for pid in pids.values()))

    within_deadline(main)


def test_status_is_read_from_the_state_directory_with_and_without_a_supervisor(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            await supervisor.settled()
            await ask(supervisor.urls[0])
            found = await report(place.state, SystemClock())
            assert found["status"] == "ready"
            assert found["app_url"] == supervisor.urls[0]
            assert found["supervisor"] == {"pid": os.getpid(), "alive": True}
            assert found["host"] == {"pid": pid_of(supervisor, "host"), "status": Status.READY.value}
            assert [(w["name"], w["pid"], w["status"]) for w in found["workers"]] == [
                ("worker-0", pid_of(supervisor, "worker-0"), "ready")
            ]
            assert found["usage"]["requests"] == 1
            json.dumps(found)
        found = await report(place.state, SystemClock())
        assert (found["status"], found["workers"]) == ("stopped", [])

    within_deadline(main)


def test_a_stopped_app_refuses_connections(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            await supervisor.settled()
            url = supervisor.urls[0]
        with pytest.raises(ConnectionRefusedError):
            await ask(url)
        with pytest.raises(ControlUnavailable):
            await ControlClient.connect(place.state.supervisor_socket)

    within_deadline(main)


def test_a_taken_port_names_who_has_it(place: Place) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            settings = place.settings()
            settings = replace(settings, app=replace(settings.app, listen=f"127.0.0.1:{port}"))
            with pytest.raises(ListenError, match=rf"port {port} is in use by .*\(pid {os.getpid()}\)"):
                async with running(place, settings):
                    pass

    within_deadline(main)
