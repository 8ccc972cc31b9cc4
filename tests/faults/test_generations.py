"""Reloads and hand-overs of the supervisor, with processes that do nothing but keep its contract (stand_in.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peaker.clock import SystemClock
from peaker.control_socket import CommandRefused, ControlClient
from peaker.engines.local.child import Child
from peaker.engines.local.generations import ReloadFailed, differences, require_reloadable
from peaker.engines.local.hand_over import ask_to_hand_over
from peaker.engines.local.state_dir import LockedState, read_run, started_ticks
from peaker.engines.local.supervisor import NewSettings, Supervisor
from peaker.errors import SettingsError, StateError
from peaker.policy.supervision import Kind
from peaker.settings import AppSection, FunctionSection, ResourceSection, ServersSection, Settings
from peaker.state import StateDirectory

STAND_INS = dict.fromkeys(Kind, "stand_in")
DEADLINE_S = 30.0


class Place:
    """A project directory, the settings of its app, and how its stand-ins are to behave."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = StateDirectory(root / "state")
        self.script = root / "behaviour.json"

    def behave(self, **behaviour: str) -> None:
        self.script.write_text(json.dumps({name.replace("_", "-"): how for name, how in behaviour.items()}))

    def settings(self, *, resource: tuple[ResourceSection, ...] = (), **servers: object) -> Settings:
        chosen = {"workers": 1, "count_max": 3, "drain_s_max": 1.0, "drain_idle_s": 0.0, "orphan_s_max": 10.0}
        return Settings(
            app=AppSection(name="shop", web="shop:app", listen="127.0.0.1:0"),
            servers=ServersSection(**{**chosen, **servers}),
            function=(FunctionSection(name="thumbnail", handler="shop:thumbnail"),),
            resource=resource,
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
async def running(
    place: Place, settings: Settings, new_settings: NewSettings | None = None
) -> AsyncIterator[Supervisor]:
    locked = LockedState(place.state.root)
    supervisor = await Supervisor.open(locked, settings, SystemClock(), STAND_INS, new_settings=new_settings)
    run = asyncio.create_task(supervisor.run())
    try:
        await supervisor.settled()
        yield supervisor
    finally:
        if not run.done():
            supervisor.stop()
        await asyncio.wait([run])
        locked.close()
    run.result()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited on happens in other processes
        await asyncio.sleep(0.005)


def names(supervisor: Supervisor) -> list[str]:
    return [member.name for member in supervisor.members]


def pids(supervisor: Supervisor) -> dict[str, int]:
    return {member.name: member.child.pid for member in supervisor.members}


async def ask(url: str) -> str:
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = await reader.read()
    writer.close()
    return answer.decode().strip()


def test_a_new_generation_starts_beside_the_old_which_then_drains_its_host_last(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings(workers=2)) as supervisor:
            ends: list[str] = []
            for member in supervisor.members:
                Child.adopt(member.child.pid).watch(lambda name=member.name: ends.append(name))
            old = pids(supervisor)
            together: list[list[str]] = []
            reloading = asyncio.create_task(supervisor.reload())
            while not reloading.done():
                together.append(names(supervisor))
                await asyncio.sleep(0.005)
            assert await reloading == 2
            await supervisor.settled()
            assert ["host", "events", "control", "worker-0", "worker-1", "host-2", "worker-2", "worker-3"] in together
            assert sorted(names(supervisor)) == ["control", "events", "host-2", "worker-2", "worker-3"]
            assert not set(old.values()) & set(pids(supervisor).values())
            assert ends.index("host") > max(ends.index("worker-0"), ends.index("worker-1"))
            assert {member.generation for member in supervisor.members} == {2}
            record = read_run(place.state)
            assert record is not None
            assert record.generation == 2
            assert {process.generation for process in record.processes} == {2}
            assert (await ask(supervisor.urls[0])).startswith("worker-")
            assert await supervisor.reload() == 3
            await supervisor.settled()
            assert [path.name for path in place.state.root.glob("generation-3.json")] == ["generation-3.json"]
            assert "host" in names(supervisor)  # The name is free again.

    within_deadline(main)


@pytest.mark.parametrize(("failing", "how"), [("worker_1", "fail"), ("host_2", "die")])
def test_one_process_that_fails_ends_the_new_generation_and_the_old_serves_on(
    place: Place, failing: str, how: str
) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            before = pids(supervisor)
            place.behave(**{failing: how})
            said = "does not import: ModuleNotFoundError" if how == "fail" else "exited with status 3 while it started"
            with pytest.raises(ReloadFailed, match=said):
                await supervisor.reload()
            await supervisor.settled()
            assert pids(supervisor) == before
            assert supervisor.launch.generation == 1
            place.behave()
            assert await supervisor.reload() == 3
            await supervisor.settled()

    within_deadline(main)


def test_a_worker_killed_while_the_new_generation_starts_costs_that_reload_and_nothing_else(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            before = pids(supervisor)
            place.behave(worker_1="hang")
            reloading = asyncio.create_task(supervisor.reload())
            await until(lambda: "worker-1" in names(supervisor))
            os.kill(pids(supervisor)["worker-1"], signal.SIGKILL)
            with pytest.raises(ReloadFailed, match="worker-1 of generation 2: it died by SIGKILL"):
                await reloading
            await supervisor.settled()
            assert pids(supervisor) == before

    within_deadline(main)


def test_an_old_worker_that_dies_during_a_reload_is_replaced_by_its_heir_at_the_latest(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings(workers=2)) as supervisor:
            reloading = asyncio.create_task(supervisor.reload())
            await until(lambda: "worker-2" in names(supervisor))
            os.kill(pids(supervisor)["worker-0"], signal.SIGKILL)
            assert await reloading == 2
            await supervisor.settled()
            assert {member.generation for member in supervisor.members} == {2}

    within_deadline(main)


def test_where_connections_are_counted_workers_give_way_one_by_one(place: Place) -> None:
    """At most count_max x workers processes may hold connections of the resource, those that drain included."""

    async def main() -> None:
        resource = (ResourceSection(name="db", connections_max=10, per_worker=3),)
        settings = place.settings(resource=resource, workers=2, count_max=1)
        async with running(place, settings) as supervisor:
            most = 0
            reloading = asyncio.create_task(supervisor.reload())
            while not reloading.done():
                most = max(most, sum(name.startswith("worker") for name in names(supervisor)))
                await asyncio.sleep(0.002)
            assert await reloading == 2
            await supervisor.settled()
            assert most == 2
            assert {member.generation for member in supervisor.members} == {2}

    within_deadline(main)


def test_a_second_reload_is_refused_while_one_is_going_on_and_a_stop_ends_it(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            place.behave(worker_1="hang")
            reloading = asyncio.create_task(supervisor.reload())
            await until(lambda: "worker-1" in names(supervisor))
            with pytest.raises(ReloadFailed, match="a reload is going on already"):
                await supervisor.reload()
            supervisor.stop()
            with pytest.raises(ReloadFailed, match="everything is being stopped"):
                await reloading

    within_deadline(main)


def test_servers_can_be_added_during_a_reload(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings(workers=1)) as supervisor:
            reloading = asyncio.create_task(supervisor.reload())
            await supervisor.set_server_count(2)
            await reloading
            await supervisor.settled()
            assert sum(name.startswith("worker") for name in names(supervisor)) == 2
            assert {member.generation for member in supervisor.members} == {2}

    within_deadline(main)


def test_new_settings_are_taken_and_those_that_cannot_change_are_refused_by_name(place: Place) -> None:
    async def main() -> None:
        wanted = [place.settings(queue_max=7), place.settings(count_max=2), place.settings()]

        async def new_settings() -> Settings:
            return wanted.pop(0)

        async with running(place, place.settings(), new_settings) as supervisor:
            await supervisor.reload()
            await supervisor.settled()
            assert supervisor.launch.settings.servers.queue_max == 7
            with pytest.raises(SettingsError, match=r"a reload cannot change: servers\.count_max\."):
                await supervisor.reload()
            await supervisor.reload()
            await supervisor.settled()
            assert supervisor.launch.settings.servers.queue_max == place.settings().servers.queue_max

    within_deadline(main)


def test_every_difference_has_its_name_and_a_web_app_does_not_come_or_go(place: Place) -> None:
    old = place.settings()
    new = replace(old, app=replace(old.app, web="", listen="127.0.0.1:1"), env={})
    assert differences(old, new) == ["app.web", "app.listen", "env"]
    with pytest.raises(SettingsError, match=r"app\.listen, app\.web \(there was none, or there is none now\)"):
        require_reloadable(old, new)
    require_reloadable(old, replace(old, env={}))


def test_what_a_supervisor_left_in_the_middle_of_a_reload_is_finished_by_its_heir(place: Place) -> None:
    async def main() -> None:
        locked = LockedState(place.state.root)
        supervisor = await Supervisor.open(locked, place.settings(), SystemClock(), STAND_INS)
        run = asyncio.create_task(supervisor.run())
        await supervisor.settled()
        place.behave(worker_1="hang")
        reloading = asyncio.create_task(supervisor.reload())
        await until(lambda: {"worker-1", "host-2"} <= set(names(supervisor)))
        before = pids(supervisor)
        for task in (reloading, run):
            task.cancel()
        await asyncio.wait([reloading, run])
        locked.close()
        async with running(place, place.settings()) as heir:
            assert set(names(heir)) == {"host", "events", "control", "worker-0"}
            assert pids(heir)["worker-0"] == before["worker-0"]
            assert heir.launch.generation == 1
            place.behave()
            assert await heir.reload() == 3
            await heir.settled()

    within_deadline(main)


HEIR = """
import asyncio, sys
from pathlib import Path
from peaker.clock import SystemClock
from peaker.engines.local.hand_over import ask_to_hand_over
from peaker.engines.local.state_dir import LockedState
from peaker.engines.local.supervisor import Supervisor
from peaker.policy.supervision import Kind
from peaker.settings import Settings
from peaker.state import StateDirectory

async def main(root, settings, until):
    state = StateDirectory(Path(root))
    predecessor = await ask_to_hand_over(state, settings)
    assert predecessor is not None
    if until == "asked":
        return print("asked", flush=True), sys.stdin.read()
    locked = LockedState(state.root)
    if until == "locked":
        return print("locked", flush=True), sys.stdin.read()
    supervisor = await Supervisor.open(
        locked, settings, SystemClock(), dict.fromkeys(Kind, "stand_in"), listeners=predecessor.listeners
    )
    run = asyncio.create_task(supervisor.run())
    await supervisor.has_looked()
    if until == "adopted":
        print("adopted", flush=True)
        return await asyncio.to_thread(sys.stdin.read)
    await predecessor.dismiss()
    print("done", flush=True)
    await run

asyncio.run(main(sys.argv[1], Settings.from_json(Path(sys.argv[2]).read_text()), sys.argv[3]))
"""


@contextlib.contextmanager
def heir(place: Place, settings: Settings, until_step: str) -> Any:
    """A successor in a process of its own that stops after one step of the hand-over, to be killed there."""
    given = place.root / "heir.json"
    given.write_text(settings.to_json())
    process = subprocess.Popen(
        [sys.executable, "-c", HEIR, str(place.state.root), str(given), until_step],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("step", ["asked", "locked", "adopted"])
def test_a_successor_that_is_killed_in_any_step_leaves_the_old_supervisor_at_work(place: Place, step: str) -> None:
    async def main() -> None:
        settings = place.settings()
        async with running(place, settings) as supervisor:
            before = pids(supervisor)
            with heir(place, settings, step) as successor:
                assert await asyncio.to_thread(successor.stdout.readline) == f"{step}\n"
                assert started_ticks(successor.pid) is not None
            await until(lambda: (run := read_run(place.state)) is not None and run.supervisor_pid == os.getpid())
            await supervisor.settled()
            assert pids(supervisor) == before
            # It supervises as before, and is found where it was.
            os.kill(before["worker-0"], signal.SIGKILL)
            await until(lambda: pids(supervisor).get("worker-0") not in (None, before["worker-0"]))
            await supervisor.settled()
            client = await ControlClient.connect(place.state.supervisor_socket)
            assert (await client.hello()).pid == os.getpid()
            client.close()
            with pytest.raises(StateError, match="running this app already"):
                LockedState(place.state.root)

    within_deadline(main)


def test_a_successor_takes_everything_and_the_old_supervisor_ends_without_draining(place: Place) -> None:
    async def main() -> None:
        settings = place.settings(workers=2)
        locked = LockedState(place.state.root)
        supervisor = await Supervisor.open(locked, settings, SystemClock(), STAND_INS)
        run = asyncio.create_task(supervisor.run())
        await supervisor.settled()
        before, url = pids(supervisor), supervisor.urls[0]
        with heir(place, settings, "") as successor:
            await run
            locked.close()
            assert supervisor.was_replaced
            assert supervisor.successor_pid == successor.pid
            assert await asyncio.to_thread(successor.stdout.readline) == "done\n"
            record = read_run(place.state)
            assert record is not None
            assert record.supervisor_pid == successor.pid
            assert {process.name: process.pid for process in record.processes} == before
            assert (await ask(url)).startswith("worker-")
        # The heir was killed: its orphans are taken over in turn.
        async with running(place, settings) as third:
            assert pids(third) == before

    within_deadline(main)


def test_an_old_supervisor_that_dies_while_it_hands_over_is_taken_over_all_the_same(place: Place) -> None:
    async def main() -> None:
        settings = place.settings()
        with heir_as_first(place, settings) as first:
            assert await asyncio.to_thread(first.stdout.readline) == "settled\n"
            before = {process.name: process.pid for process in record_of(place).processes}
            predecessor = await ask_to_hand_over(place.state, settings)
            assert predecessor is not None
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: started_ticks(first.pid) is None)
            predecessor.close()
            async with running(place, settings) as supervisor:
                assert pids(supervisor) == before

    within_deadline(main)


def test_a_hand_over_is_refused_with_other_settings_or_while_a_reload_goes_on(place: Place) -> None:
    async def main() -> None:
        async with running(place, place.settings()) as supervisor:
            with pytest.raises(StateError, match=r"different: servers\.queue_max\.") as caught:
                await ask_to_hand_over(place.state, place.settings(queue_max=7))
            assert "`peaker reload` after that" in str(caught.value)
            place.behave(worker_1="hang")
            reloading = asyncio.create_task(supervisor.reload())
            await until(lambda: "worker-1" in names(supervisor))
            with pytest.raises(StateError, match="does not hand over: a reload is going on"):
                await ask_to_hand_over(place.state, place.settings())
            os.kill(pids(supervisor)["worker-1"], signal.SIGKILL)
            with contextlib.suppress(ReloadFailed):
                await reloading
            client = await ControlClient.connect(place.state.supervisor_socket)
            with pytest.raises(CommandRefused, match="the successor is not there"):
                await client.command("hand_over", pid=os.getpid(), ticks=1)
            client.close()
            await supervisor.settled()

    within_deadline(main)


FIRST = """
import asyncio, sys
from pathlib import Path
from peaker.clock import SystemClock
from peaker.engines.local.state_dir import LockedState
from peaker.engines.local.supervisor import Supervisor
from peaker.policy.supervision import Kind
from peaker.settings import Settings

async def main(root, settings):
    locked = LockedState(Path(root))
    supervisor = await Supervisor.open(locked, settings, SystemClock(), dict.fromkeys(Kind, "stand_in"))
    run = asyncio.create_task(supervisor.run())
    await supervisor.settled()
    print("settled", flush=True)
    await run

asyncio.run(main(sys.argv[1], Settings.from_json(Path(sys.argv[2]).read_text())))
"""


@contextlib.contextmanager
def heir_as_first(place: Place, settings: Settings) -> Any:
    """A supervisor in a process of its own."""
    given = place.root / "first.json"
    given.write_text(settings.to_json())
    process = subprocess.Popen(
        [sys.executable, "-c", FIRST, str(place.state.root), str(given)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def record_of(place: Place) -> Any:
    record = read_run(place.state)
    assert record is not None
    return record
