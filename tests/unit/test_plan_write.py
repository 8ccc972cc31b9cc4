"""`peaker plan --write`: what a settings file says afterwards, and what of it stays as it was."""

import dataclasses
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from peaker.cli.plan_write import changed_text, write_plan
from peaker.errors import SettingsError
from peaker.plan.case import Case, Choices, Figure, Needs, Objective, Origin, Times, Work
from peaker.plan.plan import Architecture, Kind
from peaker.settings import load_settings

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))

from made_plan import FUNCTIONS, PLAN, candidate, servers, with_plan

BEFORE = """\
# the shop
[app]
web = "shop:app"   # ASGI

[servers]
# at least
count_min = 1
count_max = 3      # Ann says not more
queue_max = 50

[[route]]
path = "/live"     # stays
placement = "servers"
"""


def case(architecture: str = "arm64") -> Case:
    figure = Figure(500.0, Origin.GIVEN)
    return Case(
        name="shop.log",
        counts=np.ones(3),
        step_s=1.0,
        work=Work(
            service=Times((0.1,), Origin.GIVEN),
            cpu_share=Figure(0.3, Origin.GIVEN),
            cold_start=Times((1.0,), Origin.GIVEN),
            worker_memory_mb=figure,
            function_memory_mb=figure,
            response_bytes=figure,
        ),
        needs=Needs(),
        objective=Objective(latency_s=0.3),
        choices=Choices(architecture=architecture),
    )


def test_only_what_the_answer_decides_is_changed() -> None:
    after = changed_text(BEFORE, PLAN, case(), "2026-11-24")
    lines = after.splitlines()
    assert [line for line in BEFORE.splitlines() if line not in lines] == [
        "count_min = 1",
        "count_max = 3      # Ann says not more",
    ]
    assert "count_max = 2      # Ann says not more" in lines
    found = tomllib.loads(after)
    assert found["servers"] == {"count_min": 2, "count_max": 2, "queue_max": 50, "instance_type": "t4g.micro"}
    assert found["functions"] == {"memory_mb": 512, "architecture": "arm64"}
    assert found["objective"] == {"latency_p95_ms": 300}
    assert found["aws"] == {"region": "us-east-1"}


def test_a_comment_says_when_from_what_and_what_is_left_to_decide() -> None:
    lines = changed_text(BEFORE, PLAN, case(), "2026-11-24").splitlines()
    at = lines.index("[servers]")
    assert lines[at - 3 : at] == [
        "# peaker plan: 2026-11-24, from shop.log (1,206,000 requests)",
        "# peaker plan: hybrid, fixed baseline: 2 t4g.micro + functions of 512 MB, $43.87 a month",
        "# peaker plan: requests spill once [app] spill = true, for an app that keeps no state in the process",
    ]


def test_a_second_plan_replaces_the_comment_of_the_first() -> None:
    once = changed_text(BEFORE, PLAN, case(), "2026-11-24")
    assert changed_text(once, PLAN, case(), "2026-11-24") == once
    later = changed_text(once, PLAN, case(), "2026-12-01")
    assert later.count("# peaker plan: ") == 3
    assert "2026-11-24" not in later


def test_functions_alone_take_the_servers_away_and_say_how_requests_get_there() -> None:
    alone = with_plan(candidates=(dataclasses.replace(FUNCTIONS, breaks=()),), recommended=0, percentile=0.99)
    found = changed_text(BEFORE, alone, case("x86_64"), "2026-11-24")
    settings = tomllib.loads(found)
    assert settings["servers"]["count_min"] == 0
    assert settings["servers"]["count_max"] == 3
    assert settings["functions"] == {"memory_mb": 512, "architecture": "x86_64"}
    assert "objective" not in settings
    assert '[[route]] path = "/*", placement = "functions"' in found


def test_tasks_are_no_instance_type() -> None:
    tasks = candidate(Kind.TASKS_FIXED, Architecture.SERVERS, "3 Fargate", 40.0, servers=servers(3, 3))
    found = tomllib.loads(changed_text("", with_plan(candidates=(tasks,), recommended=0), case(), "2026-11-24"))
    assert found["servers"] == {"count_min": 3, "count_max": 3}
    assert "functions" not in found


def test_a_log_with_a_line_break_in_its_name_stays_a_comment() -> None:
    after = changed_text(BEFORE, with_plan(name='a\n[app]\nweb = "evil:app"'), case(), "2026-11-24")
    assert tomllib.loads(after)["app"] == {"web": "shop:app"}


def test_in_pyproject_the_tables_stand_below_tool_peaker() -> None:
    before = '[project]\nname = "shop"\n\n[tool.peaker.app]\nweb = "shop:app"\n\n[tool.ruff]\nline-length = 100\n'
    after = changed_text(before, PLAN, case(), "2026-11-24", is_pyproject=True)
    found = tomllib.loads(after)
    assert found["tool"]["peaker"]["servers"]["count_min"] == 2
    assert found["tool"]["ruff"] == {"line-length": 100}
    assert set(found) == {"project", "tool"}
    assert after.index("# peaker plan: ") < after.index("[tool.peaker.servers]")


def test_the_file_is_written_whole_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "peaker.toml"
    path.write_text(BEFORE)
    path.chmod(0o640)
    write_plan(PLAN, case(), path, ask=False)
    assert load_settings(path).servers.count_max == 2
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["peaker.toml"]
    shown = capsys.readouterr().err
    assert "-count_max = 3      # Ann says not more" in shown
    write_plan(PLAN, case(), path, ask=False)
    assert "says it already" in capsys.readouterr().err


def test_a_file_that_would_be_wrong_afterwards_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "peaker.toml"
    path.write_text("[servers]\nqueue_max = -1\n")
    with pytest.raises(SettingsError, match="queue_max = -1"):
        write_plan(PLAN, case(), path, ask=False)
    assert path.read_text() == "[servers]\nqueue_max = -1\n"
    path.write_text("[servers\n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        write_plan(PLAN, case(), path, ask=False)


def test_without_a_settings_file_one_is_made_and_what_it_lacks_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(PLAN, case(), tmp_path / "peaker.toml", ask=False)
    assert load_settings(tmp_path / "peaker.toml").functions.memory_mb == 512
    assert 'add web = "module:app"' in capsys.readouterr().err
