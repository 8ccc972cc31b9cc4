"""Jobs, run for their events: what the dispatcher waits for as for a function, but as long as it takes.

A job's event is leased for as long as its process runs. Its process goes on whatever becomes of this one: it writes
checkpoints and its result itself (jobs/folder.py), and whoever leases the event next adopts it, or finds its result.
The lock in its folder sees to it that there is one process at the most.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from peaker.clock import Clock
from peaker.errors import PeakerError
from peaker.events.invoking import Call, Invoke, Ran
from peaker.events.job_care import JobCare, LiveJob
from peaker.events.queue import Queue
from peaker.events.runs import Run
from peaker.job_section import JobSection
from peaker.jobs.folder import JobFolder, JobRecord, take_lock
from peaker.jobs.process import EXIT_TAKEN
from peaker.jobs.watched import WatchedProcess, exit_words, kill_group
from peaker.policy.job_ending import ProcessEnd, Verdict, verdict_of
from peaker.policy.retry import Ending, Reason
from peaker.settings import Settings
from peaker.state import StateDirectory

TAKEN_PAUSE_S = 0.1
DISK_PAUSE_S = 1.0

_logger = logging.getLogger("peaker.events.jobs")


class JobRuns:
    """An `Invoke` that runs jobs itself, and all else by `others`.

    Args:
        others: runs functions.
        queue: knows where a job's event comes from, and what became of it.
        settings, generation: those that new processes are started with.
        environ: of this process; it holds the variables and secrets that the app declares.
    """

    def __init__(
        self,
        others: Invoke,
        queue: Queue,
        *,
        settings: Settings,
        state: StateDirectory,
        generation: int,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._others = others
        self._queue = queue
        self._settings = settings
        self._state = state
        self._generation = generation
        self._clock = clock
        self._environ = environ
        self._sections: dict[str, JobSection] = {job.name: job for job in settings.job}
        self._live: dict[str, LiveJob] = {}
        self._care = JobCare(queue, state.jobs, self._live, clock, known=frozenset(self._sections))
        self._leaving = asyncio.Event()
        self._is_stopping = False
        self._lock: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.totals: Counter[str] = Counter()

    def start(self) -> None:
        """Look after jobs: from here on their processes know that somebody does."""
        if not self._sections and not self._state.jobs.exists():
            return
        self._lock = take_lock(self._state.jobs_lock)
        self._spawn(self._care.watch())

    def is_there(self) -> bool:
        """As `others` say: jobs can always be run."""
        return self._others.is_there()

    async def run(self, call: Call) -> Ran:
        """Run a job's process to its end, or go on waiting for one that runs; a function by `others`."""
        section = self._sections.get(call.function)
        if section is None:
            return await self._others.run(call)
        while not self._leaving.is_set() and not self._is_stopping:
            try:
                ran = await self._attempt(call, section)
            except OSError as error:
                _logger.error("%s %s: %s; trying again", call.function, call.request_id, error)  # noqa: TRY400
                await asyncio.sleep(DISK_PAUSE_S)
                continue
            if ran is not None:
                return ran
            await asyncio.sleep(TAKEN_PAUSE_S)
        return _SET_ASIDE

    def ended(self, run: Run) -> None:
        """What came of a run is in the queue: show it as that."""
        if run.lane.function in self._sections and run.ran is not None and not run.ran.host_is_away:
            self._spawn(self._care.settle(run.request_id))

    async def cancel(self, job_id: str) -> str:
        """Have a job end for good; returns what it was: waiting, running, or "" where there is no such job to end."""
        return await self._care.cancel(job_id, self._stop_s)

    async def stop(self, timeout_s: float) -> None:
        """Tell all to stop, and wait for their ends: they go on at their checkpoints when somebody starts again."""
        self._is_stopping = True
        live = list(self._live.values())
        for job in live:
            job.tell_to_stop(min(timeout_s, job.section.stop_s_max))
        await asyncio.gather(*(job.process.ended.wait() for job in live))

    def leave(self) -> None:
        """Let all go on by themselves: whoever comes next adopts them."""
        self._leaving.set()

    def close(self) -> None:
        """Look after nothing any more."""
        for task in self._tasks:
            task.cancel()
        for job in self._live.values():
            job.process.forget()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def describe(self) -> list[dict[str, Any]]:
        """For people: each job that runs here."""
        return [job.describe() for job in self._live.values()]

    async def _attempt(self, call: Call, section: JobSection) -> Ran | None:
        """One process, from its start or adoption to its end; None where that has to be begun anew."""
        async with self._care.lock_of(call.request_id):
            begun = await self._begun(call, section)
        if not isinstance(begun, LiveJob):
            return begun
        try:
            await self._end_or_leave(begun.process)
            if not begun.process.ended.is_set():
                begun.process.forget()
                return _SET_ASIDE
            if begun.process.status == EXIT_TAKEN:
                return None
            async with self._care.lock_of(call.request_id):
                return await self._judged(begun)
        finally:
            del self._live[call.request_id]

    async def _begun(self, call: Call, section: JobSection) -> LiveJob | Ran | None:
        """A process, adopted or started; or what one before said at its end; or None where it is too early for both."""
        folder = JobFolder.of(self._state.jobs, call.request_id)
        record = await asyncio.to_thread(folder.record) or await self._made(folder, call)
        process = await self._adopted(folder)
        if process is None:
            if folder.is_locked():
                return None  # It has taken the lock and not said yet who it is, or is just ending.
            result = folder.result()
            # One with fewer failures before it has been counted since.
            is_untold = result is not None and result["attempt"] == record.number and record.failures == call.failures
            if is_untold and result is not None and result["outcome"] in ("succeeded", "failed"):
                return self._ran(Verdict(_VERDICTS[result["outcome"]]), result, "")
            if folder.is_cancelled:
                return self._ran(Verdict.CANCELLED, None, "")
            if await self._are_enough(section):
                return Ran(ending=Ending.NOT_STARTED, error="as many as may (job.concurrency_max) run already")
            record, process = await self._started(folder, record, call)
        job = LiveJob(record=record, section=section, folder=folder, process=process)
        self._live[call.request_id] = job
        return job

    async def _are_enough(self, section: JobSection) -> bool:
        """The lane knows of those that run here; others run on whose leases are still those of a killed process."""
        here = sum(job.record.name == section.name for job in self._live.values())
        return here + await asyncio.to_thread(self._care.unwatched, section.name) >= section.concurrency_max

    async def _end_or_leave(self, process: WatchedProcess) -> None:
        waits = [asyncio.ensure_future(process.ended.wait()), asyncio.ensure_future(self._leaving.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _judged(self, job: LiveJob) -> Ran:
        folder, record = job.folder, job.record
        result = folder.result()
        if result is not None and result["attempt"] != record.number:
            result = None
        checkpoint = folder.checkpoint()
        verdict = verdict_of(
            ProcessEnd(
                outcome=result["outcome"] if result is not None else "",
                was_cancelled=folder.is_cancelled,
                was_told=self._is_stopping,
                has_new_checkpoint=checkpoint is not None and checkpoint.number > record.checkpoint_at_start,
            )
        )
        how = job.killed_for or exit_words(job.process.status)
        told = {"error": result["error"]} if result is not None and result["error"] else {}
        if result is None:
            told = {"error": how}
        await asyncio.to_thread(folder.tell, verdict.value, at_s=self._clock.epoch_s(), attempt=record.number, **told)
        if verdict in (Verdict.SET_ASIDE, Verdict.AGAIN):
            await asyncio.to_thread(folder.write_record, replace(record, state="waiting"))
        return self._ran(verdict, result, how)

    def _ran(self, verdict: Verdict, result: Mapping[str, Any] | None, how: str) -> Ran:
        self.totals[verdict.name.lower()] += 1
        if verdict is Verdict.FINISHED and result is not None:
            return Ran(ending=Ending.SUCCEEDED, answer=str(result["answer"]).encode())
        if verdict is Verdict.CANCELLED:
            return Ran(ending=Ending.REFUSED, reason=Reason.CANCELLED, error="it was cancelled")
        if verdict is Verdict.SET_ASIDE:
            return _SET_ASIDE
        error = result["error"] if result is not None and result["error"] else how
        if verdict is Verdict.AGAIN:
            return Ran(ending=Ending.NOT_STARTED, error=f"{error}; it goes on at its checkpoint")
        answer = json.dumps({"errorMessage": error, "errorType": "JobFailed"}).encode()
        return Ran(ending=Ending.FAILED, error=error, answer=answer, function_error="Unhandled")

    async def _made(self, folder: JobFolder, call: Call) -> JobRecord:
        known = await self._queue.get(call.request_id)
        record = JobRecord(
            id=call.request_id,
            name=call.function,
            source=known.event.source if known is not None else "",
            accepted_at_s=known.event.accepted_at_s if known is not None else self._clock.epoch_s(),
            state="waiting",
        )
        await asyncio.to_thread(folder.make, call.payload)
        return record

    async def _adopted(self, folder: JobFolder) -> WatchedProcess | None:
        holder = await asyncio.to_thread(folder.holder)
        if holder is None or holder == (0, 0):
            return None
        process = WatchedProcess.adopt(*holder)
        if process is None and folder.is_locked():
            kill_group(holder[0])  # It is gone; what it forked has the lock still, and ends with it.
        return process

    async def _started(self, folder: JobFolder, record: JobRecord, call: Call) -> tuple[JobRecord, WatchedProcess]:
        now_s = self._clock.epoch_s()
        checkpoint = await asyncio.to_thread(folder.checkpoint)
        number = checkpoint.number if checkpoint is not None else 0
        begun = replace(
            record,
            state="running",
            number=record.number + 1,
            began_at_s=record.began_at_s or now_s,
            ended_at_s=0.0,
            checkpoint_at_start=number,
            failures=call.failures,
            error="",
        )
        await asyncio.to_thread(self._write_down, folder, begun, now_s)
        self.totals["started"] += 1
        command = [sys.executable, "-P", "-m", "peaker.jobs.process", "--state", str(self._state.root.absolute())]
        command += ["--generation", str(self._generation), "--folder", folder.path.name, "--attempt", str(begun.number)]
        section = self._sections[record.name]
        try:
            process = WatchedProcess.start(
                command,
                environment={**self._environ, **section.env, "PYTHONUNBUFFERED": "1", "PEAKER_JOB_ID": record.id},
                directory=Path(self._settings.directory),
                log=folder.log,
            )
        except PeakerError as error:
            raise OSError(str(error)) from error
        return begun, process

    @staticmethod
    def _write_down(folder: JobFolder, record: JobRecord, now_s: float) -> None:
        folder.forget_result()
        folder.write_record(record)
        folder.tell("started", at_s=now_s, attempt=record.number, checkpoint=record.checkpoint_at_start)

    def _stop_s(self, name: str) -> float:
        section = self._sections.get(name)
        return section.stop_s_max if section is not None else 0.0

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended_task)

    def _ended_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("looking after jobs went wrong", exc_info=error, extra={"action": "job"})


_SET_ASIDE = Ran(ending=Ending.NOT_STARTED, error="it was told to stop", host_is_away=True)
_VERDICTS = {"succeeded": Verdict.FINISHED, "failed": Verdict.FAILED}
