"""Parts of the durable queue: which disks it takes, how calls share commits, what becomes of a caller who goes away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peaker.clock import VirtualClock
from peaker.errors import QueueFileError, QueueFull
from peaker.events.keeping import cut, with_attempt
from peaker.events.local_disk import check_local, file_system_of, survives_power_loss
from peaker.events.queue import ATTEMPTS_KEPT_MAX, ERROR_CHARACTERS_MAX, Attempt, Bounds, Outcome, State
from peaker.events.reserve import RESERVE_BYTES, Reserve
from peaker.events.sqlite_queue import SqliteQueue
from peaker.messages import Event

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /dev/shm rw - tmpfs tmpfs rw
31 22 0:31 / /home rw shared:5 master:2 - nfs4 server:/home rw
32 31 8:1 / /home/ada/local\\040disk rw - xfs /dev/sdb1 rw
33 22 0:33 / /mnt/c rw - 9p C: rw
34 22 0:34 / /mnt/s3 rw - fuse.s3fs s3fs rw
35 22 0:35 / /mnt/rootless rw - fuse.fuse-overlayfs fuse-overlayfs rw
36 22 0:36 / /over rw - ext4 /dev/vdb rw
37 22 0:37 / /over rw - cifs //server/share rw
"""


@contextlib.asynccontextmanager
async def opened(folder: Path, bounds: Bounds | None = None) -> AsyncIterator[SqliteQueue]:
    queue = SqliteQueue(folder / "events.sqlite", clock=VirtualClock(), bounds=bounds)
    try:
        yield queue
    finally:
        await queue.close()


def event(name: str) -> Event:
    return Event(id=name, function="f", payload=b"{}")


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/app", "ext4"),
        ("/home/ada", "nfs4"),
        ("/home/ada/local disk/app", "xfs"),
        ("/homes", "ext4"),
        ("/over/app", "cifs"),
        ("/dev/shm/app", "tmpfs"),
    ],
)
def test_the_mount_that_is_seen_at_a_folder_tells_its_file_system(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


@pytest.mark.parametrize("folder", ["/home/ada", "/mnt/c/app", "/mnt/s3", "/over"])
def test_a_disk_of_another_machine_is_refused_by_name(tmp_path: Path, folder: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    with pytest.raises(QueueFileError, match=f"^{folder}: the event queue cannot be kept on a file system of type"):
        check_local(Path(folder), mounts)


def test_a_local_disk_is_taken_and_memory_is_known_to_be_no_disk(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert check_local(Path("/mnt/rootless"), mounts) == "fuse.fuse-overlayfs"
    assert survives_power_loss(check_local(Path("/srv"), mounts))
    assert not survives_power_loss(check_local(Path("/dev/shm"), mounts))
    assert check_local(Path("/srv"), tmp_path / "none") == "", "where there is no Linux, nobody is asked"


def test_calls_of_one_moment_share_a_commit(tmp_path: Path) -> None:
    async def put() -> int:
        async with opened(tmp_path) as queue:
            await asyncio.gather(*(queue.put([event(f"e{number}")]) for number in range(100)))
            return queue.commits

    assert asyncio.run(put()) == 1


def test_a_refusal_of_one_call_leaves_the_others_of_its_commit_alone(tmp_path: Path) -> None:
    async def put() -> list[object]:
        async with opened(tmp_path, Bounds(events_max=3)) as queue:
            puts = [queue.put([event(f"{name}{number}") for number in range(2)]) for name in "abc"]
            answers = await asyncio.gather(*puts, queue.put([event("d")]), return_exceptions=True)
            entries = (await queue.listing()).entries
            return [type(answer).__name__ for answer in answers] + [entry.id for entry in entries]

    assert asyncio.run(put()) == ["Put", "QueueFull", "QueueFull", "Put", "a0", "a1", "d"]


def test_a_lease_whose_asker_went_away_is_given_back_whenever_that_was(tmp_path: Path) -> None:
    async def leave(turns: int) -> None:
        async with opened(tmp_path) as queue:
            asking = asyncio.create_task(queue.lease("f", at_most=1, lease_s=1_000))
            for _ in range(turns):  # from before it was asked for until after it was answered
                await asyncio.sleep(0)
            if not asking.cancel():
                await queue.release(asking.result())
            queue.woken.clear()
            leases = await queue.lease("f", at_most=1, lease_s=30)
            if not leases:
                await asyncio.wait_for(queue.woken.wait(), 10)
                leases = await queue.lease("f", at_most=1, lease_s=30)
            assert leases[0].attempt == 1, f"after {turns} turns of the loop"
            await queue.release(leases)

    async def put() -> None:
        async with opened(tmp_path) as queue:
            await queue.put([event("a")])

    asyncio.run(put())
    for turns in (*range(6), 8, 12, 16, 24, 32, 64, 128):
        asyncio.run(leave(turns))


def test_a_lease_whose_asker_goes_away_in_the_turn_of_its_answer_is_given_back(tmp_path: Path) -> None:
    async def leave() -> None:
        async with opened(tmp_path) as queue:
            await queue.put([event("a")])

            async def send_away() -> None:
                await queue.finish([])  # of the same commit, and answered just before
                asking.cancel()

            sending_away = asyncio.create_task(send_away())
            asking = asyncio.create_task(queue.lease("f", at_most=1, lease_s=1_000))
            await asyncio.wait([asking, sending_away])
            assert asking.cancelled(), "it was sent away too late to prove anything"
            queue.woken.clear()
            if not (leases := await queue.lease("f", at_most=1, lease_s=30)):
                await asyncio.wait_for(queue.woken.wait(), 10)
                leases = await queue.lease("f", at_most=1, lease_s=30)
            assert leases[0].attempt == 1

    asyncio.run(leave())


def test_tokens_grow_over_restarts(tmp_path: Path) -> None:
    async def lease() -> int:
        async with opened(tmp_path) as queue:
            await queue.put([event("a")])
            (held,) = await queue.lease("f", at_most=1, lease_s=30)
            await queue.release([held])
            return held.token

    tokens = [asyncio.run(lease()) for _ in range(3)]
    assert tokens == sorted(set(tokens))


def test_a_lease_outlives_the_process_that_took_it(tmp_path: Path) -> None:
    async def take() -> None:
        async with opened(tmp_path) as queue:
            await queue.put([event("a")])
            await queue.lease("f", at_most=1, lease_s=30)
        async with opened(tmp_path) as queue:
            assert await queue.lease("f", at_most=1, lease_s=30) == []
            assert (await queue.counts()).events(State.RUNNING) == 1

    asyncio.run(take())


def test_the_file_shrinks_after_a_long_backlog(tmp_path: Path) -> None:
    async def grow() -> None:
        async with opened(tmp_path) as queue:
            for batch in range(5):
                events = [Event(id=f"{batch}.{number}", function="f", payload=b"x" * 40_000) for number in range(100)]
                await queue.put(events)
            while leases := await queue.lease("f", at_most=250, lease_s=30):
                await queue.finish(leases)

    async def go_on() -> None:
        async with opened(tmp_path) as queue:
            for _ in range(1_200):  # commits, which need no sync
                await queue.lease("f", at_most=1, lease_s=30)

    path = tmp_path / "events.sqlite"
    asyncio.run(grow())
    grown = path.stat().st_size
    assert grown > 20_000_000
    asyncio.run(go_on())
    assert path.stat().st_size < 0.7 * grown


def test_a_full_queue_says_how_full_and_what_to_do(tmp_path: Path) -> None:
    async def fill() -> None:
        async with opened(tmp_path, Bounds(events_max=1)) as queue:
            with pytest.raises(
                QueueFull, match=r"0 events wait or run; 2 more .* limit of 1\. Send them again later\."
            ):
                await queue.put([event("a"), event("b")])

    asyncio.run(fill())


def test_a_dropped_dead_letter_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def bury() -> None:
        async with opened(tmp_path, Bounds(dead_max=1)) as queue:
            await queue.put([event("first"), event("second")])
            for lease in await queue.lease("f", at_most=2, lease_s=30):
                await queue.bury([lease], reason="RetriesExhausted", outcome=Outcome.FAILED, error="no such table")

    with caplog.at_level(logging.ERROR, "peaker.events.queue"):
        asyncio.run(bury())
    (told,) = [record.getMessage() for record in caplog.records]
    what = "dead letter dropped, there is no room for more: first of f from invoke, dead by RetriesExhausted"
    assert told == f"{what}: no such table"


def test_the_reserve_is_room_on_the_disk_until_it_is_given_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")
    reserve.take()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    again = Reserve(tmp_path / "reserve")
    assert again.give_up()
    assert not again.give_up()
    assert not (tmp_path / "reserve").exists()


def test_error_texts_and_attempts_are_kept_within_bounds() -> None:
    assert cut("x" * 5_000) == "x" * (ERROR_CHARACTERS_MAX - 1) + "…"
    assert cut("a \ud800 b") == "a ? b"
    attempts: tuple[Attempt, ...] = ()
    for number in range(1, 51):
        attempts = with_attempt(attempts, Attempt(number=number, began_s=0, took_s=0, outcome=Outcome.FAILED))
    assert [attempt.number for attempt in attempts] == [1, *range(52 - ATTEMPTS_KEPT_MAX, 51)]
