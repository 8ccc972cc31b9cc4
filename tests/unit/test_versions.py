"""Version numbers of builds, and what qualifiers mean."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from peaker.errors import StateError
from peaker.functions.published import BUILDS_MAX, Published, number_of_build
from peaker.wire.lambda_errors import InvokeApiError


def test_builds_are_counted_and_keep_their_number(tmp_path: Path) -> None:
    path = tmp_path / "versions.json"
    assert [number_of_build(path, build) for build in ("b1", "b2", "b1", "b3", "b2")] == [1, 2, 1, 3, 2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["versions.json"]


def test_old_builds_are_forgotten_and_no_number_is_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "versions.json"
    path.write_text('{"first": 1, "builds": [' + ", ".join(f'"b{n}"' for n in range(1, BUILDS_MAX + 1)) + "]}")
    assert number_of_build(path, "new") == BUILDS_MAX + 1
    assert number_of_build(path, "b2") == 2
    assert number_of_build(path, "b1") == BUILDS_MAX + 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"first": "x", "builds": []}', '{"first": 1, "builds": 7}', "\0"])
def test_a_file_that_is_not_ours_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "versions.json"
    path.write_text(text)
    with pytest.raises(StateError, match="versions are then counted from 1 again") as caught:
        number_of_build(path, "b1")
    assert str(path) in str(caught.value)


HERE = Published("b0123456789abcde", 4, "eu-west-1")


@pytest.mark.parametrize(
    ("qualifier", "version"), [("", "$LATEST"), ("$LATEST", "$LATEST"), ("4", "4"), ("b0123456789abcde", "4")]
)
def test_a_qualifier_of_the_build_that_runs_is_its_version(qualifier: str, version: str) -> None:
    assert HERE.version_of("f", qualifier) == version


@pytest.mark.parametrize(
    ("qualifier", "words"),
    [
        ("3", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:f:3"),
        ("04", "Function not found"),
        (
            "b0123456789abcdf",
            "Cannot find alias arn: arn:aws:lambda:eu-west-1:000000000000:function:f:b0123456789abcdf",
        ),
        ("prod", "Cannot find alias arn"),
    ],
)
def test_every_other_qualifier_is_not_found(qualifier: str, words: str) -> None:
    with pytest.raises(InvokeApiError) as caught:
        HERE.version_of("f", qualifier)
    assert caught.value.status == 404
    assert str(caught.value).startswith(words)
