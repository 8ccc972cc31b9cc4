"""`examples/streaming/studio` as its README runs it: a real film, and kills while it is transcoded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from peaker.jobs.shown import jobs_shown
from peaker.testing.running import PeakerRun, is_alive, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "streaming" / "studio"
FRAMES = 160


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    directory = tmp_path_factory.mktemp("studio-example")
    shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".peaker"))
    (directory / "films").mkdir(exist_ok=True)
    settings = directory / "peaker.toml"
    # The heir of a killed events process is not to be waited for.
    settings.write_text(settings.read_text().replace("[events]\n", "[events]\nlease_s = 1\n"))
    with PeakerRun(directory, "--listen", "127.0.0.1:0") as run:
        yield run


def film() -> bytes:
    pictures = [Image.linear_gradient("L").rotate(3 * frame).resize((480, 320)) for frame in range(FRAMES)]
    out = BytesIO()
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=40)
    return out.getvalue()


def send(run: PeakerRun, method: str, path: str, body: bytes = b"") -> bytes:
    request = urllib.request.Request(run.app_url + path, body or None, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def only_job(run: PeakerRun) -> dict[str, Any]:
    """As `peaker jobs --json` shows it, without the time that takes."""
    (shown,) = jobs_shown(run.state.jobs)
    return shown


def segments_done(run: PeakerRun) -> Counter[str]:
    logs = [path.read_text() for path in run.state.jobs.glob("*/log")]
    return Counter(line for log in logs for line in log.splitlines() if line.startswith("segment "))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), 30)


def test_a_film_is_transcoded_shown_and_told_of_once_while_its_job_and_the_events_process_are_killed(
    studio: PeakerRun,
) -> None:
    send(studio, "PUT", "/films/tide.gif", film())
    until(lambda: segments_done(studio).total() >= 2, 60)
    pid = only_job(studio)["pid"]
    assert pid is not None
    kill(pid)
    killed_at = segments_done(studio).total()
    until(lambda: segments_done(studio).total() >= killed_at + 2, 60)
    kill(studio.pids()["events"])
    outbox = studio.directory / "outbox"
    until(lambda: [*outbox.glob("*.eml")] != [], 60)

    done = segments_done(studio)
    assert sorted(done) == sorted(f"segment {number} of 16" for number in range(1, 17)), "no segment is lost"
    assert done.total() <= 17, "one kill: at the most one segment is made again"
    with Image.open(BytesIO(send(studio, "GET", "/films/tide.gif"))) as small:
        assert (small.size, getattr(small, "n_frames", 1)) == ((240, 160), FRAMES)
    with Image.open(BytesIO(send(studio, "GET", "/thumbnails/tide.gif"))) as picture:
        assert picture.size == (160, 107)
    (mail,) = outbox.glob("*.eml")
    assert "tide.gif is ready" in mail.read_text()
    assert f"{FRAMES} frames" in mail.read_text()
    until(lambda: only_job(studio)["state"] == "finished", 30)
    assert only_job(studio)["fraction"] == 1.0
    assert only_job(studio)["attempt"] == 2


def test_views_of_minutes_that_are_over_are_rolled_up_once(studio: PeakerRun) -> None:
    before_s = time.time() - 60
    (studio.directory / "views.jsonl").write_text(
        "".join(json.dumps({"film": film, "at_s": before_s}) + "\n" for film in ("tide.gif", "dune.gif", "tide.gif"))
    )
    send(studio, "POST", "/films/tide.gif/views")
    done = studio.command("invoke", "rollup", "--event", "eventbridge-scheduled")
    assert done.returncode == 0, done.stderr
    files = sorted((studio.directory / "analytics").glob("*.json"))
    assert json.loads(files[0].read_text()) == {"dune.gif": 1, "tide.gif": 2}
    shown = studio.command("status").stdout
    assert "rate(1 minute)" in shown
