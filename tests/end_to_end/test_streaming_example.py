"""`python -m examples.streaming`, as scripts/run starts it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def demonstration(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "examples.streaming", *options],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_that_name(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # It has ended meanwhile.
        if str(folder) in words:
            found.append(words)
    return found


def test_it_starts_everything_spills_the_burst_sums_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Three seconds of traffic with a burst that two workers of four slots cannot hold."""
    process = demonstration(tmp_path, "--for", "3s", "--scale", "4", "--viewers", "3")
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0, out
    assert re.search(r"requests will come in 3 s", out)
    spilled = re.search(r"([\d,]+) requests spilled to functions", out)
    assert spilled is not None, out
    assert int(spilled[1].replace(",", "")) > 20, out
    assert "No request failed otherwise." in out
    assert "0 cut off" in out
    assert "refused 0" in out.replace("\n", " ")
    assert processes_that_name(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_control_c_sums_up_what_there_was_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = demonstration(tmp_path, "--viewers", "2")
    assert process.stdout is not None
    seen = ""
    while "requests will come" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    while "requests a second: " not in seen:  # The first plain line comes after ten seconds.
        seen += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, seen + out
    assert "Cut short after 1" in out  # Some ten seconds.
    assert "The objective, 95 % within" in out
    assert processes_that_name(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
