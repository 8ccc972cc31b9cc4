"""Stopping an app that has lost its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence

from peaker.clock import Clock
from peaker.engines.local.child import Child
from peaker.engines.local.deadlines import KILL_GRACE_S
from peaker.engines.local.state_dir import LockedState, read_run
from peaker.jobs.folder import folders_in
from peaker.policy.supervision import STOP_ORDER
from peaker.settings import Settings
from peaker.state import StateDirectory


async def stop_orphans(locked: LockedState, clock: Clock) -> int:
    """Drain what run.json names, in the order of STOP_ORDER, and jobs, and return how many processes that were.

    Holding the lock meanwhile keeps a new supervisor from taking over what is being stopped.
    """
    record = read_run(locked.state)
    if record is None:
        return 0
    settings = Settings.from_json(locked.state.settings_of(record.generation).read_text(encoding="utf-8"))
    deadline_s = clock.now_s() + settings.servers.drain_s_max
    stopped = 0
    for kind in STOP_ORDER:
        children: list[Child] = []
        for process in record.processes:
            if process.kind == kind.value:
                with contextlib.suppress(ProcessLookupError):
                    children.append(Child.adopt(process.pid, process.started_ticks))
        stopped += len(children)
        await _end(children, max(0.0, deadline_s - clock.now_s()) + KILL_GRACE_S)
    # The events process stops the jobs that it looks after; here are those of one that was killed.
    jobs = _jobs(locked.state)
    await _end(jobs, max(0.0, deadline_s - clock.now_s()) + KILL_GRACE_S)
    return stopped + len(jobs)


def _jobs(state: StateDirectory) -> list[Child]:
    found = []
    for folder in folders_in(state.jobs):
        if (holder := folder.holder()) is not None:
            with contextlib.suppress(ProcessLookupError):
                found.append(Child.adopt(*holder))
    return found


async def _end(children: Sequence[Child], timeout_s: float) -> None:
    ended = [asyncio.Event() for _ in children]
    for child, event in zip(children, ended, strict=True):
        child.watch(event.set)
        child.send(signal.SIGTERM)
    try:
        async with asyncio.timeout(timeout_s):
            for event in ended:
                await event.wait()
    except TimeoutError:
        for child in children:
            child.kill_session()
        for event in ended:
            await event.wait()
