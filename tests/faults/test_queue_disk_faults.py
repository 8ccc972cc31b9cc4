"""A disk that is full, fails or was written over; a process that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lossy_disk import LossyDisk
from small_disk import small_disk

from peaker.clock import SystemClock, VirtualClock
from peaker.errors import QueueBroken, QueueFileError, QueueFull, QueueUnavailable
from peaker.events.queue import State
from peaker.events.sqlite_file import APPLICATION_ID, open_database
from peaker.events.sqlite_queue import SqliteQueue
from peaker.messages import Event


def event(name: str, payload: bytes = b"{}") -> Event:
    return Event(id=name, function="f", payload=payload)


@contextlib.asynccontextmanager
async def on(disk: LossyDisk, path: Path) -> AsyncIterator[SqliteQueue]:
    queue = SqliteQueue(path, clock=VirtualClock(), connect=disk.connect, free_bytes_min=0)
    try:
        yield queue
    finally:
        await queue.close()


async def make(path: Path, *events: Event) -> None:
    """A queue's file, closed."""
    queue = SqliteQueue(path, clock=VirtualClock())
    await queue.put(events)
    await queue.close()


def test_a_full_disk_changes_nothing_and_all_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async def fill() -> None:
        disk = LossyDisk()
        async with on(disk, tmp_path / "events.sqlite") as queue:
            await queue.put([event("a"), event("b")])
            disk.is_full = True
            large = [queue.put([event(f"large{number}", b"x" * 500_000)]) for number in range(3)]
            refused = await asyncio.gather(*large, return_exceptions=True)
            assert [type(refusal) for refusal in refused] == [QueueFull] * 3
            assert "full" in str(refused[0])
            with pytest.raises(QueueUnavailable, match="full"):
                await queue.lease("f", at_most=9, lease_s=30)
            disk.is_full = False
            leases = await queue.lease("f", at_most=9, lease_s=30)
            assert [(lease.event.id, lease.attempt) for lease in leases] == [("a", 1), ("b", 1)]
            assert await queue.finish(leases) == ()
            assert (await queue.put([event("c")])).accepted == ("c",), "it did not recover when there was room again"
            assert [entry.id for entry in (await queue.listing(state=State.WAITING)).entries] == ["c"]

    asyncio.run(fill())


def test_a_disk_that_is_really_full_loses_nothing_and_lets_events_finish() -> None:
    async def fill(folder: Path) -> None:
        path = folder / "events.sqlite"
        queue = SqliteQueue(path, clock=VirtualClock(), free_bytes_min=0)
        try:
            await queue.put([event(f"e{number}") for number in range(50)])
            with (folder / "other-data").open("wb", buffering=0) as other, contextlib.suppress(OSError):
                while other.write(b"x" * 65_536):
                    pass
            accepted = await until_full(queue)
            leases = await queue.lease("f", at_most=1_000, lease_s=30)
            assert len(leases) == 50 + accepted, "an accepted event is gone"
            assert await queue.finish(leases) == (), "what was there could not be finished"
            (folder / "other-data").unlink()
            assert (await queue.put([event("after", b"x" * 1_000_000)])).accepted == ("after",)
        finally:
            await queue.close()

    with small_disk(40) as folder:
        asyncio.run(fill(folder))


def test_a_queue_can_be_opened_on_a_full_disk_to_finish_what_is_there() -> None:
    async def fill(folder: Path) -> None:
        path = folder / "events.sqlite"
        await make(path, *(event(f"e{number}") for number in range(50)))
        with (folder / "other-data").open("wb", buffering=0) as other, contextlib.suppress(OSError):
            while other.write(b"x" * 4_096):
                pass
        queue = SqliteQueue(path, clock=VirtualClock())
        try:
            with pytest.raises(QueueFull):
                await queue.put([event("more")])
            leases = await queue.lease("f", at_most=1_000, lease_s=30)
            assert len(leases) == 50
            assert await queue.finish(leases) == ()
        finally:
            await queue.close()
        with (folder / "other-data").open("ab", buffering=0) as other, contextlib.suppress(OSError):
            while other.write(b"x" * 4_096):
                pass
        with pytest.raises(QueueFileError, match="full"):  # nothing is left that could be given up
            SqliteQueue(path, clock=VirtualClock())

    with small_disk(80) as folder:
        asyncio.run(fill(folder))


async def until_full(queue: SqliteQueue) -> int:
    for number in range(1_000):
        try:
            await queue.put([event(f"more{number}", b"x" * 100_000)])
        except QueueFull:
            return number
    raise AssertionError("100 MB went on a disk of 40")


def test_intake_stops_while_there_is_still_room_to_finish(tmp_path: Path) -> None:
    async def stop() -> None:
        path = tmp_path / "events.sqlite"
        await make(path, event("a"))
        queue = SqliteQueue(path, clock=VirtualClock(), free_bytes_min=2**62)
        try:
            with pytest.raises(QueueFull, match="intake stops below"):
                await queue.put([event("b")])
            assert await queue.finish(await queue.lease("f", at_most=1, lease_s=30)) == ()
        finally:
            await queue.close()

    asyncio.run(stop())


def test_a_failed_sync_ends_all_until_the_file_is_opened_anew(tmp_path: Path) -> None:
    async def fail() -> None:
        disk, path = LossyDisk(), tmp_path / "events.sqlite"
        async with on(disk, path) as queue:
            await queue.put([event("a")])
            disk.syncs_fail = True
            queue.woken.clear()
            with pytest.raises(QueueBroken, match="begin anew"):
                await queue.put([event("b")])
            await asyncio.wait_for(queue.woken.wait(), 10)  # whoever waits hears of it at the next call
            disk.syncs_fail = False
            with pytest.raises(QueueBroken, match="begin anew"):
                await queue.put([event("c")])  # a sync that succeeds after one that failed proves nothing
        async with on(disk, path) as queue:
            assert [entry.id for entry in (await queue.listing()).entries] == ["a"]
            assert (await queue.put([event("b"), event("c")])).accepted == ("b", "c")

    asyncio.run(fail())


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"not a database, but a text of some length" * 30), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 40_000), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:8192]), "damaged"),
    ],
    ids=["empty", "text", "written over", "cut off"],
)
def test_a_damaged_file_is_named_with_what_to_do_and_left_as_it_is(tmp_path: Path, damage: object, seen: str) -> None:
    path = tmp_path / "events.sqlite"
    asyncio.run(make(path, *(event(f"e{number}", b"x" * 900) for number in range(40))))
    assert callable(damage)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(QueueFileError, match=seen) as refused:
        SqliteQueue(path, clock=VirtualClock())
    assert str(path) in str(refused.value)
    assert "recover" in str(refused.value)
    assert path.read_bytes() == before, "a damaged file was changed"


def test_a_log_whose_end_is_torn_gives_back_what_was_whole(tmp_path: Path) -> None:
    async def tear() -> None:
        path = tmp_path / "events.sqlite"
        queue = SqliteQueue(path, clock=VirtualClock())
        try:
            for number in range(20):
                await queue.put([event(f"e{number}")])
            for name in ("events.sqlite", "events.sqlite-wal"):
                (tmp_path / f"torn-{name}").write_bytes((tmp_path / name).read_bytes())
        finally:
            await queue.close()
        log = tmp_path / "torn-events.sqlite-wal"
        whole = log.read_bytes().rstrip(b"\0")
        log.write_bytes(whole[:-700] + b"\x55" * 300)
        queue = SqliteQueue(tmp_path / "torn-events.sqlite", clock=VirtualClock())
        try:
            entries = (await queue.listing()).entries
            assert [entry.id for entry in entries] == [f"e{number}" for number in range(19)]
            await queue.put([event("next")])
        finally:
            await queue.close()

    asyncio.run(tear())


def test_another_database_and_a_later_schema_are_refused(tmp_path: Path) -> None:
    other, later = tmp_path / "other.sqlite", tmp_path / "later.sqlite"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(QueueFileError, match="no event queue"):
        SqliteQueue(other, clock=VirtualClock())
    asyncio.run(make(later))
    with contextlib.closing(sqlite3.connect(later)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(QueueFileError, match="schema 99"):
        SqliteQueue(later, clock=VirtualClock())


def test_an_older_schema_is_led_to_the_newest_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    first = "CREATE TABLE kept (a);\nINSERT INTO kept VALUES (1);\n"
    open_database(path, migrations=[first]).close()
    broken = "ALTER TABLE kept ADD COLUMN b DEFAULT 2;\nno statement;\n"
    with pytest.raises(QueueFileError, match="syntax error"):
        open_database(path, migrations=[first, broken])
    database = open_database(path, migrations=[first, "ALTER TABLE kept ADD COLUMN c DEFAULT 3;\n"])
    try:
        assert database.execute("SELECT * FROM kept").fetchall() == [(1, 3)]
        assert database.execute("PRAGMA user_version").fetchone() == (2,)
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    finally:
        database.close()


def test_one_process_owns_the_file_and_nobody_else_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"

    async def hold() -> None:
        queue = SqliteQueue(path, clock=VirtualClock())
        try:
            with pytest.raises(QueueFileError, match=f"another process \\(pid {os.getpid()}\\)"):
                SqliteQueue(path, clock=VirtualClock())
            for name in ("", "-wal", "-shm", ".lock"):
                assert path.with_name(path.name + name).stat().st_mode & 0o777 == 0o600
        finally:
            await queue.close()
        with pytest.raises(QueueUnavailable, match="closed"):
            await queue.put([event("a")])
        with pytest.raises(QueueUnavailable, match="closed"):
            await queue.counts()

    asyncio.run(hold())
    asyncio.run(make(path, event("a")))


_PUTS_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from peaker.clock import SystemClock
from peaker.events.sqlite_queue import SqliteQueue
from peaker.messages import Event

async def put(queue, name):
    number = 0
    while True:
        known = f"{name}.{number}"
        await queue.put([Event(id=known, function="f", payload=b"{}")])
        print(known, flush=True)
        leases = await queue.lease("f", at_most=1, lease_s=30)
        if number % 3 == 0 and leases:
            print("finishing", leases[0].event.id, flush=True)
            await queue.finish(leases)
        number += 1

async def main():
    queue = SqliteQueue(Path(sys.argv[1]), clock=SystemClock())
    await asyncio.gather(*(put(queue, name) for name in "abcd"))

asyncio.run(main())
"""


def test_a_killed_process_leaves_all_that_it_had_accepted(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    accepted: set[str] = set()
    finishing: set[str] = set()
    for lines in (40, 150, 300):
        script = _PUTS_UNTIL_KILLED.replace('"abcd"', repr([f"{lines}{name}" for name in "abcd"]))
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _, line in zip(range(lines), process.stdout, strict=False):
                note(line, accepted, finishing)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                note(line, accepted, finishing)
    assert len(accepted) > 200, "the processes ended by themselves"

    async def left() -> set[str]:
        queue = SqliteQueue(path, clock=SystemClock())
        try:
            entries, after = [], -1
            while after:
                page = await queue.listing(after=max(after, 0), limit=1_000)
                entries += page.entries
                after = page.after
            return {entry.id for entry in entries if entry.state in (State.WAITING, State.RUNNING)}
        finally:
            await queue.close()

    assert accepted - finishing - asyncio.run(left()) == set(), "accepted events are gone"


def note(line: str, accepted: set[str], finishing: set[str]) -> None:
    words = line.split()
    if line.endswith("\n"):  # the last line of a killed process may be cut
        (finishing if words[0] == "finishing" else accepted).add(words[-1])
