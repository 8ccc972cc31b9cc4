"""`peaker measure` as a person runs it, on an app whose work is known.

The machine may be busy with other things, so bands are wide and orders are compared; exact answers of the search are
held in test_knee_policy.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.plan.measured import from_json, load_measured
from peaker.plan.workload import mean_of_quantiles
from peaker.policy.knee import Verdict
from peaker.testing.running import until

APPS = Path(__file__).parent.parent / "apps"
SLEEP_S, BURN_S, HELD_S, AT_ONCE = 0.03, 0.01, 0.04, 2
RUN_S_MAX = 110.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("measured")
    shutil.copy(APPS / "measured_app.py", directory)
    (directory / "peaker.toml").write_text(
        '[app]\nname = "known"\nweb = "measured_app:app"\nlisten = "127.0.0.1:9"\n'
        "[servers]\nin_flight_max = 100\n[objective]\nlatency_p95_ms = 150\n"
    )
    return directory


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files that is known to be empty; short, because unix sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="pm-"))
    yield folder
    shutil.rmtree(folder)


def measure(project: Path, *arguments: str, scratch: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", "measure", *arguments],
        cwd=project,
        env={**os.environ, **({"TMPDIR": str(scratch)} if scratch else {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )


def processes_naming(text: str) -> list[int]:
    """Processes whose arguments hold this text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # It ended while it was looked at.
        if text in arguments:
            found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def known(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Waiting and computing measured in one run, three to one."""
    picture = tmp_path_factory.mktemp("picture") / "curve.svg"
    done = measure(
        project,
        "--path",
        "/sleep:3",
        "--path",
        "/burn",
        "--for",
        "5s",
        "--requests-max",
        "300",
        "--yes",
        "--json",
        "--picture",
        str(picture),
    )
    assert done.returncode == 0, done.stderr
    return {"json": json.loads(done.stdout), "stderr": done.stderr, "picture": picture}


def test_what_will_be_sent_is_said_first(known: dict[str, Any]) -> None:
    assert "GET /sleep  (75%)" in known["stderr"]
    assert "GET /burn  (25%)" in known["stderr"]
    assert known["stderr"].index("GET /sleep  (75%)") < known["stderr"].index("starting one worker")


def test_the_result_is_saved_beside_the_settings(project: Path, known: dict[str, Any]) -> None:
    assert load_measured(project / "measured.json") == from_json(json.dumps(known["json"]))


def test_waiting_and_computing_are_told_apart(project: Path, known: dict[str, Any]) -> None:
    sleep, burn = load_measured(project / "measured.json").routes
    assert (sleep.target, sleep.share, burn.target, burn.share) == ("GET /sleep", 0.75, "GET /burn", 0.25)
    assert sleep.cpu_s is not None
    assert burn.cpu_s is not None
    assert sleep.service_s[50] >= SLEEP_S * 0.8
    assert sleep.cpu_s / mean_of_quantiles(sleep.service_s) < 0.3
    assert burn.cpu_s / mean_of_quantiles(burn.service_s) > 0.6
    assert burn.cpu_s > 3 * sleep.cpu_s
    assert burn.cpu_s == pytest.approx(BURN_S, rel=0.4)
    assert known["json"]["response_bytes"] == 4


def test_memory_and_starts_are_those_of_real_processes(project: Path, known: dict[str, Any]) -> None:
    del known
    measured = load_measured(project / "measured.json")
    assert measured.worker_memory_mb is not None
    assert measured.worker_idle_mb is not None
    assert 10 < measured.worker_idle_mb <= measured.worker_memory_mb < 500
    assert measured.function_memory_mb is not None
    assert 10 < measured.function_memory_mb < 500
    assert measured.fresh_start_s is not None
    assert measured.local_cold_start_s is not None
    # A fork of what is imported, against an interpreter that imports.
    assert measured.local_cold_start_s[50] < measured.fresh_start_s[50]
    assert measured.fresh_start_s[0] > 0.02
    assert measured.warm_function_s is not None
    assert measured.warm_function_s[50] > SLEEP_S * 0.9


def test_the_curve_is_kept_and_drawn(project: Path, known: dict[str, Any]) -> None:
    measured = load_measured(project / "measured.json")
    assert measured.curve
    assert all(point.requests >= 30 for point in measured.curve)
    drawn = known["picture"].read_text()
    assert "<svg" in drawn
    assert drawn.count("<use") > 2 * len(measured.curve)


def test_the_capacity_of_an_app_that_serves_two_at_a_time_is_found(project: Path, scratch: Path) -> None:
    """Two at a time, each for 40 ms, is 50 a second, whatever the machine; a busy one may hold less."""
    done = measure(
        project,
        *("--path", "/few", "--for", "10s", "--no-functions", "--yes", "--save", str(project / "few.json")),
        scratch=scratch,
    )
    assert done.returncode == 0, done.stderr
    assert "capacity of one worker" in done.stdout
    measured = load_measured(project / "few.json")
    most = AT_ONCE / HELD_S
    held = [point.rate_per_s for point in measured.curve if point.verdict is Verdict.HELD]
    assert max(held, default=0.0) < 1.15 * most
    assert all(point.achieved_per_s < 1.25 * most for point in measured.curve)
    if not any(point.verdict is Verdict.VOID for point in measured.curve):
        # Where the generator itself was late, the machine was too busy for a lower bound.
        assert measured.capacity_per_s is not None
        assert measured.capacity_per_s > 0.3 * most
    assert (measured.function_memory_mb, measured.local_cold_start_s, measured.warm_function_s) == (None, None, None)
    assert processes_naming(str(scratch)) == []
    assert list(scratch.iterdir()) == []


def test_ctrl_c_leaves_nothing_behind(project: Path, scratch: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "peaker",
            "measure",
            "--path",
            "/few",
            "--for",
            "6",
            "--yes",
            "--save",
            str(scratch / "m.json"),
        ],
        cwd=project,
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    assert process.stderr is not None
    reading = threading.Thread(target=said.extend, args=(process.stderr,))
    reading.start()
    try:
        until(lambda: any("loading it" in line for line in said), RUN_S_MAX)
        assert processes_naming(str(scratch / "peaker-measure-"))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
        reading.join()
        process.stderr.close()
    assert "Traceback" not in "".join(said)
    assert processes_naming(str(scratch / "peaker-measure-")) == []
    assert list(scratch.iterdir()) == []


@pytest.mark.long
def test_a_worker_that_dies_under_load_ends_the_measurement(project: Path, scratch: Path) -> None:
    done = measure(
        project, "--path", "/dies", "--for", "5", "--yes", "--save", str(project / "d.json"), scratch=scratch
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the worker ended while it was measured" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "d.json").exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.long
def test_what_a_killed_measurement_leaves_ends_by_itself(project: Path, scratch: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "peaker", "measure", "--path", "/few", "--for", "30", "--yes", "--no-functions"],
        cwd=project,
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.DEVNULL,
    )
    left = str(scratch / "peaker-measure-")
    try:
        until(lambda: len(processes_naming(left)) >= 2, RUN_S_MAX)
    finally:
        process.kill()
        process.wait()
    assert processes_naming(left)
    until(lambda: not processes_naming(left), 60)


def test_nothing_is_sent_without_consent(project: Path) -> None:
    done = measure(project, "--save", str(project / "never.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "nobody is there to agree" in done.stderr
    assert "starting" not in done.stderr
    assert not (project / "never.json").exists()


def test_an_answer_that_is_an_error_is_not_measured(project: Path, scratch: Path) -> None:
    done = measure(project, "--path", "/gone", "--yes", "--save", str(project / "never.json"), scratch=scratch)
    assert (done.returncode, done.stdout) == (1, "")
    assert "GET /gone: it is answered with status 404" in done.stderr
    assert not (project / "never.json").exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--for", "1s"), "1 s is not allowed; allowed: 5 to 3600"),
        (("--for", "soon"), "is not a duration"),
        (("--requests-max", "0"), "0 is not in the range"),
        (("--objective-ms", "0"), "objective.latency_p95_ms = 0"),
        (("--path", "POST /post"), "may change what your app keeps"),
        (("--body", "none.json", "--method", "POST", "--path", "POST /post"), "cannot be read"),
        (("--header", "no colon"), "is not 'NAME: VALUE'"),
        (("--picture", "curve.bmp"), "a picture ends with"),
        (("--save", "."), "it cannot be written"),
        (("--cpu", "--path", "/"), "--path has no meaning with --cpu"),
        (("--cpu-of", "none.json"), "it cannot be read"),
        (("--config", "none.toml"), "the settings file cannot be read"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    from peaker.cli import main

    config = () if "--config" in arguments else ("--config", str(project / "peaker.toml"))
    with pytest.raises(SystemExit) as ended:
        main(["measure", *config, *arguments, "--yes"])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert says in captured.err
    assert "starting" not in captured.err


def test_a_project_without_a_web_app_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from peaker.cli import main

    config = tmp_path / "peaker.toml"
    config.write_text('[[function]]\nname = "resize"\nhandler = "media:resize"\n')
    with pytest.raises(SystemExit) as ended:
        main(["measure", "--config", str(config), "--yes"])
    assert ended.value.code == 2
    assert "there is no web app to measure" in capsys.readouterr().err


def test_the_score_of_one_machine_is_compared_with_that_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peaker.cli import main

    there, here = tmp_path / "there.json", tmp_path / "here.json"
    numbers = {"rounds_per_s": 100.0, "low_per_s": 95.0, "high_per_s": 105.0, "rounds": 25, "mix": 1}
    there.write_text(json.dumps({**numbers, "python": "3.11.7", "machine": "c7g.large"}))
    with pytest.raises(SystemExit) as ended:
        main(["measure", "--cpu", "--cpu-of", str(there), "--save", str(here), "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cpu"] == json.loads(here.read_text())
    speed, score = told["speed"], told["cpu"]
    assert not speed["is_assumed"]
    assert speed["factor"] == pytest.approx(100 / score["rounds_per_s"])
    assert speed["low"] == pytest.approx(95 / score["high_per_s"])
    assert speed["high"] == pytest.approx(105 / score["low_per_s"])
    assert speed["note"].startswith("c7g.large against ")
