"""The process of one job. `python -P -m peaker.jobs.process --help`.

Exit codes: 0 finished, 1 its handler failed, 75 it stopped when told to, 3 another process of this job lives.
Whatever it says at its end is on disk before it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from peaker.asgi import load_callable
from peaker.errors import PeakerError
from peaker.job_section import JobSection
from peaker.jobs.folder import JobFolder, is_locked
from peaker.jobs.job import Job, JobStopping
from peaker.process_identity import started_ticks
from peaker.settings import Settings
from peaker.state import StateDirectory
from peaker.units import MIB

EXIT_FINISHED = 0
EXIT_FAILED = 1
EXIT_TAKEN = 3
EXIT_STOPPED = 75
LOOK_S = 0.5
ANSWER_BYTES_MAX = 200_000
ERROR_CHARACTERS_MAX = 2_000
"""Of an answer only its destination gets more than a person wants; Lambda's record of one has 256 KB."""


def run_job(settings: Settings, section: JobSection, folder: JobFolder, job: Job) -> int:
    """Run the handler to its end and write that down; returns the exit code."""
    try:
        handler = load_callable(section.handler, settings.directory)
        event = json.loads(folder.event.read_bytes())
        answer = handler(event, job)
        if inspect.isawaitable(answer):
            answer = asyncio.run(_awaited(answer))
        text = json.dumps(answer, default=str)
        outcome = ("succeeded", "", text if len(text) <= ANSWER_BYTES_MAX else "null", EXIT_FINISHED)
    except JobStopping as error:
        outcome = ("stopped", str(error), "null", EXIT_STOPPED)
    except PeakerError as error:  # the handler does not import; the text has the user's own frames
        _logger.error("%s", error)  # noqa: TRY400
        outcome = ("failed", str(error), "null", EXIT_FAILED)
    except BaseException as error:  # noqa: BLE001 - sys.exit() and Ctrl-C of the user's code end the job, too
        traceback.print_exc()
        outcome = ("failed", f"{type(error).__name__}: {error}", "null", EXIT_FAILED)
    how, told, text, code = outcome
    job.flush()
    folder.write_result(job.attempt, how, error=told[:ERROR_CHARACTERS_MAX], answer=text)
    return code


async def _awaited(answer: Any) -> Any:
    return await answer


class Guard(threading.Thread):
    """Looks after what nobody else can while nobody runs Peaker: the log's bound, being left alone, a stop that lasts.

    Without anybody who looks after jobs for `orphan_s_max` the job is told to stop; what does not end within
    `stop_s_max` of being told is ended.
    """

    def __init__(self, settings: Settings, section: JobSection, state: StateDirectory, folder: JobFolder) -> None:
        super().__init__(daemon=True, name="peaker-job-guard")
        self._orphan_s_max = settings.servers.orphan_s_max
        self._stop_s_max = section.stop_s_max
        self._log_bytes_max = section.log_mb_max * MIB
        self._watched = state.jobs_lock
        self._log = folder.log
        self._left_since_s: float | None = None
        self.told_s: float | None = None

    def run(self) -> None:
        """Until the process ends."""
        while True:
            time.sleep(LOOK_S)
            bound_log(self._log, self._log_bytes_max)
            now_s = time.monotonic()
            if is_locked(self._watched):
                self._left_since_s = None
            elif self._left_since_s is None:
                self._left_since_s = now_s
            elif self.told_s is None and now_s - self._left_since_s > self._orphan_s_max:
                _logger.warning("nobody looks after this job any more: it stops")
                os.kill(os.getpid(), signal.SIGTERM)
            if self.told_s is not None and now_s - self.told_s > self._stop_s_max + LOOK_S:
                _logger.error("it did not stop within job.stop_s_max = %g s", self._stop_s_max)
                os.killpg(os.getpgid(0), signal.SIGKILL)


def bound_log(log: Path, bytes_max: int) -> None:
    """Keep half of what may be there, as `log.1`, and empty the log, which others may be writing to at its end."""
    try:
        if log.stat().st_size <= bytes_max // 2:
            return
        log.with_name("log.1").write_bytes(log.read_bytes()[-bytes_max // 2 :])
        os.truncate(log, 0)
    except OSError as error:
        _logger.warning("the log cannot be bounded: %s", error)


_logger = logging.getLogger("peaker.jobs")


def main(arguments: list[str]) -> int:
    """Run one process of one job."""
    parser = argparse.ArgumentParser(prog="python -m peaker.jobs.process", description="Runs one job.")
    parser.add_argument("--state", type=Path, required=True, help="state directory")
    parser.add_argument("--generation", type=int, required=True, help="which generation-G.json to read")
    parser.add_argument("--folder", required=True, help="name of the job's folder")
    parser.add_argument("--attempt", type=int, required=True, help="which process of the job this is")
    given = parser.parse_args(arguments)
    state = StateDirectory(given.state)
    folder = JobFolder(state.jobs / given.folder)
    lock = folder.take_lock(started_ticks(os.getpid()) or 0)
    record = folder.record()
    if lock is None or record is None or record.number != given.attempt:
        return EXIT_TAKEN
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    settings = Settings.from_json(state.settings_of(given.generation).read_text(encoding="utf-8"))
    section = next(job for job in settings.job if job.name == record.name)
    os.nice(section.nice)
    guard = Guard(settings, section, state, folder)
    job = Job(folder, job_id=record.id, name=record.name, attempt=record.number)

    def told_to_stop(_: int, __: FrameType | None) -> None:
        guard.told_s = guard.told_s or time.monotonic()
        job.stop()

    signal.signal(signal.SIGTERM, told_to_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard.start()
    return run_job(settings, section, folder, job)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # Threads of the user's code that are left hold up nothing: how it ended is on disk.
    os._exit(code)
