"""A folder as a source: real files, the kernel's own notices, the remembered listing, and restarts in between."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peaker.clock import SystemClock
from peaker.errors import QueueFull
from peaker.events.invoking import Call, Ran
from peaker.events.sources.bucket import ObjectRule
from peaker.events.sources.folder import FolderSource, TooManyFiles, files_below
from peaker.events.sources.source import Condition, Surroundings
from peaker.messages import Event
from peaker.object_pattern import ObjectPattern
from peaker.settings import Settings
from peaker.triggers import Kind

WITHIN_S = 30.0


class NoFunctions:
    """Folders put events; they invoke nothing."""

    async def run(self, call: Call) -> Ran:
        raise AssertionError(call)

    def is_there(self) -> bool:
        return True


class Kept:
    """Takes events; full as long as `is_full`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_full = False

    async def put(self, event: Event) -> str:
        if self.is_full:
            raise QueueFull
        self.events.append(event)
        return event.id

    @property
    def told(self) -> list[tuple[str, str]]:
        records = [json.loads(event.payload)["Records"][0] for event in self.events]
        return [(record["eventName"].partition(":")[0], record["s3"]["object"]["key"]) for record in records]


def source(tmp_path: Path, kept: Kept, pattern: str = "files") -> FolderSource:
    around = Surroundings(
        settings=Settings(),
        put=kept.put,
        invoke=NoFunctions(),
        client=None,
        clock=SystemClock(),
        positions=tmp_path / "positions",
    )
    rules = [ObjectRule("f", kind, ObjectPattern.parse(pattern)) for kind in (Kind.OBJECT_CREATED, Kind.OBJECT_REMOVED)]
    return FolderSource("files", tmp_path / "files", rules, around)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - nothing tells when a list grows
            await asyncio.sleep(0.01)


async def listening(tmp_path: Path, kept: Kept, pattern: str = "files") -> FolderSource:
    made = source(tmp_path, kept, pattern)
    made.start()
    await until(lambda: made.condition is Condition.LISTENING)
    return made


def test_files_that_are_there_at_the_very_first_start_are_no_news(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "old.txt").write_text("old")
        kept = Kept()
        running = await listening(tmp_path, kept)
        (tmp_path / "files" / "new.txt").write_text("new")
        await until(lambda: kept.told)
        await running.stop(1)
        assert kept.told == [("ObjectCreated", "new.txt")]

    asyncio.run(main())


def test_what_came_changed_and_went_while_nothing_ran_is_found(tmp_path: Path) -> None:
    async def main() -> None:
        files, kept = tmp_path / "files", Kept()
        running = await listening(tmp_path, kept)
        for name in ("stays", "changes", "goes"):
            (files / name).write_text("1")
        await until(lambda: len(kept.told) == 3)
        await running.stop(1)
        (files / "changes").write_text("22")
        (files / "goes").unlink()
        (files / "below").mkdir()
        (files / "below" / "comes").write_text("1")
        for name in ("changes", "below/comes"):  # long enough ago to be whole
            os.utime(files / name, (1_700_000_000, 1_700_000_000))
        after = Kept()
        again = await listening(tmp_path, after)
        await until(lambda: len(after.told) == 3)
        await again.stop(1)
        assert sorted(after.told) == [
            ("ObjectCreated", "below/comes"), ("ObjectCreated", "changes"), ("ObjectRemoved", "goes"),
        ]  # fmt: skip

    asyncio.run(main())


def test_a_file_that_is_still_written_is_not_told_of(tmp_path: Path) -> None:
    async def main() -> None:
        kept = Kept()
        running = await listening(tmp_path, kept)
        with (tmp_path / "files" / "slow").open("w") as file:
            file.write("part")
            file.flush()
            (tmp_path / "files" / "quick").write_text("whole")
            await until(lambda: kept.told)
            assert kept.told == [("ObjectCreated", "quick")]
            file.write("rest")
        await until(lambda: len(kept.told) == 2)
        await running.stop(1)
        record = json.loads(kept.events[1].payload)["Records"][0]
        assert record["s3"]["object"]["size"] == 8

    asyncio.run(main())


def test_a_file_moved_into_a_new_folder_below_is_told_of_and_hidden_ones_and_links_are_not(tmp_path: Path) -> None:
    async def main() -> None:
        files, kept = tmp_path / "files", Kept()
        running = await listening(tmp_path, kept)
        (tmp_path / "aside").write_text("moved")
        (files / ".part").write_text("hidden")
        (files / "link").symlink_to(tmp_path / "aside")
        (files / "a" / "b").mkdir(parents=True)
        (tmp_path / "aside").rename(files / "a" / "b" / "moved")
        await until(lambda: kept.told)
        (files / "last").write_text("last")
        await until(lambda: len(kept.told) == 2)
        await running.stop(1)
        assert kept.told == [("ObjectCreated", "a/b/moved"), ("ObjectCreated", "last")]

    asyncio.run(main())


def test_only_what_matches_prefix_and_suffix_is_told_of(tmp_path: Path) -> None:
    async def main() -> None:
        files, kept = tmp_path / "files", Kept()
        running = await listening(tmp_path, kept, "files/in/*.jpg")
        (files / "in").mkdir()
        for name in ("in/a.txt", "b.jpg", "in/c.jpg"):
            (files / name).write_text("x")
        await until(lambda: kept.told)
        await running.stop(1)
        assert kept.told == [("ObjectCreated", "in/c.jpg")]

    asyncio.run(main())


def test_a_full_queue_loses_nothing_and_a_repeat_has_the_same_id(tmp_path: Path) -> None:
    async def main() -> None:
        kept = Kept()
        running = await listening(tmp_path, kept)
        kept.is_full = True
        (tmp_path / "files" / "a").write_text("x")
        await until(lambda: running.condition is Condition.FAILING)
        assert "no room" in running.describe()["error"]
        kept.is_full = False
        await until(lambda: kept.told == [("ObjectCreated", "a")])
        await running.stop(1)
        [event] = kept.events
        assert event.dedup_key == event.id

    asyncio.run(main())


def test_a_folder_with_more_files_than_are_watched_says_so(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / str(number)).write_text("")
    with pytest.raises(TooManyFiles, match="more than 3 files"):
        files_below(tmp_path, files_max=3)
    assert len(files_below(tmp_path)) == 4
