"""Starts of a fresh process that imports and starts the app: what comes closest here to Lambda's init phase."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from peaker.app import environment
from peaker.clock import Clock
from peaker.errors import AppStartError
from peaker.settings import Settings

STARTS = 5
BUDGET_S = 30.0
"""No further start is begun after this; one start has `servers.start_s_max`."""

_SAID_MAX = 2000


async def fresh_starts(settings: Settings, settings_file: Path, clock: Clock) -> list[float]:
    """Seconds of each start, one after the other, with the settings that stand in the file.

    Even the first finds the app's files in the page cache, since a worker has run before.

    Raises:
        AppStartError: one failed, in its own words, or took longer than `servers.start_s_max`.
    """
    began_s = clock.now_s()
    times_s: list[float] = []
    while len(times_s) < STARTS and clock.now_s() - began_s < BUDGET_S:
        times_s.append(await _start_once(settings, settings_file, clock))
    return times_s


async def _start_once(settings: Settings, settings_file: Path, clock: Clock) -> float:
    reading, writing = os.pipe()
    command = [sys.executable, "-P", "-m", "peaker.functions.fresh_start", str(settings_file), str(writing)]
    began_s = clock.now_s()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **environment(settings)},
            cwd=settings.directory,
            pass_fds=[writing],
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        async with asyncio.timeout(settings.servers.start_s_max):
            _, said = await process.communicate()
        told = os.read(reading, 64)
    except TimeoutError as error:
        raise AppStartError(f"it did not start within {settings.servers.start_s_max:g} s.") from error
    finally:
        os.close(reading)
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if not told:
        words = said.decode(errors="replace").strip()[-_SAID_MAX:]
        raise AppStartError(f"a fresh process did not start the app: {words or process.returncode}")
    return int(told) / 1e9 - began_s
