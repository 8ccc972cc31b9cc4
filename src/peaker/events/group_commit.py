"""Calls that change one SQLite file, committed in groups.

Statements run in the event loop (some ten microseconds each), the commit and its fsync in a thread. While a commit is
under way further calls gather and go into the next one together: one fsync covers as many calls as came during the one
before, and no call waits for company. (The other way round, with the statements in the thread, each of them would have
to win Python's lock from a busy loop.)
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from peaker.errors import PeakerError, QueueBroken, QueueFull, QueueUnavailable
from peaker.events.sqlite_file import Database, code_of, is_full

GROUP_CALLS_MAX = 256
"""Calls of one commit; they hold the event loop for some ten milliseconds."""

SHRINK_EVERY_COMMITS = 200
_FREE_PAGES_KEPT = 2_560
"""10 MB: less is not worth giving back."""

_PAGES_GIVEN_BACK = 512
"""At once, so that calls wait for some milliseconds."""

# Extended result codes (sqlite.org/rescode.html).
_IOERR_FSYNC = 1034
_IOERR_DIR_FSYNC = 1290

_logger = logging.getLogger("peaker.events.queue")

Answer = TypeVar("Answer")


class Weight(Enum):
    """What of a call has to be on the disk when it is answered."""

    LOOK = 0
    """It changes nothing."""
    MARK = 1
    """Written, so that it survives this process, but not synced: the next synced commit covers it."""
    KEEP = 2
    """Synced: it survives the loss of power."""


@dataclass(slots=True, eq=False)
class _Call:
    act: Callable[[], Any]
    weight: Weight
    answer: asyncio.Future[Any]
    is_intake: bool
    undo: Callable[[Any], None] | None


class GroupCommit:
    """Runs calls in the order in which they came.

    Args:
        database: used by nobody else.
        reload: what the calls hold in memory is to be read from the file again: a transaction has failed.
        make_room: gives up room on the disk, for what is no intake; whether there was any to give up.
        on_broken: called in the event loop when no call will succeed any more.
        path: of the file, for messages.
    """

    def __init__(
        self,
        database: Database,
        *,
        reload: Callable[[], None],
        make_room: Callable[[], bool],
        on_broken: Callable[[], None],
        path: Path,
    ) -> None:
        self._database = database
        self._reload = reload
        self._make_room = make_room
        self._on_broken = on_broken
        self._loop: asyncio.AbstractEventLoop | None = None
        self._path = path
        self._calls: deque[_Call] = deque()
        self._work: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-queue-commit")
        self._is_synced = True
        self._broken: QueueBroken | None = None
        self._is_closed = False
        self._shrink_at = SHRINK_EVERY_COMMITS
        self.commits = 0
        """For people: calls divided by commits is how many share one."""

    async def do(
        self,
        act: Callable[[], Answer],
        weight: Weight,
        *,
        is_intake: bool = False,
        undo: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Do it and return its answer once that stands as `weight` says.

        `undo` is given the answer where the caller has gone away meanwhile.

        Raises:
            QueueUnavailable: the disk failed and nothing was changed (QueueFull for an intake when the disk is full).
            QueueBroken: the file has to be opened anew.
            PeakerError: what `act` raised, before it changed anything.
        """
        if self._broken or self._is_closed:
            raise self._broken or QueueUnavailable("the event queue is closed.")
        loop = self._loop = asyncio.get_running_loop()
        call = _Call(act, weight, loop.create_future(), is_intake, undo)
        self._calls.append(call)
        if self._work is None:
            self._work = loop.create_task(self._write_all())
        try:
            answer: Answer = await call.answer
        except asyncio.CancelledError:
            # Answered and gone away in the same turn of the loop: nobody has heard the answer.
            if undo is not None and not call.answer.cancelled() and call.answer.exception() is None:
                undo(call.answer.result())
            raise
        return answer

    async def close(self) -> None:
        """Write what was asked for, and close the file."""
        self._is_closed = True
        if self._work is not None:
            await asyncio.wait([self._work])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    async def _write_all(self) -> None:
        try:
            while self._calls:
                group = [self._calls.popleft() for _ in range(min(len(self._calls), GROUP_CALLS_MAX))]
                await self._write([call for call in group if not call.answer.done()])
                if self.commits >= self._shrink_at and not self._broken:
                    self._shrink_at = self.commits + SHRINK_EVERY_COMMITS
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._shrink)
        finally:
            self._work = None

    async def _write(self, group: Sequence[_Call]) -> None:
        """One group: all of it or nothing."""
        try:
            answers = await self._transaction(group)
        except sqlite3.Error as error:
            await self._after_failure(group, error)
        except Exception as error:  # a mistake in this program: everybody in the group hears of it
            _logger.exception("a call of the event queue failed", extra={"action": "event"})
            self._roll_back()
            for call in group:
                _refuse(call, error)
        else:
            for call, answer in zip(group, answers, strict=True):
                _reply(call, answer)

    async def _transaction(self, group: Sequence[_Call]) -> list[Any]:
        weight = max((call.weight.value for call in group), default=0)
        if weight == Weight.LOOK.value:
            return [_answer_of(call) for call in group]
        self._sync(wanted=weight == Weight.KEEP.value)
        self._database.execute("BEGIN IMMEDIATE")
        answers = [_answer_of(call) for call in group]
        await asyncio.get_running_loop().run_in_executor(self._thread, self._commit)
        return answers

    def _sync(self, *, wanted: bool) -> None:
        if wanted is not self._is_synced:
            self._database.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._is_synced = wanted

    def _commit(self) -> None:
        self._database.execute("COMMIT")
        self.commits += 1

    def _shrink(self) -> None:
        """Give back part of what a long backlog has left empty."""
        database = self._database
        free = database.execute("PRAGMA freelist_count").fetchone()[0]
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        if free <= _FREE_PAGES_KEPT or free * 2 <= pages:
            return
        self._sync(wanted=False)
        try:
            database.execute("BEGIN IMMEDIATE")
            for _ in range(_PAGES_GIVEN_BACK):
                # One by one: it gives a row without columns for each, after the first of which sqlite3 stops.
                database.execute("PRAGMA incremental_vacuum(1)")
            database.execute("COMMIT")
        except sqlite3.Error as error:
            _logger.warning("%s: could not be made smaller: %s", self._path, error, extra={"action": "event"})
            self._roll_back()

    async def _after_failure(self, group: Sequence[_Call], error: sqlite3.Error) -> None:
        """Nothing of the group happened. On a full disk what is no intake is tried again: it may need no room."""
        self._roll_back()
        if _ends_all(code_of(error)):
            self._break(error)
        unavailable = self._broken or QueueUnavailable(
            f"the event queue could not be written: {error}.", where=str(self._path)
        )
        intakes = [call for call in group if call.is_intake]
        others = [call for call in group if not call.is_intake]
        for call in intakes:
            _refuse(call, self._full() if is_full(error) else unavailable, error)
        if is_full(error) and others and (intakes or self._make_room()):
            await self._write(others)
            return
        for call in others:
            _refuse(call, unavailable, error)

    def _full(self) -> QueueFull:
        return QueueFull(
            "the disk of the event queue is full; nothing was accepted.",
            where=str(self._path),
            remedy="Make room there, then send it again.",
        )

    def _roll_back(self) -> None:
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._reload()
        except sqlite3.Error as error:
            self._break(error)

    def _break(self, error: sqlite3.Error) -> None:
        """After this the file has to be opened anew.

        A failed fsync may have dropped what was written before it while the system takes it for written: a later one
        that succeeds would prove nothing (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
        """
        self._broken = QueueBroken(
            f"the event queue cannot go on: {error}.",
            where=str(self._path),
            remedy="The process that owns it has to begin anew; if it fails again, look at the disk.",
        )
        _logger.error("%s", self._broken, extra={"action": "event"})
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_broken)


def _ends_all(code: int) -> bool:
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY) or code in (
        _IOERR_FSYNC,
        _IOERR_DIR_FSYNC,
    )


def _answer_of(call: _Call) -> Any:
    """What it gives, or the refusal that it raises before it changes anything."""
    try:
        return call.act()
    except PeakerError as refusal:
        return refusal


def _reply(call: _Call, answer: Any) -> None:
    if isinstance(answer, PeakerError):
        _refuse(call, answer)
    elif not call.answer.done():
        call.answer.set_result(answer)
    elif call.undo is not None:
        call.undo(answer)


def _refuse(call: _Call, refusal: Exception, cause: Exception | None = None) -> None:
    if call.answer.done():
        return
    if cause is not None and refusal is not cause:
        refusal.__cause__ = cause
    call.answer.set_exception(refusal)
