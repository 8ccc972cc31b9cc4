"""`peaker run --dev`: one worker that can be stopped in a debugger, and a new one whenever code is saved."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from peaker.build import code_files
from peaker.cli import present
from peaker.errors import PeakerError
from peaker.settings import Settings, replaced

LOOK_S = 0.25
"""Between two looks at the files; more where looking itself takes long."""
LOOK_SHARE_MAX = 0.05
"""Of one core, for looking."""
SETTLE_S = 0.1
"""A save is over when nothing has changed for this long: editors write in several steps."""

PATIENT_S = 900.0
"""For time limits that would end what is stopped in a debugger."""

Snapshot = dict[Path, tuple[int, int, int]]
"""Time of change (ns), size and inode by file."""

SETTINGS_FILES = ("peaker.toml", "pyproject.toml")


def for_development(settings: Settings, *, spill: bool) -> Settings:
    """One worker, an access log, no time limit that a debugger would run into, and no spill unless asked for.

    Raises:
        SettingsError: never for the settings given here; those of the file have been checked.
    """
    changed: dict[str, object] = {
        "servers.count_min": 1,
        # Two, so that a new worker can start beside the old one where a [[resource]] counts processes.
        "servers.count_max": 2,
        "servers.policy": "fixed",
        "servers.workers": 1,
        "servers.in_flight_max": 256,
        "servers.header_timeout_s": PATIENT_S,
        "servers.body_timeout_s": PATIENT_S,
        "servers.start_s_max": PATIENT_S,
        "servers.lag_ms_max": 10_000.0,
        "app.access_log": settings.app.access_log or "-",
    }
    if not spill:
        changed["app.spill"] = False
    for name, value in changed.items():
        settings = replaced(settings, name, value, where="--dev")
    if spill:
        return settings
    # A route that is declared to run on functions runs here too: breakpoints are in the worker.
    routes = (dataclasses.replace(r, placement="hybrid", stream=False) if r.placement == "functions" else r
              for r in settings.route)  # fmt: skip
    return dataclasses.replace(settings, route=tuple(routes))


def watched_files(directory: Path, config: str | None, env_file: str) -> Iterable[Path]:
    """Code, and the files the settings come from."""
    named = [Path(directory, name) for name in SETTINGS_FILES]
    named += [Path(config)] if config else []
    named += [Path(directory, env_file)] if env_file else []
    return {*code_files(directory), *named}


def snapshot(files: Iterable[Path]) -> Snapshot:
    """What can be seen of them without reading; those that are not there are left out."""
    seen: Snapshot = {}
    for path in files:
        try:
            found = path.stat()
        except OSError:
            continue  # It is being replaced just now, or the setting names one that is not there.
        seen[path] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return seen


def changes(before: Snapshot, after: Snapshot) -> list[Path]:
    """Files that were changed, added or removed."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


class Watch:
    """Files looked at again and again: this works on every file system, network and container mounts included."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        self._files = files
        self._seen = snapshot(files())

    async def changed(self) -> list[Path]:
        """Wait until something has changed and the save is over."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            now = await asyncio.to_thread(lambda: snapshot(self._files()))
            if found := changes(self._seen, now):
                self._seen = await self._settled(now)
                return found
            await asyncio.sleep(max(LOOK_S, (loop.time() - began_s) / LOOK_SHARE_MAX))

    async def _settled(self, now: Snapshot) -> Snapshot:
        while True:
            await asyncio.sleep(SETTLE_S)
            later = await asyncio.to_thread(lambda: snapshot(self._files()))
            if later == now:
                return later
            now = later


async def reload_on_save(watch: Watch, reload: Callable[[], Awaitable[int]]) -> None:
    """Reload after each save; what is wrong is said once, and what ran before serves on until the next save."""
    while True:
        found = await watch.changed()
        present.say(f"peaker: {names(found)} changed")
        try:
            await reload()
        except PeakerError as error:
            present.error(error)
            present.say("peaker: what ran before serves on")


def names(paths: list[Path]) -> str:
    """One name, or how many."""
    return paths[0].name if len(paths) == 1 else f"{len(paths)} files"
