"""The build hash: the same for the same code, another for any other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peaker.build import build_hash, code_files
from peaker.errors import SettingsError
from peaker.settings import AppSection, FunctionSection, ServersSection, Settings


def settings(directory: Path, **sections: object) -> Settings:
    given: dict[str, object] = {"app": AppSection(web="shop:app"), "directory": str(directory), **sections}
    return Settings(**given)  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("PRICE = 1\n")
    return tmp_path


def test_it_is_a_valid_qualifier_and_stays_the_same(project: Path) -> None:
    found = build_hash(settings(project))
    assert re.fullmatch(r"b[0-9a-f]{15}", found)
    (project / "shop.py").touch()
    assert build_hash(settings(project)) == found


def test_other_code_is_another_build(project: Path) -> None:
    seen = {build_hash(settings(project))}
    (project / "shop.py").write_text("PRICE = 2\n")
    seen.add(build_hash(settings(project)))
    (project / "part.py").write_text("")
    seen.add(build_hash(settings(project)))
    (project / "part.py").rename(project / "piece.py")
    seen.add(build_hash(settings(project)))
    (project / "bootstrap").write_text("#!/bin/sh\n")
    seen.add(build_hash(settings(project)))
    assert len(seen) == 5


def test_what_is_no_code_does_not_matter(project: Path) -> None:
    found = build_hash(settings(project))
    for name in (".venv/a.py", ".peaker/b.py", "__pycache__/c.py", "node_modules/d.js", "made/pyvenv.cfg", "made/e.py"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("1")
    (project / "orders.db").write_text("1")
    assert build_hash(settings(project)) == found


def test_settings_that_reach_the_code_matter_and_others_do_not(project: Path) -> None:
    found = build_hash(settings(project))
    assert build_hash(settings(project, servers=ServersSection(count_max=5))) == found
    assert build_hash(settings(project, env={"A": "1"})) != found
    assert build_hash(settings(project, function=(FunctionSection(name="f", handler="shop:f"),))) != found
    (project / "variables").write_text("A=1\n")
    app = AppSection(web="shop:app", env_file="variables")
    with_file = build_hash(settings(project, app=app))
    assert with_file == build_hash(settings(project, env={"A": "1"}))
    (project / "variables").write_text("A=2\n")
    assert build_hash(settings(project, app=app)) != with_file


def test_a_file_that_cannot_be_read_is_part_of_it_until_it_can(project: Path) -> None:
    (project / "gone.py").symlink_to(project / "nowhere.py")
    dangling = build_hash(settings(project))
    (project / "nowhere.py").write_text("")
    assert build_hash(settings(project)) != dangling


def test_a_project_of_too_many_files_is_refused(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"m{number}.py").write_text("")
    assert [path.name for path in code_files(tmp_path)] == ["m0.py", "m1.py", "m2.py"]
    with pytest.raises(SettingsError, match="more than 2 files of code"):
        code_files(tmp_path, files_max=2)
