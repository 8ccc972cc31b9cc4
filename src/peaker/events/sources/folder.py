"""A folder that stands for a bucket: files that come, change and go are objects that come and go.

What is there is compared with a remembered listing, so what happened while nothing ran is found at the next start. A
file counts when it is whole: closed by whoever wrote it, or moved here; or, where the kernel did not tell (a writer
that was there before, a system without inotify), when it has stood still for a second. Names that begin with a dot are
left out: that is how rsync, editors and browsers name what they have not finished. Where there is a stand-in for S3,
each file is put into the bucket of that name before its event, so that handlers read it with boto3.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from peaker.aws_calls.resources import is_marked, make_bucket, mark_bucket
from peaker.errors import PeakerError
from peaker.events.sources.bucket import ObjectRule, object_event
from peaker.events.sources.inotify import Inotify, Written
from peaker.events.sources.positions import Positions, Seen
from peaker.events.sources.source import Source, Surroundings
from peaker.messages import Event
from peaker.wire import s3

FILES_MAX = 100_000
COPIED_BYTES_MAX = 256 * 1024 * 1024
"""A larger file is not put into the stand-in, which holds all in memory, and has no checksum as its ETag."""
SETTLED_S = 1.0
BEGUN_S = 10.0
"""A file that was made while we looked and not written to since is left this long to whoever made it."""
LOOK_AGAIN_S = 1.0
"""Where the kernel does not tell, and while a file has not settled."""
LOOK_ANYWAY_S = 60.0
LOOK_AT_COPY_S = 5.0
COPIED = "peaker-copied"


class TooManyFiles(PeakerError):  # noqa: N818 - named for what is wrong
    """The folder holds more files than are watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """`created` came or have other content; `waiting` may not be whole yet; `removed` are gone."""

    created: Mapping[str, Seen]
    removed: tuple[str, ...]
    waiting: bool


class FolderSource(Source):
    """All functions that the files of one folder start."""

    def __init__(self, bucket: str, folder: Path, rules: Sequence[ObjectRule], around: Surroundings) -> None:
        super().__init__(f"bucket/{bucket}", around)
        self._bucket = bucket
        self._folder = folder
        self._rules = rules
        self._positions: Positions | None = None
        self._inotify: Inotify | None = None
        self._changed = asyncio.Event()

    async def join(self) -> None:
        """Make the folder, watch it, remember what is there at the very first start; copy what is there to S3."""
        self._let_go()
        if self._positions is None:
            self._positions = await asyncio.to_thread(Positions, self.around.positions)
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # Then it is looked through at intervals.
            self._inotify = Inotify(self._folder, self._changed.set)
            asyncio.get_running_loop().add_reader(self._inotify.descriptor, self._inotify.read)
        there = await asyncio.to_thread(files_below, self._folder)
        if not await asyncio.to_thread(self._positions.position, self.name):
            await asyncio.to_thread(self._positions.see, self.name, there, ())
            await asyncio.to_thread(self._positions.move, self.name, str(self._folder))
        if self.around.client is not None:
            await make_bucket(self.around.client, self._bucket)
            for path in there:
                await self._copy(path)
            await mark_bucket(self.around.client, self._bucket, COPIED)
        self._changed.set()
        self._is_well()

    async def read(self) -> None:
        """Wait until something may have changed, and take it."""
        assert self._positions is not None
        within_s = LOOK_ANYWAY_S if self.around.client is None else LOOK_AT_COPY_S
        if self._inotify is None or self._inotify.is_blind:
            within_s = LOOK_AGAIN_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        self._changed.clear()
        if self.around.client is not None and not await is_marked(self.around.client, self._bucket, COPIED):
            await self.join()  # The stand-in was started anew: what was copied there is gone.
        there = await asyncio.to_thread(files_below, self._folder)
        seen = await asyncio.to_thread(self._positions.seen, self.name)
        written = self._inotify.written if self._inotify is not None else Written()
        changes = changes_of(seen, there, written, epoch_s=self.around.clock.epoch_s())
        if changes.created or changes.removed:
            await self._take(changes)
        if changes.waiting:
            await asyncio.sleep(LOOK_AGAIN_S / 4)
            self._changed.set()

    async def finish(self, timeout_s: float) -> None:  # noqa: ARG002 - nothing is held that would take time
        """Let go of the watch and the file."""
        self._let_go()
        if self._positions is not None:
            await asyncio.to_thread(self._positions.close)
            self._positions = None

    async def _take(self, changes: Changes) -> None:
        assert self._positions is not None
        events: list[Event] = []
        taken: dict[str, Seen] = {}
        for path, file in changes.created.items():
            etag = await self._copy(path)
            if etag is None:
                self._changed.set()  # Gone again: the next look tells.
                continue
            taken[path] = file
            events += self._events("ObjectCreated:Put", path, file, etag)
        for path in changes.removed:
            if self.around.client is not None:
                await self.around.client.s3("DELETE", self._target(path))
            events += self._events("ObjectRemoved:Delete", path, None, "")
        if events:
            await self.put(events)
        await asyncio.to_thread(self._positions.see, self.name, taken, changes.removed)
        if self._inotify is not None:
            self._inotify.written.whole.difference_update(taken)

    async def _copy(self, path: str) -> str | None:
        """The file's ETag; None where it is gone. It is put into the stand-in where there is one."""
        try:
            content, etag = await asyncio.to_thread(_content, self._folder / path)
        except FileNotFoundError:
            return None
        if self.around.client is not None and content is not None:
            await self.around.client.s3("PUT", self._target(path), content)
        return etag

    def _events(self, name: str, path: str, file: Seen | None, etag: str) -> list[Event]:
        epoch_s = file.changed_ns / 1e9 if file is not None else self.around.clock.epoch_s()
        stamp = f"{file.changed_ns if file is not None else int(epoch_s * 1e9):016X}"
        change = s3.ObjectChange(
            name=name, bucket=self._bucket, key=path, epoch_s=epoch_s, sequencer=stamp,
            size=file.size if file is not None else None, etag=etag, region=self.around.settings.aws.region,
        )  # fmt: skip
        identity = f"{self._folder}/{stamp}/{file.size if file is not None else 'gone'}"
        return [object_event(rule, change, message_id=identity) for rule in self._rules if rule.matches(name, path)]

    def _target(self, path: str) -> str:
        return f"/{quote(self._bucket)}/{quote(path)}"

    def _let_go(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.descriptor)
            self._inotify.close()
            self._inotify = None


def changes_of(seen: Mapping[str, Seen], there: Mapping[str, Seen], written: Written, *, epoch_s: float) -> Changes:
    """What is different now, of files that are whole; times are those of the file system's clock, which is epoch_s."""
    different = {path: file for path, file in there.items() if seen.get(path) != file}
    created = {
        path: file
        for path, file in different.items()
        if path in written.whole
        or (path not in written.writing and abs(epoch_s - file.changed_ns / 1e9) >= _settled_s(path, written))
    }
    return Changes(
        created=created,
        removed=tuple(path for path in seen if path not in there),
        waiting=any(path not in created and path not in written.writing for path in different),
    )


def _settled_s(path: str, written: Written) -> float:
    return BEGUN_S if path in written.begun else SETTLED_S


def files_below(root: Path, *, files_max: int = FILES_MAX) -> dict[str, Seen]:
    """Regular files by their path below `root`, with / between folders; those whose names begin with a dot left out.

    Raises:
        TooManyFiles: there are more than `files_max`.
        OSError: the folder cannot be read.
    """
    found: dict[str, Seen] = {}
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        about = entry.stat(follow_symlinks=False)
                        found[Path(entry.path).relative_to(root).as_posix()] = Seen(about.st_size, about.st_mtime_ns)
        except FileNotFoundError:
            if folder == root:
                raise
        if len(found) > files_max:
            raise TooManyFiles(f"it holds more than {files_max:,} files.", where=str(root))
    return found


def _content(path: Path) -> tuple[bytes | None, str]:
    """Content and ETag of a file; None for the content of one that is too large to be copied."""
    about = path.stat()
    if about.st_size > COPIED_BYTES_MAX:
        return None, f"{hashlib.md5(str(about).encode(), usedforsecurity=False).hexdigest()}-1"
    content = path.read_bytes()
    return content, hashlib.md5(content, usedforsecurity=False).hexdigest()
