"""Looking after jobs beside running them: those that hang or grow too large, what is shown, kept, cancelled."""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from peaker.clock import Clock
from peaker.errors import QueueUnavailable
from peaker.events.queue import Queue, State
from peaker.functions.proc import descendants, memory_bytes
from peaker.job_section import JobSection
from peaker.jobs.folder import JobFolder, JobRecord, folders_in
from peaker.jobs.watched import WatchedProcess
from peaker.policy.retry import Reason
from peaker.units import MIB

JOBS_KEPT_MAX = 200
"""That have ended; the oldest goes, with its log and checkpoint."""

WATCH_S = 1.0
RECONCILE_EVERY = 5
"""Looks, of those at what runs."""

_logger = logging.getLogger("peaker.events.jobs")


@dataclass(slots=True, kw_only=True)
class LiveJob:
    """A job with a process. `killed_for` says why this side killed it, "" where it did not."""

    record: JobRecord
    section: JobSection
    folder: JobFolder
    process: WatchedProcess
    killed_for: str = ""

    def tell_to_stop(self, within_s: float) -> None:
        """SIGTERM, and SIGKILL where it has not ended `within_s`."""
        self.process.tell_to_stop()
        asyncio.get_running_loop().call_later(within_s, self._overdue, within_s)

    def describe(self) -> dict[str, Any]:
        """For people."""
        progress = self.folder.progress()
        return {
            "id": self.record.id,
            "name": self.record.name,
            "attempt": self.record.number,
            "began_at_s": self.record.began_at_s,
            "pid": self.process.pid,
            "fraction": progress["fraction"],
            "text": progress["text"],
        }

    def _overdue(self, within_s: float) -> None:
        if not self.process.ended.is_set():
            self.killed_for = self.killed_for or f"it did not stop within {within_s:g} s"
            self.process.kill()


class JobCare:
    """Of the jobs in the folder `jobs`; `live` are those with a process, and `known` the names there are."""

    def __init__(
        self, queue: Queue, jobs: Path, live: Mapping[str, LiveJob], clock: Clock, *, known: frozenset[str]
    ) -> None:
        self._queue = queue
        self._jobs = jobs
        self._live = live
        self._clock = clock
        self._known = known
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock_of(self, job_id: str) -> asyncio.Lock:
        """Held by whoever writes the record of a job, from reading it on."""
        return self._locks.setdefault(job_id, asyncio.Lock())

    async def watch(self) -> None:
        """Kill what hangs and what is too large, until cancelled."""
        for look in itertools.count():
            await asyncio.sleep(WATCH_S)
            if look % RECONCILE_EVERY == 0:
                await self.reconcile()
            for job in list(self._live.values()):
                reason = _too_still(job, self._clock.epoch_s()) or _too_large(job)
                if reason and not job.killed_for:
                    job.killed_for = reason
                    _logger.warning("%s %s is killed: %s", job.record.name, job.record.id, reason)
                    job.process.kill()

    async def reconcile(self) -> None:
        """Show what ended unseen (under another process, or by `peaker events`); stop jobs that are no more."""
        for record, folder in await asyncio.to_thread(self._unended):
            if record.id in self._live:
                continue
            if record.name not in self._known and (holder := folder.holder()) is not None:
                process = WatchedProcess.adopt(*holder)
                if process is not None:
                    process.tell_to_stop()  # its own guard sees to it that it ends in time
                    process.forget()
            await self.settle(record.id)

    async def settle(self, job_id: str) -> None:
        """Write down what the queue says of a job, and take away what is too old."""
        async with self.lock_of(job_id):
            await self._settle(JobFolder.of(self._jobs, job_id), job_id)

    async def _settle(self, folder: JobFolder, job_id: str) -> None:
        record = folder.record()
        if record is None or record.has_ended or job_id in self._live:
            return
        try:
            known = await self._queue.get(job_id)
        except QueueUnavailable:
            return  # shown at the next start
        result = folder.result()
        error = ""
        if known is None:
            is_finished = result is not None and result["outcome"] == "succeeded"
            state, error = ("finished", "") if is_finished else ("failed", "its event was discarded")
        elif known.entry.state is State.FINISHED:
            state = "finished"
        elif known.entry.state is State.DEAD:
            error = known.entry.error
            state = "cancelled" if known.entry.reason == Reason.CANCELLED.value else "failed"
        else:
            state, error = "waiting", known.entry.error
            if folder.is_locked():
                return  # it runs, and is adopted when its lease is over
        settled = replace(record, state=state, error=error)
        if settled.has_ended:
            settled = replace(settled, ended_at_s=self._clock.epoch_s())
        if settled != record:
            await asyncio.to_thread(self._write, folder, settled)
        if settled.has_ended:
            await asyncio.to_thread(self._keep_newest)

    async def cancel(self, job_id: str, stop_s: Callable[[str], float]) -> str:
        """Have a job end for good; returns what it was: waiting, running, or "" where there is nothing to end."""
        folder = JobFolder.of(self._jobs, job_id)
        known = await self._queue.get(job_id)
        if known is None or known.event.function not in self._known:
            return ""
        if known.entry.state is State.WAITING and await self._queue.discard([job_id]):
            if (record := folder.record()) is not None:
                folder.tell("cancelled", at_s=self._clock.epoch_s())
                folder.write_record(replace(record, state="cancelled", ended_at_s=self._clock.epoch_s()))
            return "waiting"
        if known.entry.state not in (State.WAITING, State.RUNNING):
            return ""
        if not folder.path.exists():
            await asyncio.to_thread(folder.make, known.event.payload)
        await asyncio.to_thread(folder.cancel)
        folder.tell("told to end: cancelled", at_s=self._clock.epoch_s())
        if (job := self._live.get(job_id)) is not None:
            job.tell_to_stop(stop_s(job.record.name))
        elif (holder := folder.holder()) is not None and (process := WatchedProcess.adopt(*holder)) is not None:
            process.tell_to_stop()
            process.forget()
        return "running"

    @staticmethod
    def _write(folder: JobFolder, record: JobRecord) -> None:
        folder.write_record(record)
        if record.has_ended:
            folder.forget_result()
            folder.forget_cancel()

    def unwatched(self, name: str) -> int:
        """How many of this job have a process that is not waited for here: their events are leased by one before."""
        return sum(
            record.name == name and record.id not in self._live and folder.is_locked()
            for record, folder in self._unended()
        )

    def _unended(self) -> list[tuple[JobRecord, JobFolder]]:
        found = [(folder.record(), folder) for folder in folders_in(self._jobs)]
        return [(record, folder) for record, folder in found if record is not None and not record.has_ended]

    def _keep_newest(self) -> None:
        ended = [
            (record.ended_at_s, folder)
            for folder in folders_in(self._jobs)
            if (record := folder.record()) is not None and record.has_ended
        ]
        ended.sort(key=lambda each: each[0], reverse=True)
        for _, folder in ended[JOBS_KEPT_MAX:]:
            shutil.rmtree(folder.path)


def _too_still(job: LiveJob, now_s: float) -> str:
    heartbeat_s = job.section.heartbeat_s
    if heartbeat_s is None:
        return ""
    try:
        started_s = (job.folder.path / "job.json").stat().st_mtime
    except FileNotFoundError:
        return ""
    still_s = now_s - max(job.folder.last_sign_s(), started_s)
    return f"no sign of life for {still_s:.0f} s (job.heartbeat_s = {heartbeat_s:g})" if still_s > heartbeat_s else ""


def _too_large(job: LiveJob) -> str:
    memory_mb = job.section.memory_mb
    if memory_mb is None:
        return ""
    used = sum(memory_bytes(pid)[1] for pid in descendants(job.process.pid))
    return f"it uses {used / MIB:.0f} MB (job.memory_mb = {memory_mb})" if used > memory_mb * MIB else ""
