"""Jobs whose effects are a ledger: a line for each step, synced, with the process that did it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

from peaker.jobs import Job


def note(line: str) -> None:
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def steps(event: dict[str, Any], job: Job) -> dict[str, int]:
    """So many steps, a checkpoint after each `every`th; nobody else may be at it."""
    note(f"{job.id} begins {job.attempt} {os.getpid()}")
    count, every = event["steps"], event.get("every", 1)
    for step in range(job.resumed_from or 0, count):
        job.check()
        note(f"{job.id} step {step} {job.attempt}")
        sys.stdout.write(f"step {step}\n")
        time.sleep(event.get("step_s", 0.01))
        if (step + 1) % every == 0:
            job.checkpoint(step + 1)
        job.progress((step + 1) / count, f"{step + 1} of {count} steps")
    note(f"{job.id} ends {job.attempt} {os.getpid()}")
    return {"steps": count}


async def asynchronous(event: dict[str, Any], job: Job) -> dict[str, int]:
    await asyncio.sleep(0)
    return steps(event, job)


def fails(event: dict[str, Any], job: Job) -> None:
    note(f"{job.id} begins {job.attempt} {os.getpid()}")
    raise ValueError(f"no such film: {event['film']}")


def hangs(_event: dict[str, Any], job: Job) -> None:
    """Says something once, and never again."""
    note(f"{job.id} begins {job.attempt} {os.getpid()}")
    job.checkpoint(job.attempt)
    if job.attempt == 1:
        time.sleep(600)


def deaf(_event: dict[str, Any], job: Job) -> None:
    """Has a child, and hears nothing of being told to stop."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note(f"{job.id} child {child.pid}")
    while True:
        time.sleep(1)


def grows(_event: dict[str, Any], job: Job) -> None:
    note(f"{job.id} begins {job.attempt} {os.getpid()}")
    held = bytearray(os.urandom(1024)) * (300 * 1024)
    time.sleep(600)
    del held


def dies(_event: dict[str, Any], job: Job) -> None:
    note(f"{job.id} begins {job.attempt} {os.getpid()}")
    os.kill(os.getpid(), signal.SIGKILL)


def record(event: dict[str, Any], _context: Any) -> None:
    """A function: where records of jobs go."""
    answer = event.get("responsePayload")
    note(f"{event['requestContext']['requestId']} record {event['requestContext']['condition']} {answer}")
