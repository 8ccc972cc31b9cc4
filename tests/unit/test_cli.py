"""The command line as such: help, versions, exit codes, and what is imported for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from peaker import __version__
from peaker.cli import COMMANDS, main
from peaker.cli.replay import report


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, captured.out, captured.err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--version") == (0, f"peaker {__version__}\n", "")


def test_help_lists_every_command_and_a_first_start(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--help")
    assert code == 0
    for name, line in COMMANDS.items():
        assert f"  {name} " in out
        assert line in out
    assert "$ peaker run" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert out.startswith(f"Usage: peaker {command}")
    assert len(out.splitlines()) > 8


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "replay"])
def test_each_command_gives_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    _, out, _ = call(capsys, command, "--help")
    assert f"    peaker {command}" in out


@pytest.mark.parametrize("command", ["check", "status", "scale", "stop", "replay"])
def test_what_reports_can_report_to_a_program(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert "--json" in call(capsys, command, "--help")[1]


def test_an_unknown_command_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "fly")
    assert (code, out) == (2, "")
    assert f"there is no command 'fly'; there are: {', '.join(COMMANDS)}." in err


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "status", "--jsn")
    assert code == 2
    assert "--json" in err


def test_errors_are_one_sentence_with_their_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = call(capsys, "check", "--config", str(tmp_path / "none.toml"))
    assert (code, out) == (2, "")
    assert err.startswith(f"peaker: {tmp_path / 'none.toml'}: the settings file cannot be read")
    assert err.count("\n") == 1
    code, _, err = call(capsys, "status", "--state", str(tmp_path / "nothing"))
    assert code == 1
    assert "no app has been started here. Start it with `peaker run`." in err
    code, _, err = call(capsys, "stop", "--state", str(tmp_path / "nothing"))
    assert code == 1


def test_check_without_importing_needs_no_app(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "peaker.toml").write_text('[app]\nweb = "not.there:app"\n[stage.prod.servers]\ncount_max = 7\n')
    config = str(tmp_path / "peaker.toml")
    code, out, _ = call(capsys, "check", "--config", config, "--stage", "prod", "--no-import", "--json")
    assert code == 0
    assert json.loads(out)["servers"]["count_max"] == 7
    assert call(capsys, "check", "--config", config)[0] == 2


def test_settings_with_nothing_to_run_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "peaker.toml").write_text('[app]\nname = "shop"\n')
    code, out, err = call(capsys, "check", "--config", str(tmp_path / "peaker.toml"), "--no-import")
    assert (code, out) == (2, "")
    assert "there is neither [app] web nor a [[function]]" in err


def test_functions_alone_are_enough(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "peaker.toml").write_text('[[function]]\nname = "f"\nhandler = "not.there:f"\n')
    code, out, _ = call(capsys, "check", "--config", str(tmp_path / "peaker.toml"), "--no-import")
    assert code == 0
    assert "servers: none, for there is no web app" in out
    assert "function f: not.there:f" in out


def test_check_says_that_one_server_stays_whatever_count_min_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "peaker.toml").write_text('[app]\nweb = "not.there:app"\n[servers]\ncount_min = 0\n')
    _, out, _ = call(capsys, "check", "--config", str(tmp_path / "peaker.toml"), "--no-import")
    assert "servers: 1 to 1" in out
    assert "count_min = 0: here one stays, for it holds the gate" in out


def test_check_tells_of_a_lifespan_that_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broken_start.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'the cellar is locked'})\n"
    )
    (tmp_path / "peaker.toml").write_text('[app]\nweb = "broken_start:app"\n')
    code, _, err = call(capsys, "check", "--config", str(tmp_path / "peaker.toml"))
    assert code == 2
    assert "lifespan start-up failed: the cellar is locked" in err


def test_check_waits_for_a_lifespan_no_longer_than_a_worker_may_take(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "slow_start_app.py").write_text(
        "import asyncio\nasync def app(scope, receive, send):\n    await asyncio.Event().wait()\n"
    )
    (tmp_path / "peaker.toml").write_text('[app]\nweb = "slow_start_app:app"\n[servers]\nstart_s_max = 1.5\n')
    code, _, err = call(capsys, "check", "--config", str(tmp_path / "peaker.toml"))
    assert code == 2
    assert "did not import and start within servers.start_s_max = 1.5 s" in err


def test_check_lists_the_function_of_the_app_only_where_it_may_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for spill, names in (("false", []), ("true", ["shop-web"])):
        (tmp_path / "peaker.toml").write_text(f'[app]\nname = "shop"\nweb = "not.there:app"\nspill = {spill}\n')
        _, out, _ = call(capsys, "check", "--config", str(tmp_path / "peaker.toml"), "--no-import", "--json")
        assert [function["name"] for function in json.loads(out)["functions"]] == names


def test_the_summary_of_a_replay_names_the_statuses_of_what_failed() -> None:
    figures = dict.fromkeys(("p50", "p95", "p99", "max"), 1.0)
    text = report(
        {
            "sent": 9, "answered": 4, "failed": 5, "unfinished": 0, "elapsed_s": 1.0,
            "all": {"latency_ms": figures}, "placements": {}, "void": False, "generator_lag_ms": figures,
            "failures": {"client_error": 3, "refused": 2}, "statuses": {"200": 4, "404": 1, "422": 2, "503": 2},
        }
    )  # fmt: skip
    assert "3  4xx (1 x 404, 2 x 422)\n" in text
    assert "2  refused with 503\n" in text


def test_resources_that_could_be_overbooked_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "peaker.toml").write_text(
        '[app]\nweb = "not.there:app"\nspill = true\n[servers]\nworkers = 2\n'
        '[[resource]]\nname = "db"\nconnections_max = 50\nper_worker = 10\n'
    )
    code, _, err = call(capsys, "check", "--config", str(tmp_path / "peaker.toml"), "--no-import")
    assert code == 2
    assert "'db'" in err
    assert "concurrency_max" in err


@pytest.mark.parametrize("option", ["--speed", "--scale"])
def test_a_factor_out_of_range_is_blamed_on_its_option(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str
) -> None:
    (tmp_path / "trace_1s.csv").write_text("count\n1\n")
    code, _, err = call(capsys, "replay", str(tmp_path / "trace_1s.csv"), "--to", "http://127.0.0.1:1", option, "0")
    assert code == 2
    assert f"Invalid value for '{option}'" in err
    assert "trace_1s" not in err


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = ("asyncio", "uvicorn", "rich", "httptools", "peaker.engines", "peaker.control")
    script = (
        "import sys; from peaker.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_check_refuses_a_layer_or_a_program_that_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for function, told in (
        ('handler = "m:f"\nlayers = ["deps"]', "deps of function f is not there"),
        ('runtime = "provided"\ncommand = ["./run"]', "function f cannot be run"),
    ):
        config = tmp_path / "peaker.toml"
        config.write_text(f'[app]\nweb = "not.there:app"\n[[function]]\nname = "f"\n{function}\n')
        code, _, error = call(capsys, "check", "--config", str(config), "--no-import")
        assert code == 2
        assert told in " ".join(error.split())
