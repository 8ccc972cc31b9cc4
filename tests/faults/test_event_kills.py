"""Events while processes are killed at random: each that was accepted is finished, or a dead letter with its reason.

The handler's effect is a ledger: a line for each run, synced. So what ran twice is known, and bounded by what was
killed: a run is made again where its instance or its function host died.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from peaker import http1
from peaker.event_socket import EventClient
from peaker.testing.faults import children_of
from peaker.testing.running import PeakerRun, is_alive

APPS = Path(__file__).parents[1] / "apps"
SETTINGS = """
[app]
name = "ledger"
web = "traced_app:app"
listen = "127.0.0.1:0"

[servers]
workers = 1
drain_s_max = 5
drain_idle_s = 0

[functions]
memory_mb = 256
concurrency_max = {concurrency_max}

[events]
retry_s = 0.1
lease_s = 1

[env]
PYTHONPATH = "{apps}"
LEDGER = "{ledger}"
TRACE_FILE = "{directory}/trace"

[[function]]
name = "note"
handler = "ledger:note"
event_age_s_max = 3600
"""
SENDERS = 16
CONCURRENCY_MAX = 8
FAILS_EVERY = 97
"""One event in so many fails whenever it runs, and has to become a dead letter."""

FOUND_S_MAX = 90.0
TARGETS = ("events", "host", "instance", "zygote", "worker", "supervisor", "control")


@dataclass
class Story:
    """What was sent and done."""

    accepted: dict[int, str] = field(default_factory=dict)
    """The number of each event that was answered 202, with its request id."""
    killed: Counter[str] = field(default_factory=Counter)
    kill: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note_kill(self, target: str) -> None:
        async with self.kill:
            self.killed[target] += 1
            self.kill.notify_all()

    async def kills(self, count: int) -> None:
        """Until there were so many."""
        async with self.kill:
            await self.kill.wait_for(lambda: self.killed.total() >= count)


class Sender:
    """Sends events to the function host as a client does, each again under its id until it is answered.

    They are spread over the time of the kills: after each so many may have been sent.
    """

    def __init__(self, run: PeakerRun, story: Story, events: int, kills: int) -> None:
        self._events_per_kill = events / kills
        self._pool = http1.Pool(http1.Address(unix=run.state.invoke_socket), connections_max=SENDERS)
        self._story = story
        self._numbers = iter(range(events))

    async def send_all(self) -> None:
        await asyncio.gather(*(self._send_some() for _ in range(SENDERS)))
        self._pool.close()

    async def _send_some(self) -> None:
        for number in self._numbers:
            fails = {"fails": True} if number % FAILS_EVERY == 5 else {}
            payload = json.dumps({"n": number, **fails}).encode()
            await self._story.kills(int(number / self._events_per_kill) - 1)
            await self._send(number, payload)

    async def _send(self, number: int, payload: bytes) -> None:
        request_id = f"event-{number}"
        headers = [("host", "localhost"), ("x-amz-invocation-type", "Event"), ("x-request-id", request_id)]
        head = http1.request_head("POST", "/2015-03-31/functions/note/invocations", headers, len(payload))
        while True:
            try:
                answer = await self._pool.exchange(head, payload, timeout_s=30)
            except (http1.NotSent, http1.EffectUnknown):
                await asyncio.sleep(0.05)
                continue
            if answer.status == 202:
                self._story.accepted[number] = request_id
                return
            assert answer.status in (429, 500), answer
            await asyncio.sleep(0.05)


def pid_of(run: PeakerRun, target: str, chance: random.Random) -> int:
    """0 while there is no such process."""
    pids = run.pids()
    if target == "supervisor":
        return run.supervisor_pid
    if target in pids:
        return pids[target]
    if target == "worker":
        return pids.get("worker-0", 0)
    functions = (run.status()["host"] or {}).get("functions", [])
    zygote = (functions[0]["zygote_pid"] or 0) if functions else 0
    if target == "zygote" or not zygote:
        return zygote
    # Instances of a zygote that is gone are the host's own children.
    instances = sorted({*children_of(pids["host"]), *children_of(zygote)} - {zygote})
    return chance.choice(instances) if instances else 0


async def kill_one(run: PeakerRun, target: str, chance: random.Random) -> None:
    deadline_s = time.monotonic() + FOUND_S_MAX
    pid = 0
    while not (pid and is_alive(pid)):
        assert time.monotonic() < deadline_s, f"there is no {target} to be killed"
        await asyncio.sleep(0.02)
        pid = await asyncio.to_thread(pid_of, run, target, chance)
    os.kill(pid, signal.SIGKILL)
    if target == "supervisor":
        await asyncio.to_thread(run.wait)
        run.start()
        await asyncio.to_thread(run.wait_ready)


async def kill_at_random(run: PeakerRun, story: Story, kills: int, chance: random.Random, pause_s: float) -> None:
    # Each once, in a new order each time: what dies twice in a row is started again with growing pauses.
    targets = [target for _ in range(-(-kills // len(TARGETS))) for target in chance.sample(TARGETS, len(TARGETS))]
    for target in targets[:kills]:
        await asyncio.sleep(chance.uniform(0.2, 1.0) * pause_s)
        await kill_one(run, target, chance)
        await story.note_kill(target)


async def settled(run: PeakerRun, timeout_s: float) -> dict[str, Any]:
    """Until nothing waits or runs any more; the counts then."""
    client = EventClient(run.state.intake_socket, wait_s=20)
    try:
        deadline_s = time.monotonic() + timeout_s
        while True:
            _, body = await client.ask("counts")
            counts: dict[str, Any] = json.loads(body)
            if not counts["waiting"] + counts["running"]:
                return counts
            assert time.monotonic() < deadline_s, counts
            await asyncio.sleep(0.1)
    finally:
        client.close()


async def dead_letters(run: PeakerRun) -> dict[str, dict[str, Any]]:
    client = EventClient(run.state.intake_socket, wait_s=20)
    found: dict[str, dict[str, Any]] = {}
    after = 0
    try:
        while True:
            _, body = await client.ask("list", state="dead", after=after, limit=1000)
            page = json.loads(body)
            found |= {entry["id"]: entry for entry in page["events"]}
            after = page["after"]
            if not after:
                return found
    finally:
        client.close()


def runs_by_id(ledger: Path) -> Counter[str]:
    return Counter(line.split()[1] for line in ledger.read_text().splitlines())


def tell_story(directory: Path, events: int, kills: int, seed: int, *, pause_s: float, timeout_s: float) -> str:
    """Run it; returns what there is to tell. Everything that was promised is asserted."""
    ledger = directory / "ledger"
    ledger.touch()
    (directory / "peaker.toml").write_text(
        SETTINGS.format(apps=APPS, ledger=ledger, directory=directory, concurrency_max=CONCURRENCY_MAX)
    )
    story, chance = Story(), random.Random(seed)

    async def send_and_kill(run: PeakerRun) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        sending = Sender(run, story, events, kills).send_all()
        await asyncio.gather(sending, kill_at_random(run, story, kills, chance, pause_s))
        return await settled(run, timeout_s), await dead_letters(run)

    with PeakerRun(directory) as run:
        counts, dead = asyncio.run(send_and_kill(run))
    runs = runs_by_id(ledger)
    assert len(story.accepted) == events
    lost = [known for known in story.accepted.values() if known not in runs and known not in dead]
    assert lost == []
    assert counts["dead"] == len(dead)
    for entry in dead.values():
        assert entry["reason"] == "RetriesExhausted", entry
        assert entry["error"], entry
    must_die = {known for number, known in story.accepted.items() if number % FAILS_EVERY == 5}
    assert must_die <= set(dead)
    # Others may have been killed with their instance three times, which is a function's failure, as on Lambda.
    assert len(set(dead) - must_die) <= kills
    again = {known: count - 1 for known, count in runs.items() if count > 1 and known not in must_die}
    assert sum(again.values()) <= most_again(story.killed)
    return (
        f"{events} events, {sum(story.killed.values())} kills {dict(story.killed)}: 0 lost, {len(dead)} dead letters, "
        f"{sum(again.values())} runs beside the first of {len(again)} events (at most {most_again(story.killed)})"
    )


def most_again(killed: Counter[str]) -> int:
    """Runs that kills may have cost: of each event that ran under a host that was killed, and of one in an instance.

    Whoever else is killed costs none: the heir of an events process is given the runs that are under way.
    """
    return CONCURRENCY_MAX * killed["host"] + killed["instance"]


def test_no_event_is_lost_while_processes_are_killed(tmp_path: Path) -> None:
    print(tell_story(tmp_path, 1_000, len(TARGETS) + 1, seed=1, pause_s=0.3, timeout_s=60))  # noqa: T201


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_event_of_a_hundred_thousand_is_lost_in_two_hundred_kills(tmp_path: Path) -> None:
    print(tell_story(tmp_path, 100_000, 200, seed=2, pause_s=2.0, timeout_s=900))  # noqa: T201
