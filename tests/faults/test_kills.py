"""SIGKILL of each process of a running app under load: only requests inside the killed process fail.

Every client sends on one connection and never tries again; the app notes which process began which request; and what a
process held is looked up while it is stopped, a moment before it is killed (peaker/testing/faults.py).
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from peaker.testing.faults import Checker, Killed, Outcome, children_of, kill, unexplained
from peaker.testing.running import PeakerRun, until

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "kills"
web = "traced_app:app"
spill = true
listen = "127.0.0.1:0"
placement_header = true

[servers]
workers = 2
in_flight_max = 4
queue_wait_s_max = 10
drain_s_max = 10
drain_idle_s = 0.2

[functions]
concurrency_max = 30
keep_alive_s = 3

[env]
PYTHONPATH = "{apps}"
TRACE_FILE = "{trace}"

[[route]]
path = "/work"
placement = "hybrid"
"""
CLIENTS = 24
WORK_MS = 30


class Scene:
    """A running app, and what its processes have noted."""

    def __init__(self, run: PeakerRun) -> None:
        self.run = run
        self._runs = 0

    def load(self) -> Checker:
        """Three times what the workers hold; the rest spills. Ids are different in every test."""
        self._runs += 1
        prefix = f"t{self._runs}-"
        return Checker(
            self.run.app_url,
            lambda name: f"/work?id={name}&ms={WORK_MS}",
            clients=CLIENTS,
            id_prefix=prefix,
        )

    def notes(self, what: str) -> dict[str, set[int]]:
        """Pids that noted `begin` or `end` for each request id."""
        noted: dict[str, set[int]] = defaultdict(set)
        for line in (self.run.directory / "trace").read_text().splitlines():
            kind, request_id, pid = line.split()
            if kind == what:
                noted[request_id].add(int(pid))
        return noted

    def workers(self) -> dict[str, int]:
        return {name: pid for name, pid in self.run.pids().items() if name.startswith("worker")}

    def zygote(self) -> int:
        """0 while there is none."""
        functions = self.run.status()["host"].get("functions", [])
        return functions[0]["zygote_pid"] or 0 if functions else 0

    def busy_instance(self, zygote: int) -> int:
        """An instance that has begun a request and not ended it; 0 where there is none at the moment."""
        begun, ended = self.notes("begin"), self.notes("end")
        busy = {pid for request_id, pids in begun.items() for pid in pids - ended.get(request_id, set())}
        return next(iter(busy & set(children_of(zygote))), 0)

    def settle(self, *gone: int) -> None:
        """Wait until every process is ready again and none of those that were killed is left."""
        until(lambda: not set(gone) & set(self.run.pids().values()), 30)
        self.run.wait_settled()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("kills")
    (directory / "peaker.toml").write_text(SETTINGS.format(apps=APPS, trace=directory / "trace"))
    with PeakerRun(directory) as run:
        yield Scene(run)


def ran(outcome: Outcome) -> str:
    return outcome.headers.get("x-peaker-ran", "")


def was_under_way(outcome: Outcome, killed: Killed, place: str) -> bool:
    """The answer says that the request was at `place`, and it was under way when the process there was killed."""
    return ran(outcome) == place and outcome.sent_s <= killed.gone_s and killed.killed_s <= outcome.ended_s


async def spilling(client: Checker) -> None:
    """Load runs, and functions take their part."""
    await client.answers(60)
    await client.until(lambda: any(ran(outcome) == "function" for outcome in client.outcomes[-50:]))


async def kill_worker(scene: Scene, client: Checker, chance: random.Random) -> list[Outcome]:
    name, pid = chance.choice(sorted(scene.workers().items()))
    killed = kill(pid)
    assert killed.client_ports
    await client.answers(120)
    await asyncio.to_thread(scene.settle, pid)
    assert scene.workers()[name] != pid
    left = unexplained(client.outcomes, [killed], scene.notes("begin"))
    return [outcome for outcome in left if not was_under_way(outcome, killed, "sibling")]


async def kill_instance(scene: Scene, client: Checker, _: random.Random) -> list[Outcome]:
    await asyncio.to_thread(until, lambda: scene.zygote() != 0, 20)
    zygote = await asyncio.to_thread(scene.zygote)
    found: list[int] = []

    def one_is_busy() -> bool:
        found[:] = [scene.busy_instance(zygote)]
        return found[0] != 0

    await client.until(one_is_busy)
    killed = kill(found[0])
    await client.answers(120)
    left = unexplained(client.outcomes, [killed], scene.notes("begin"))
    # Sent to the instance and not yet begun there: the answer says so, and at most one request is in an instance.
    inside = [outcome for outcome in left if was_under_way(outcome, killed, "function")]
    return [outcome for outcome in left if outcome not in inside[:1]]


async def kill_zygote(scene: Scene, client: Checker, _: random.Random) -> list[Outcome]:
    await asyncio.to_thread(until, lambda: scene.zygote() != 0, 20)
    zygote = await asyncio.to_thread(scene.zygote)
    kill(zygote)
    await client.answers(120)
    await asyncio.to_thread(until, lambda: scene.zygote() not in (0, zygote), 20)
    # No request is ever inside a zygote.
    return client.failed


async def kill_host(scene: Scene, client: Checker, _: random.Random) -> list[Outcome]:
    pid = scene.run.pids()["host"]
    killed = kill(pid)
    await client.answers(120)
    await asyncio.to_thread(scene.settle, pid)
    await spilling(client)
    return [outcome for outcome in client.failed if not was_under_way(outcome, killed, "function")]


async def kill_control(scene: Scene, client: Checker, _: random.Random) -> list[Outcome]:
    pid = scene.run.pids()["control"]
    kill(pid)
    await client.answers(120)
    await asyncio.to_thread(scene.settle, pid)
    return client.failed


async def kill_supervisor(scene: Scene, client: Checker, _: random.Random) -> list[Outcome]:
    before = scene.run.pids()
    kill(scene.run.supervisor_pid)
    await asyncio.to_thread(scene.run.wait)
    await client.answers(120)
    scene.run.start()
    await asyncio.to_thread(scene.run.wait_ready)
    await client.answers(60)
    assert scene.run.pids() == before
    return client.failed


KILLS = [kill_worker, kill_instance, kill_zygote, kill_host, kill_control, kill_supervisor]


@pytest.mark.parametrize("fault", KILLS, ids=lambda fault: fault.__name__.removeprefix("kill_"))
def test_only_requests_inside_the_killed_process_fail(scene: Scene, fault: object) -> None:
    async def main() -> None:
        async with scene.load() as client:
            await spilling(client)
            outside = await fault(scene, client, random.Random(1))
            await spilling(client)
        assert outside == []

    asyncio.run(main())


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(10))
def test_a_long_series_of_kills_costs_only_what_was_inside(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)

    async def main() -> None:
        for fault in chance.sample(KILLS, len(KILLS)):
            async with scene.load() as client:
                await spilling(client)
                outside = await fault(scene, client, chance)
                await spilling(client)
            assert outside == [], f"{fault.__name__}, seed {seed}"

    asyncio.run(main())


def test_a_failure_outside_the_killed_process_would_be_seen() -> None:
    killed = Killed(pid=7, killed_s=10.0, gone_s=10.0, client_ports=frozenset({5001}))

    def outcome(request_id: str, port: int, *, status: int = 0, ended_s: float = 11.0) -> Outcome:
        return Outcome(request_id=request_id, client_port=port, sent_s=9.0, ended_s=ended_s, status=status)

    outcomes = [
        outcome("fine", 5002, status=200),
        outcome("client error", 5002, status=404),
        outcome("on its connection", 5001),
        outcome("before the kill", 5001, ended_s=9.5),
        outcome("begun inside", 5003, status=502),
        outcome("begun elsewhere", 5003, status=502),
        outcome("never begun", 5003),
    ]
    begun = {"begun inside": {7}, "begun elsewhere": {8}}
    assert [one.request_id for one in unexplained(outcomes, [killed], begun)] == [
        "before the kill",
        "begun elsewhere",
        "never begun",
    ]
