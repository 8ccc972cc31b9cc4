"""Predict, replay, compare: the commands as a person runs them, on an app whose work is known."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_plan import with_plan
from proofs import measurement, prediction, sent

from peaker.plan.measured import Measured, RouteMeasured, to_json
from peaker.plan.plan import Moment, SimulatedWith
from peaker.plan.plan import to_json as plan_to_json
from peaker.simulate.measurement import load_measurement
from peaker.simulate.prediction import load_prediction
from peaker.simulate.saved import to_json as saved
from peaker.testing.running import PeakerRun, until

APPS = Path(__file__).parent.parent / "apps"
SETTINGS = """
[app]
name = "known"
web = "measured_app:app"
spill = true
warm_up = "/sleep"
placement_header = true
[objective]
latency_p95_ms = 500
[servers]
workers = 1
in_flight_max = 2
queue_wait_s_max = 2
[functions]
memory_mb = 512
keep_alive_s = 60
[[route]]
path = "/*"
placement = "hybrid"
"""
SLEEP = RouteMeasured(
    target="GET /sleep", share=1.0, requests=50, service_s=(0.031,) * 101, cpu_s=0.001, response_bytes=4.0
)
MEASURED = Measured(
    app="known",
    made_by="peaker 0",
    measured_at="2026-11-24T02:00:00+00:00",
    machine="here",
    python="3.11.7",
    objective_s=0.5,
    routes=(SLEEP,),
    service_s=SLEEP.service_s,
    cpu_s=0.001,
    warm_function_s=SLEEP.service_s,
    function_overhead_s=0.002,
    local_cold_start_s=(0.005, 0.02),
)
PLANNED_WITH = SimulatedWith(
    service_s=(0.1,),
    cpu_share=0.3,
    cold_start_s=(1.0,),
    spillable_share=1.0,
    speed=1.0,
    queue_wait_s_max=10.0,
    keep_alive_s=300.0,
    invoke_overhead_s=0.008,
    concurrency_max=1000,
    architecture="arm64",
)
TRAFFIC = ("traffic.csv", "--path", "/sleep", "--speed", "2")
"""In a second and a half: 30 requests, 150, then silence; two slots hold some 65 a second."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    directory = tmp_path_factory.mktemp("proof")
    shutil.copy(APPS / "measured_app.py", directory)
    (directory / "measured.json").write_text(to_json(MEASURED))
    (directory / "traffic.csv").write_text("count\n30\n150\n0\n")
    with PeakerRun.with_settings(directory, SETTINGS) as run:
        yield run


def peaker(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "peaker", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_prediction_stands_beside_the_replay_of_the_same_traffic(project: PeakerRun) -> None:
    """1. Predict into a file. 2. Replay on the running app, measured by its meter. 3. Compare."""
    predicted = project.command("simulate", *TRAFFIC, "--runs", "5", "--out", "predicted.json")
    assert predicted.returncode == 0, predicted.stderr
    assert "time on a server" in predicted.stdout

    replayed = project.command("replay", *TRAFFIC, "--out", "measured-1.json")
    assert replayed.returncode in {0, 1}, replayed.stderr  # 1 where this machine is too busy to send in time
    folder = project.directory
    expected, found = load_prediction(folder / "predicted.json"), load_measurement(folder / "measured-1.json")
    assert found.traffic == expected.traffic
    measured = found.measures
    assert measured.server_s is not None
    assert measured.gb_s is not None
    assert measured.usd is not None
    assert measured.spilled_share is not None
    # The silence at the end is paid for as well.
    assert 1.5 <= measured.server_s < 30
    invocations = measured.spilled_share * 180
    assert invocations == pytest.approx(round(invocations))
    usd = measured.server_s / 3600 * expected.model.server_usd_per_hour
    usd += invocations * expected.model.request_usd + measured.gb_s * expected.model.gb_second_usd
    assert measured.usd == pytest.approx(usd, rel=1e-6)
    assert expected.expected.spilled_share is not None
    assert 0.1 < expected.expected.spilled_share < 0.9

    compared = project.command("compare", "predicted.json", "measured-1.json", "--json")
    assert compared.returncode in {0, 3, 4}, compared.stderr
    answer = json.loads(compared.stdout)
    assert compared.returncode == (3 if answer["is_off"] else 0 if answer["holds"] else 4)
    assert [row["name"] for row in answer["rows"]][:3] == ["latency_p50_ms", "latency_p95_ms", "latency_p99_ms"]


def test_a_saved_plan_is_simulated_by_itself_and_replayed_on_the_running_app(project: PeakerRun) -> None:
    """1. The plan alone, on its own servers. 2. Its traffic, faster and thinner, predicted and replayed here."""
    moments = tuple(Moment(start_s=60.0 * at, mean_per_s=2.0 + at, peak_per_s=9.0) for at in range(2))
    plan = with_plan(traffic=moments, hours=120 / 3600, simulated_with=PLANNED_WITH)
    (project.directory / "plan.json").write_text(plan_to_json(plan))
    alone = project.command_json("simulate", "plan.json", "--runs", "1")
    assert alone["of"] == "shop.log: 2 t4g.micro + functions of 512 MB"
    assert alone["expected"]["server_s"] == pytest.approx(240.0)

    smaller = ("plan.json", "--speed", "240", "--scale", "0.1", "--path", "/sleep")
    project.command("simulate", *smaller, "--config", "peaker.toml", "--runs", "1", "--out", "from-plan.json")
    replayed = project.command("replay", *smaller, "--out", "replayed-plan.json")
    assert "240 times as fast and with 0.1 times as many requests" in replayed.stderr
    expected = load_prediction(project.directory / "from-plan.json")
    assert load_measurement(project.directory / "replayed-plan.json").traffic == expected.traffic
    assert (expected.traffic.requests, expected.traffic.duration_s) == (30, 0.5)
    assert expected.of == "known"


def test_other_traffic_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "predicted.json").write_text(saved(prediction()))
    (tmp_path / "measured.json").write_text(saved(measurement(sent(seed=2))))
    compared = peaker(tmp_path, "compare", "predicted.json", "measured.json")
    assert compared.returncode == 2
    assert "seed 1 and 2" in compared.stderr


@pytest.mark.parametrize(("usd", "code"), [(0.0005, 0), (0.0007, 3), (None, 3)])
def test_the_exit_code_says_whether_all_hold(tmp_path: Path, usd: float | None, code: int) -> None:
    (tmp_path / "predicted.json").write_text(saved(prediction()))
    (tmp_path / "measured.json").write_text(saved(measurement(changes={"usd": usd})))
    drawn = peaker(tmp_path, "compare", "predicted.json", "measured.json", "--picture", "proof.svg")
    assert drawn.returncode == code
    assert (tmp_path / "proof.svg").read_text().startswith("<svg")
    (tmp_path / "void.json").write_text(saved(measurement(is_void=True)))
    assert peaker(tmp_path, "compare", "predicted.json", "void.json").returncode == 4


def test_ctrl_c_ends_a_replay_and_what_was_measured_until_then_is_void(project: PeakerRun) -> None:
    """A trace of silence after a few requests: the end of it is waited for, until Ctrl-C."""
    directory = project.directory
    (directory / "long.csv").write_text("count\n5\n" + "0\n" * 600 + "5\n")
    with (directory / "long.err").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "peaker", "replay", "long.csv", "--path", "/sleep", "--out", "cut.json"],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    before = project.status()["usage"]["requests"]
    try:
        until(lambda: project.status()["usage"]["requests"] >= before + 5, 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in {0, 1}  # 1 where this machine was too busy to send in time
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    found = load_measurement(directory / "cut.json")
    assert found.is_void
    assert "5 of 10 requests were sent" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("simulate", "nowhere.csv"), "nowhere.csv"),
        (("simulate", *TRAFFIC, "--measured", "none.json"), "nothing has been measured"),
        (("simulate", *TRAFFIC, "--candidate", "functions"), "--candidate"),
        (("replay", *TRAFFIC, "--state", "elsewhere", "--out", "m.json"), "no web app runs here"),
        (("replay", *TRAFFIC, "--to", "http://127.0.0.1:9", "--state", "elsewhere", "--out", "m.json"), "no app"),
        (("compare", "traffic.csv", "traffic.csv"), "not JSON"),
    ],
)
def test_wrong_input_stops_with_what_is_wrong(project: PeakerRun, arguments: tuple[str, ...], said: str) -> None:
    done = project.command(*arguments)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not os.path.lexists(project.directory / "m.json")
