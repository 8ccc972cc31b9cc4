"""What the durable queue still holds when power is lost: every write that was not synced is gone, or torn.

What this proves: the queue asks for a sync wherever its promise needs one, and reads what is left. What it does not:
that the drive below does what it is asked to.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lossy_disk import Connection, LossyDisk, OftenCopied, RarelySynced, Unsynced

from peaker.clock import VirtualClock
from peaker.events.queue import Bounds, Lease, Outcome, Queue, State
from peaker.events.sqlite_queue import SqliteQueue
from peaker.messages import Event

BOUNDS = Bounds(finished_max=20)


@dataclass(slots=True)
class Known:
    """What callers had been told, and had asked for, at one moment."""

    accepted: set[str] = field(default_factory=set[str])
    asked_to_end: set[str] = field(default_factory=set[str])
    finished: set[str] = field(default_factory=set[str])
    dead: set[str] = field(default_factory=set[str])

    def copy(self) -> Known:
        return Known(set(self.accepted), set(self.asked_to_end), set(self.finished), set(self.dead))


class Workload:
    """Many who put, and some who lease and end, all at once; what they are told is written down."""

    def __init__(self, queue: Queue, clock: VirtualClock, seed: int) -> None:
        self.queue = queue
        self.clock = clock
        self.chance = random.Random(seed)
        self.known = Known()
        self.putting = 0

    async def run(self, rounds: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in range(6):
                self.putting += 1
                tasks.create_task(self.puts(name, rounds))
            for _ in range(3):
                tasks.create_task(self.works())

    async def puts(self, name: int, rounds: int) -> None:
        for number in range(rounds):
            size = self.chance.choice([10, 100, 3_000])
            events = [
                Event(id=f"{name}.{number}.{part}", function="f", payload=payload_of(f"{name}.{number}.{part}", size))
                for part in range(self.chance.choice([1, 1, 3]))
            ]
            put = await self.queue.put(events)
            self.known.accepted.update(put.accepted)
        self.putting -= 1

    async def works(self) -> None:
        while self.putting:
            leases = await self.queue.lease("f", at_most=3, lease_s=30)
            if leases:
                await self.end(list(leases))

    async def end(self, leases: list[Lease]) -> None:
        ids = {lease.event.id for lease in leases}
        how = self.chance.choice(["finish", "finish", "retry", "bury", "release"])
        if how == "finish":
            self.known.asked_to_end |= ids
            await self.queue.finish(leases)
            self.known.finished |= ids
        elif how == "bury":
            await self.queue.bury(leases, reason="tested", outcome=Outcome.FAILED, error="no")
            self.known.dead |= ids
        elif how == "retry":
            await self.queue.retry(leases, not_before_s=self.clock.epoch_s(), outcome=Outcome.FAILED, error="no")
        else:
            await self.queue.release(leases)


def payload_of(event_id: str, size: int) -> bytes:
    """Told by the id and the size, so that a mixed-up or torn one is seen."""
    return (event_id.encode() + b";") * (size // (len(event_id) + 1) + 1)


async def check_what_is_left(folder: Path, told: Known, asked: Known) -> list[str]:
    """What is wrong with a queue after the loss of power, of which callers knew `told` before and `asked` after it."""
    queue = SqliteQueue(folder / "events.sqlite", clock=VirtualClock(), bounds=BOUNDS)
    wrong: list[str] = []
    try:
        entries = {entry.id: entry for entry in (await queue.listing(limit=1_000)).entries}
        live = {known for known, entry in entries.items() if entry.state is not State.FINISHED}
        wrong += [f"lost: {known}" for known in sorted(told.accepted - asked.asked_to_end - live)]
        for known, entry in entries.items():
            if known in told.finished and entry.state is not State.FINISHED:
                wrong.append(f"finished, and is {entry.state.value} again: {known}")
            if known in told.dead and entry.state is not State.DEAD:
                wrong.append(f"a dead letter, and is {entry.state.value} again: {known}")
            record = await queue.get(known)
            assert record is not None
            if record.event.payload not in (b"", *(payload_of(known, size) for size in (10, 100, 3_000))):
                wrong.append(f"another payload: {known}")
    finally:
        await queue.close()
    return wrong


async def losses(
    folder: Path, made: type[Connection] = OftenCopied, *, seed: int, survives: float, crashes: int
) -> list[str]:
    """Run the workload, lose power at moments that chance chooses among all writes and syncs, and look at each."""
    clock, disk, chance = VirtualClock(), LossyDisk(), random.Random(seed)
    queue = SqliteQueue(
        folder / "events.sqlite", clock=clock, bounds=BOUNDS, connect=lambda path: disk.connect(path, made),
        free_bytes_min=0,
    )  # fmt: skip
    workload = Workload(queue, clock, seed)
    steps = 0
    seen: list[tuple[Path, Known, Known]] = []

    def step() -> None:
        nonlocal steps
        steps += 1
        if len(seen) < crashes and steps > 50 and chance.random() < 0.03:
            told = workload.known.copy()  # before the loss: what they were told must hold
            left = Path(tempfile.mkdtemp(dir=folder))
            disk.lose_power(left, survives=survives, chance=chance)
            seen.append((left, told, workload.known.copy()))

    disk.on_step = step
    await workload.run(40)
    disk.on_step = lambda: None
    await queue.close()
    copied = disk.files[str(folder / "events.sqlite")].writes
    assert copied > 100, f"only {copied} pages were copied from the log into the file"
    assert len(seen) == crashes, f"only {len(seen)} losses of power in {steps} writes and syncs"
    return [wrong for image in seen for wrong in await check_what_is_left(*image)]


@pytest.mark.parametrize("survives", [0.0, 0.5], ids=["nothing unsynced survives", "half of each torn write survives"])
def test_nothing_accepted_is_lost_when_power_is_lost(tmp_path: Path, survives: float) -> None:
    wrong = asyncio.run(losses(tmp_path, seed=11, survives=survives, crashes=12))
    assert wrong == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_nothing_accepted_is_lost_at_any_of_many_moments(tmp_path: Path, seed: int) -> None:
    survives = (0.0, 0.1, 0.5, 0.9)[seed % 4]
    wrong = asyncio.run(losses(tmp_path, seed=seed, survives=survives, crashes=30))
    assert wrong == []


@pytest.mark.parametrize("broken", [Unsynced, RarelySynced])
def test_a_build_that_does_not_sync_what_it_accepts_is_found_out(tmp_path: Path, broken: type[Connection]) -> None:
    wrong = asyncio.run(losses(tmp_path, broken, seed=11, survives=0.0, crashes=3))
    assert any(found.startswith("lost") for found in wrong), "events were accepted without a sync, and no test noticed"


def test_a_new_file_is_whole_before_it_is_in_its_place(tmp_path: Path) -> None:
    disk = LossyDisk()

    async def make() -> None:
        queue = SqliteQueue(tmp_path / "events.sqlite", clock=VirtualClock(), connect=disk.connect)
        await queue.close()

    asyncio.run(make())
    assert disk.files[str(tmp_path / "events.sqlite.new")].since == [], "the file was moved before it was synced"


def test_a_lease_is_written_without_a_sync_and_an_ending_with_one(tmp_path: Path) -> None:
    disk = LossyDisk()

    async def count_syncs() -> dict[str, int]:
        queue = SqliteQueue(tmp_path / "events.sqlite", clock=VirtualClock(), connect=disk.connect)
        syncs = {}
        before = disk.syncs
        await asyncio.gather(*(queue.put([Event(id=f"e{number}", function="f", payload=b"")]) for number in range(50)))
        syncs["50 puts at once"] = disk.syncs - before
        before = disk.syncs
        leases = await queue.lease("f", at_most=50, lease_s=30)
        await queue.extend(leases, 60)
        syncs["lease and extend"] = disk.syncs - before
        before = disk.syncs
        await asyncio.gather(*(queue.finish([lease]) for lease in leases))
        syncs["50 finished at once"] = disk.syncs - before
        await queue.close()
        return syncs

    assert asyncio.run(count_syncs()) == {"50 puts at once": 1, "lease and extend": 0, "50 finished at once": 1}
