"""The state directory: private, locked, of a known schema, and never somebody else's."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from peaker.engines.local.state_dir import LockedState, RunRecord, read_run, started_ticks, write_private
from peaker.errors import StateError
from peaker.state import SCHEMA_VERSION, StateDirectory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_in_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "state"
    root.mkdir(mode=0o755, parents=True)
    locked = LockedState(root)
    locked.write_settings(1, "{}")
    assert mode(root) == mode(locked.state.sockets) == 0o700
    assert {mode(path) for path in root.iterdir() if path.is_file()} == {0o600}
    assert json.loads(locked.state.schema.read_text())["schema"] == SCHEMA_VERSION
    locked.close()


def test_a_second_one_is_refused_and_a_later_one_is_not(tmp_path: Path) -> None:
    first = LockedState(tmp_path / "state")
    with pytest.raises(StateError, match=rf"pid {os.getpid()}"):
        LockedState(tmp_path / "state")
    first.close()
    LockedState(tmp_path / "state").close()


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(StateError, match="holds something else"):
        LockedState(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{"schema": 99, "peaker": "7.0.0"}', r"of schema 99, written by Peaker 7\.0\.0"),
        ('{"schema": 0}', "there is no way from schema 0 to 1"),
        ("[]", "the schema version cannot be read"),
    ],
)
def test_a_schema_this_version_does_not_know_is_refused(tmp_path: Path, schema: str, message: str) -> None:
    LockedState(tmp_path / "state").close()
    (tmp_path / "state" / "schema.json").write_text(schema)
    with pytest.raises(StateError, match=message):
        LockedState(tmp_path / "state")
    (tmp_path / "state" / "schema.json").write_text(json.dumps({"schema": SCHEMA_VERSION}))
    LockedState(tmp_path / "state").close()  # The refusals let go of the lock.


def test_settings_of_generations_that_are_gone_are_dropped(tmp_path: Path) -> None:
    locked = LockedState(tmp_path / "state")
    locked.write_settings(1, "one")
    locked.write_settings(2, "two")
    assert [path.name for path in locked.state.root.glob("generation-*")] == ["generation-2.json"]
    locked.close()


def test_what_is_running_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    locked = LockedState(tmp_path / "state")
    assert read_run(locked.state) is None
    record = RunRecord(
        app="shop", generation=3, supervisor_pid=1, supervisor_ticks=2, servers=1, directory="/srv", app_url="http://x"
    )
    locked.write_run(record)
    assert read_run(locked.state) == record
    locked.state.run.write_text('{"app": "shop"')
    with pytest.raises(StateError, match="record of what is running cannot be read"):
        read_run(locked.state)
    locked.close()


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "old")
    write_private(tmp_path / "file", "new")
    assert [(path.name, path.read_text(), mode(path)) for path in tmp_path.iterdir()] == [("file", "new", 0o600)]


def test_pid_and_start_time_name_a_process() -> None:
    assert started_ticks(os.getpid()) == started_ticks(os.getpid()) != started_ticks(1)
    assert started_ticks(2**22 + 1) is None


def test_two_apps_with_long_paths_have_sockets_of_their_own(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    one, other = StateDirectory(long / "one").sockets, StateDirectory(long / "other").sockets
    assert one != other
    assert len(str(one)) < 100
