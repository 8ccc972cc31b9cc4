"""The durable queue: one SQLite file, owned by one process, on a local disk.

Which calls wait for the disk: those on which a caller may rely after the loss of power (put, finish, retry, bury,
redrive, discard). A lease or its extension must survive this process, but not the machine, on which the function's run
would end as well: it is written and not synced.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from peaker.clock import Clock
from peaker.errors import QueueFileError, QueueFull, QueueUnavailable
from peaker.events import sqlite_shown
from peaker.events.group_commit import GroupCommit, Weight
from peaker.events.keeping import check_event, check_lease, check_lease_s, check_limit, check_name, check_retry
from peaker.events.queue import Bounds, Counts, Lease, Line, Outcome, Page, Put, Record, State
from peaker.events.reserve import RESERVE_BYTES, Reserve
from peaker.events.sqlite_file import (
    Connect,
    Database,
    FileLock,
    connect_sqlite,
    is_full,
    open_database,
    told_of,
)
from peaker.events.sqlite_rows import Rows
from peaker.messages import Event
from peaker.units import MIB

FREE_BYTES_MIN = 32 * MIB
"""Of the disk, left for finishing what is there."""

PUT_BYTES_WAITING_MAX = 64 * MIB
"""Payloads of calls of `put` that wait for their turn."""

Answer = TypeVar("Answer")


class SqliteQueue:
    """A `Queue` (events/queue.py). Opening takes some milliseconds, or up to a second for a large backlog.

    Args:
        path: of the file; `-wal`, `-shm`, `.lock` and `.reserve` stand beside it.
        clock: its epoch seconds are the queue's time.
        bounds: how much it holds.
        connect: opens the file; another for tests of the disk.
        free_bytes_min: intake is refused when the disk has less than this.

    Raises:
        QueueFileError: another process has it, it is damaged or no queue, or its disk is none of this machine.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        bounds: Bounds | None = None,
        connect: Connect = connect_sqlite,
        free_bytes_min: int = FREE_BYTES_MIN,
    ) -> None:
        self._path = path
        self._connect = connect
        self._free_bytes_min = free_bytes_min
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._reserve = Reserve(path.with_name(path.name + ".reserve"))
        try:
            database = self._open(clock, bounds or Bounds())
        except BaseException:
            self._lock.release()
            raise
        self._woken = asyncio.Event()
        self._commit = GroupCommit(
            database, reload=self._rows.load, make_room=self._reserve.give_up, on_broken=self._woken.set, path=path
        )
        self._reader: Database | None = None
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="event-queue-read")
        self._put_bytes_waiting = 0
        self._is_closed = False
        self._undoing: set[asyncio.Task[object]] = set()

    def _open(self, clock: Clock, bounds: Bounds) -> Database:
        """On a full disk once more, without the reserve: what is there is to be finished."""
        try:
            return self._open_once(clock, bounds)
        except QueueFileError as error:
            if not (
                isinstance(error.__cause__, sqlite3.Error) and is_full(error.__cause__) and self._reserve.give_up()
            ):
                raise
        return self._open_once(clock, bounds)

    def _open_once(self, clock: Clock, bounds: Bounds) -> Database:
        database = open_database(self._path, self._connect)
        try:
            with told_of(self._path):
                self._rows = Rows(database, clock=clock, bounds=bounds)
                self._rows.load()
                self._rows.begin_serials()
        except BaseException:
            database.close()
            raise
        return database

    @property
    def woken(self) -> asyncio.Event:
        """Set whenever something may have become due."""
        return self._woken

    @property
    def commits(self) -> int:
        """How many commits there were since it was opened."""
        return self._commit.commits

    async def put(self, events: Sequence[Event]) -> Put:
        """Accept all or none; on the disk when this returns."""
        for event in events:
            check_event(event)
        more_bytes = sum(len(event.payload) for event in events)
        self._check_intake(more_bytes)
        self._put_bytes_waiting += more_bytes
        try:
            return await self._wake(lambda: self._rows.put(events), is_intake=True)
        finally:
            self._put_bytes_waiting -= more_bytes

    async def lease(
        self, function: str, *, at_most: int, lease_s: float, source: str | None = None, bytes_max: int | None = None
    ) -> Sequence[Lease]:
        """Those due longest first."""
        check_lease(at_most, lease_s)
        return await self._commit.do(
            lambda: self._rows.lease(function, at_most=at_most, lease_s=lease_s, source=source, bytes_max=bytes_max),
            Weight.MARK,
            undo=self._give_back,
        )

    async def extend(self, leases: Sequence[Lease], lease_s: float) -> tuple[str, ...]:
        """A heartbeat."""
        check_lease_s(lease_s)
        return await self._commit.do(lambda: self._rows.extend(leases, lease_s), Weight.MARK)

    async def finish(self, leases: Sequence[Lease], *, request_id: str = "") -> tuple[str, ...]:
        """Done."""
        return await self._wake(lambda: self._rows.finish(leases, request_id))

    async def retry(
        self, leases: Sequence[Lease], *, not_before_s: float, outcome: Outcome, error: str = "", request_id: str = ""
    ) -> tuple[str, ...]:
        """Once more, later."""
        check_retry(not_before_s, outcome)
        return await self._wake(
            lambda: self._rows.retry(
                leases, not_before_s=not_before_s, outcome=outcome, error=error, request_id=request_id
            )
        )

    async def bury(
        self, leases: Sequence[Lease], *, reason: str, outcome: Outcome, error: str = "", request_id: str = ""
    ) -> tuple[str, ...]:
        """Given up on."""
        check_name("reason", reason)
        return await self._wake(
            lambda: self._rows.bury(leases, reason=reason, outcome=outcome, error=error, request_id=request_id)
        )

    async def release(self, leases: Sequence[Lease]) -> tuple[str, ...]:
        """Not begun."""
        refused = await self._commit.do(lambda: self._rows.release(leases), Weight.MARK)
        self._woken.set()
        return refused

    async def redrive(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Dead letters wait again."""
        return await self._wake(lambda: self._rows.redrive(ids))

    async def discard(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Forget what waits or is dead."""
        return await self._wake(lambda: self._rows.discard(ids))

    async def lines(self, *, due_max: int = 1) -> Sequence[Line]:
        """What waits and runs, by function and source."""
        return await self._commit.do(lambda: self._rows.lines(due_max), Weight.LOOK)

    async def next_moment(self) -> float | None:
        """The next due time or end of a lease."""
        return await self._commit.do(self._rows.next_moment, Weight.LOOK)

    async def counts(self) -> Counts:
        """How many there are."""
        return await self._read(sqlite_shown.counts)

    async def listing(
        self,
        *,
        state: State | None = None,
        function: str | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page:
        """A page."""
        check_limit(limit)
        return await self._read(
            lambda database: sqlite_shown.listing(
                database, state=state, function=function, source=source, after=after, limit=limit
            )
        )

    async def get(self, event_id: str) -> Record | None:
        """One event."""
        return await self._read(lambda database: sqlite_shown.record(database, event_id))

    async def close(self) -> None:
        """Write what was asked for, and let go of the file."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._undoing:
            await asyncio.wait(self._undoing)
        if self._reader is not None:
            await asyncio.get_running_loop().run_in_executor(self._reading, self._reader.close)
        self._reading.shutdown()
        await self._commit.close()
        self._lock.release()

    async def _wake(self, act: Callable[[], Answer], *, is_intake: bool = False) -> Answer:
        """Something kept, after which something may be due."""
        answer = await self._commit.do(act, Weight.KEEP, is_intake=is_intake)
        self._woken.set()
        return answer

    def _give_back(self, leases: Sequence[Lease]) -> None:
        """Whoever asked for them has gone away."""
        if leases and not self._is_closed:
            task: asyncio.Task[object] = asyncio.get_running_loop().create_task(self._released(leases))
            self._undoing.add(task)
            task.add_done_callback(self._undoing.discard)

    async def _released(self, leases: Sequence[Lease]) -> None:
        try:
            await self.release(leases)
        except QueueUnavailable:
            return  # they come back when the leases run out

    def _check_intake(self, more_bytes: int) -> None:
        if self._put_bytes_waiting and self._put_bytes_waiting + more_bytes > PUT_BYTES_WAITING_MAX:
            raise QueueFull(
                f"{self._put_bytes_waiting} bytes of events wait for the disk already.", remedy="Send them again later."
            )
        disk = os.statvfs(self._path.parent)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes >= self._free_bytes_min + RESERVE_BYTES:
            self._reserve.take()
        if free_bytes < self._free_bytes_min:
            raise QueueFull(
                f"its disk has {free_bytes} bytes left; intake stops below {self._free_bytes_min}, "
                "so that what is there can be finished.",
                where=str(self._path),
                remedy="Make room there, then send it again.",
            )

    async def _read(self, look: Callable[[Database], Answer]) -> Answer:
        """In a thread of its own, by a connection of its own."""
        if self._is_closed:
            raise QueueUnavailable("the event queue is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, self._look, look)
        except sqlite3.Error as error:
            raise QueueUnavailable(f"the event queue could not be read: {error}.", where=str(self._path)) from error

    def _look(self, look: Callable[[Database], Answer]) -> Answer:
        if self._reader is None:
            self._reader = self._connect(self._path)
            self._reader.execute("PRAGMA query_only = ON")
        self._reader.execute("BEGIN")  # one view of it, however many statements
        try:
            return look(self._reader)
        finally:
            self._reader.execute("COMMIT")
