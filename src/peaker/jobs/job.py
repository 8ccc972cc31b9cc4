"""What a job's handler is given."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from peaker.jobs.folder import Checkpoint, JobFolder

CHECKPOINT_BYTES_MAX = 1024 * 1024
TEXT_CHARACTERS_MAX = 200
SIGN_EVERY_S = 0.2
"""Progress and signs of life reach the disk this often at the most."""


class JobStopping(BaseException):
    """The job has been told to stop. No `Exception`, so that a handler's own `except Exception` lets it pass."""


class Job:
    """One job, as its handler sees it. Its calls may come from any thread of the process.

    Attributes:
        id: names the job; the id of the event that started it, the same in each of its processes.
        name: of the `[[job]]`.
        attempt: 1 in its first process, one more in each that follows.
        resumed_from: the last checkpoint that it wrote in an earlier process, None without one.
    """

    def __init__(self, folder: JobFolder, *, job_id: str, name: str, attempt: int) -> None:
        self.id = job_id
        self.name = name
        self.attempt = attempt
        self._folder = folder
        self._pid = os.getpid()
        checkpoint = folder.checkpoint()
        self.resumed_from: Any = None if checkpoint is None else checkpoint.value
        self._checkpoints = 0 if checkpoint is None else checkpoint.number
        shown = folder.progress()
        self._fraction: float | None = shown["fraction"]
        self._text: str = shown["text"]
        self._written_s = float("-inf")
        self._is_stopping = False
        self._on_stop: list[Callable[[], object]] = []

    def progress(self, fraction: float, text: str = "") -> None:
        """Show a person how far it has come: `fraction` from 0 to 1, `text` of up to 200 characters.

        Raises:
            ValueError: the fraction is outside of 0 to 1.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction = {fraction!r}; allowed: 0 to 1")
        self._fraction, self._text = float(fraction), " ".join(str(text).split())[:TEXT_CHARACTERS_MAX]
        self._sign()

    def checkpoint(self, value: Any) -> None:
        """Keep `value` (JSON, up to 1 MiB): the process after this one begins with the newest as `resumed_from`.

        It is on disk when this returns: not even a loss of power takes it.

        Raises:
            ValueError: it is too large, or no JSON.
            JobStopping: this process is no longer the job's: another has begun. Nothing was written.
            OSError: the disk did not take it; the checkpoint before still holds.
        """
        try:
            size = len(json.dumps(value, allow_nan=False))
        except TypeError as error:
            raise ValueError(f"a checkpoint is JSON: {error}") from error
        if size > CHECKPOINT_BYTES_MAX:
            raise ValueError(f"a checkpoint of {size:,} bytes; allowed: up to {CHECKPOINT_BYTES_MAX:,}")
        record = self._folder.record()
        if record is None or record.number != self.attempt:
            raise JobStopping("another process of this job has begun")
        number = self._checkpoints + 1
        self._folder.write_checkpoint(Checkpoint(number=number, attempt=self.attempt, at_s=time.time(), value=value))
        self._checkpoints = number
        self._sign()

    @property
    def stopping(self) -> bool:
        """It has been told to stop: write a checkpoint and call `check`, before `stop_s_max` is over."""
        self._sign()
        return self._is_stopping

    def check(self) -> None:
        """Raise JobStopping if it has been told to stop; what was started again later goes on at the last checkpoint.

        A handler that returns instead has finished the job.
        """
        if self.stopping:
            raise JobStopping

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Have `callback` called in the main thread, between two of its steps, when the job is told to stop."""
        self._on_stop.append(callback)

    def stop(self) -> None:
        """For whoever runs the job: it is told to stop."""
        if self._is_stopping:
            return
        self._is_stopping = True
        for callback in self._on_stop:
            callback()

    def flush(self) -> None:
        """For whoever runs the job: write down what progress there is."""
        self._written_s = float("-inf")
        self._sign()

    def _sign(self) -> None:
        """A sign of life, and progress with it."""
        now_s = time.monotonic()
        if now_s - self._written_s < SIGN_EVERY_S or os.getpid() != self._pid:
            return
        self._written_s = now_s
        self._folder.write_progress(self._fraction, self._text)
