"""`peaker traffic` as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from peaker.cli import main

LINE = '10.0.0.{} - - [01/May/2024:{:02d}:{:02d}:{:02d} +0000] "{} {} HTTP/1.1" {} 512 "-" "{}"\n'
AGENT = "Mozilla/5.0"


def run(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", "traffic", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hours, a request every two seconds, a health check every ten, one damaged line, one server error."""
    lines = []
    for second in range(0, 7200, 2):
        clock = (second // 3600, second // 60 % 60, second % 60)
        status = 500 if second == 600 else 200
        lines.append(LINE.format(second % 9, *clock, "GET", f"/titles/{second}", status, AGENT))
        if second % 10 == 0:
            lines.append(LINE.format(250, *clock, "GET", "/", 200, "ELB-HealthChecker/2.0"))
    lines.insert(100, "half a li\n")
    path = tmp_path_factory.mktemp("logs") / "access.log"
    path.write_text("".join(lines))
    return path


def test_one_screen_tells_what_was_read_and_its_shape(log: Path) -> None:
    done = run(str(log))
    assert (done.returncode, done.stderr) == (0, b"")
    screen = done.stdout.decode()
    assert "combined, 2024-05-01 00:00:00 to 2024-05-01 01:59:58 UTC, zone UTC" in screen
    assert "4,321 lines: 3,600 load (83.3 %), 720 no load, 0 without a request, 1 unreadable" in screen
    assert "720  health check: the client calls itself a health checker" in screen
    assert "first: line 101, 'half a li'" in screen
    assert "baseline 0.5/s" in screen
    assert "no peak stands out" in screen
    assert "/titles/{}" in screen
    assert len(screen.splitlines()) < 45
    assert all(len(line) <= 160 for line in screen.splitlines())


def test_json_has_report_traffic_and_shape(log: Path) -> None:
    found = json.loads(run(str(log), "--json").stdout)
    assert (found["report"]["used"], found["report"]["unreadable"][0]["first_line"]) == (3600, 101)
    assert found["traffic"]["status_classes"] == {"2": 3599, "5": 1}
    assert found["traffic"]["excluded"][0]["count"] == 720
    assert found["traffic"]["routes"][0]["pattern"] == "/titles/{}"
    assert found["shape"]["peak_to_mean"]["1min"] == pytest.approx(1.0, abs=0.01)


def test_standard_input_a_named_format_and_a_picture(log: Path, tmp_path: Path) -> None:
    picture = tmp_path / "shape.svg"
    done = run("-", "--format", "combined", "--picture", str(picture), stdin=log.read_bytes())
    assert (done.returncode, b"The picture is in" in done.stderr) == (0, True)
    assert b"<svg" in picture.read_bytes()


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, (), "there is no such file"),
        (b"", (), "it is empty"),
        (b"\xff\xfe\x00junk\n" * 30, (), "no known format fits"),
        (b"x\n", ("--format", "nginks"), "there is no format 'nginks'"),
        (b"count\n1\n", ("--step", "soon"), "--step"),
        (b"count\n0\n0\n", (), "every step is 0 or a gap"),
        (b"count\n1\n", ("--picture", "p.gif"), "a picture ends with"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    content: bytes | None, arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        main(["traffic", str(path), *arguments])
    told = capsys.readouterr()
    assert (caught.value.code, told.out) == (2, "")
    assert said in told.err
