"""Folders for temporary files go with their instance, and those of a dead host with the next one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from peaker.functions import private_tmp
from peaker.functions.scratch import ScratchFolders


def test_a_folder_goes_when_its_instance_has_ended_with_what_is_in_it(tmp_path: Path) -> None:
    folders = ScratchFolders(tmp_path)
    empty, full, kept = Path(folders.make()), Path(folders.make()), Path(folders.make())
    (full / "deep").mkdir()
    (full / "deep" / "file").write_text("left behind")
    (kept / "file").touch()

    folders.remove(str(empty))
    folders.remove(str(full))
    assert not empty.exists()
    assert (kept / "file").exists()

    folders.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_host_left_is_removed_by_the_next_and_a_living_ones_stays(tmp_path: Path) -> None:
    make = (
        "import sys, time; from pathlib import Path; from peaker.functions.scratch import ScratchFolders;"
        "made = ScratchFolders(Path(sys.argv[1])).make(); Path(made, 'file').touch();"
        "print(made, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", make, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        ScratchFolders(tmp_path).close()
        assert (folder / "file").exists()

        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    ScratchFolders(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_an_instance_put_in_the_place_of_its_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    folders = ScratchFolders(tmp_path / "scratch")
    folder = Path(folders.make())
    folder.rmdir()
    folder.symlink_to(outside)

    folders.remove(str(folder))
    folders.close()

    assert (outside / "file").exists()


def test_code_that_stands_in_tmp_itself_leaves_no_room_for_a_private_one() -> None:
    assert private_tmp.why_impossible(["/tmp"]) == "the code stands in /tmp itself"


def test_what_lies_below_tmp_is_kept_by_its_outermost_folder(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    kept = private_tmp.paths_to_keep(str(code))
    is_below = str(tmp_path).startswith("/tmp/")
    assert any(str(code) == path or str(code).startswith(f"{path}/") for path in kept) == is_below
    assert not any(path.startswith(f"{other}/") for path in kept for other in kept)
