"""`peaker plan` as a person runs it, on logs written for it."""

import json
import random
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from peaker.cli import main
from peaker.plan.cpu_benchmark import Speed
from peaker.plan.measured import Measured, to_json
from peaker.plan.plan import Architecture, load_plan

LINE = '10.0.0.1 - - [01/May/2024:{:02d}:{:02d}:{:02d} +0000] "GET {} HTTP/1.1" 200 5120 "-" "Mozilla/5.0"\n'

MEASURED = Measured(
    app="shop",
    made_by="peaker",
    measured_at="2026-11-24T10:00:00Z",
    machine="a machine",
    python="3.11",
    objective_s=0.5,
    service_s=(0.08,),
    cpu_s=0.02,
    worker_memory_mb=222.0,
    speed=Speed(factor=1.5, low=1.2, high=1.8, is_assumed=False, note=""),
)


def run(*arguments: object, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", "plan", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hours of 4 requests a second, two minutes of 60 in each half hour, and a line that cannot be read."""
    chance = random.Random(1)
    lines = ["half a li\n"]
    for second in range(7200):
        clock = (second // 3600, second // 60 % 60, second % 60)
        count = 60 if second % 1800 < 120 else 4
        lines += [LINE.format(*clock, f"/titles/{chance.randrange(99)}") for _ in range(count)]
    path = tmp_path_factory.mktemp("logs") / "shop.log"
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def planned(log: Path) -> tuple[str, Path]:
    """The screen of one plan with a report, a saved plan and written settings; and the folder of these."""
    folder = log.parent
    (folder / "peaker.toml").write_text('[app]\nweb = "shop:app"  # ours\n')
    done = run(log, "--latency-ms", 500, "--save", "a.json", "--report", "a.html", "--write", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(), folder


def test_a_log_alone_gives_one_answer_with_its_reasons(planned: tuple[str, Path]) -> None:
    screen, _ = planned
    assert "1 unreadable" in screen.splitlines()[1]
    for heading in (
        "ANSWER  ",
        "Why",
        "Candidates, 2 hours",
        "What would change",
        "How sure it is",
        "Figures it rests",
    ):
        assert any(line.startswith(heading) for line in screen.splitlines()), heading
    assert "on average" in screen
    assert "assumed" in screen
    assert all(len(line) <= 100 for line in screen.splitlines())


def test_the_saved_plan_is_the_one_that_was_shown(planned: tuple[str, Path]) -> None:
    screen, folder = planned
    plan = load_plan(folder / "a.json")
    assert plan.answer is not None
    assert f"{plan.answer.usd_per_month:,.2f} a month." in " ".join(screen.split())
    assert plan.objective_ms == 500
    assert plan.requests == 4 * 7200 + 56 * 480


def test_the_report_is_one_file_with_the_same_dollars(planned: tuple[str, Path]) -> None:
    _, folder = planned
    page = (folder / "a.html").read_text(encoding="utf-8")
    plan = load_plan(folder / "a.json")
    assert plan.answer is not None
    assert f"for ${plan.answer.usd_per_month:,.2f} a month." in page
    assert page.count('<svg class="wide"') == 4


def test_the_settings_have_the_answer_and_keep_the_rest(planned: tuple[str, Path]) -> None:
    _, folder = planned
    text = (folder / "peaker.toml").read_text()
    assert 'web = "shop:app"  # ours' in text
    chosen = load_plan(folder / "a.json").answer
    assert chosen is not None
    if chosen.architecture is not Architecture.FUNCTIONS:
        assert chosen.servers is not None
        assert tomllib.loads(text)["servers"]["count_min"] == chosen.servers.least
    assert tomllib.loads(text)["objective"]["latency_p95_ms"] == 500


def test_what_is_given_is_taken_and_shows_in_the_difference(planned: tuple[str, Path], log: Path) -> None:
    _, folder = planned
    # From standard input, and with the objective that --write has put into the project's settings.
    done = run(
        "-", "--service-ms", "200,300,400", "--region", "eu-west-1", "--json", cwd=folder, stdin=log.read_bytes()
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["plan"]["objective_ms"] == 500
    assert found["plan"]["region"] == "eu-west-1"
    assert found["reading"]["used"] == found["plan"]["requests"]
    (folder / "b.json").write_bytes(done.stdout)
    told = run("diff", "a.json", "b.json", cwd=folder).stdout.decode()
    assert "- us-east-1" in told
    assert "+ mean 300 ms, median 300 ms, 95 % within 390 ms (given)" in told
    assert b"The plans say the same." in run("diff", "a.json", "a.json", cwd=folder).stdout


def test_what_was_measured_is_taken_and_what_is_given_goes_before_it(log: Path, tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text(to_json(MEASURED))
    done = run(log, "--measured", "measured.json", "--worker-memory-mb", 333, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = {each["name"]: (each["value"], each["origin"]) for each in json.loads(done.stdout)["plan"]["figures"]}
    assert told["time of a request on a server"] == ("mean 80 ms", "measured")
    assert told["share of it that computes"] == ("25%", "measured")
    assert told["memory of a worker"] == ("333 MB", "given")
    assert told["speed of a vCPU against the machine that was measured on"][0] == "1.5"

    assert told["speed of a vCPU against the machine that was measured on"][1] == "measured"


def test_the_measurement_beside_the_settings_is_taken_and_said(log: Path, tmp_path: Path) -> None:
    (tmp_path / "peaker.toml").write_text('[app]\nweb = "shop:app"\n')
    (tmp_path / "measured.json").write_text(to_json(MEASURED))
    for options, origin in (((), "measured"), (("--no-measured",), "assumed")):
        done = run(log, *options, "--json", cwd=tmp_path)
        figures = {each["name"]: each["origin"] for each in json.loads(done.stdout)["plan"]["figures"]}
        assert figures["share of it that computes"] == origin
        assert ("measured.json of 2026-11-24 is taken" in done.stderr.decode()) == (origin == "measured")


def test_where_nothing_is_fast_enough_the_closest_is_named_and_the_exit_code_is_1(log: Path, tmp_path: Path) -> None:
    done = run(log, "--service-ms", 400, "--latency-ms", 100, "--write", cwd=tmp_path)
    assert done.returncode == 1
    screen = " ".join(done.stdout.decode().split())
    assert "NO ANSWER Nothing meets every need and p95 within 100 ms; closest comes" in screen
    assert "it would be met at" in screen
    assert not (tmp_path / "peaker.toml").exists()


def test_what_needs_servers_is_not_answered_with_functions(log: Path, tmp_path: Path) -> None:
    done = run(log, "--state", "--longest", "20min", "--json", cwd=tmp_path)
    plan = json.loads(done.stdout)["plan"]
    assert plan["candidates"][plan["recommended"]]["architecture"] == "servers"
    broken = [each["breaks"] for each in plan["candidates"] if each["architecture"] == "functions"]
    assert all(any("keeps state" in sentence for sentence in breaks) for breaks in broken)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.log",), "nowhere.log"),
        (("empty.log",), "it is empty"),
        (("--latency-ms", 0, "empty.log"), "--latency-ms"),
        (("--service-ms", "fast", "shop.log"), "'fast' is not milliseconds"),
        (("--service-ms", "30,20", "shop.log"), "--service-ms: '30,20' is not allowed"),
        (("--service-ms", "-5", "shop.log"), "--service-ms: '-5' is not allowed"),
        (("--ops", "people=3", "shop.log"), "'people=3' is not one of"),
        (("--commitment", "1-year=27", "shop.log"), "'1-year=27' is not NAME=SHARE"),
        (("--longest", "soon", "shop.log"), "'soon' is not a duration"),
        (("--region", "mars-1", "shop.log"), "mars-1"),
        (("--instance-type", "t9.huge", "shop.log"), "t9.huge"),
        (("diff", "shop.log", "shop.log"), "it is not JSON"),
        (("diff", "none.json", "none.json"), "the plan cannot be read"),
        (("--save", "no/such/folder/a.json", "shop.log"), "it cannot be written"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    *,
    arguments: tuple[object, ...],
    told: str,
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.log").write_bytes(b"")
    (tmp_path / "shop.log").write_bytes(log.read_bytes()[:20_000])
    with pytest.raises(SystemExit) as ended:
        main(["plan", *map(str, arguments)])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert told in printed.err


def test_help_tells_of_the_difference(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert b"peaker plan diff" in done.stdout
    assert b"BEFORE AFTER" in run("diff", "--help", cwd=tmp_path).stdout
