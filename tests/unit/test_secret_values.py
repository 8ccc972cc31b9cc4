"""Secrets: references are taken, what they lead to is read, and no message shows what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from peaker.build import build_hash
from peaker.errors import SettingsError
from peaker.secret_values import SECRET_BYTES_MAX, given_secrets, read_secrets, without_secrets
from peaker.settings import Settings, load_settings

VALUE = "postgres://shop:correct-horse@db/shop"


def loaded(tmp_path: Path, text: str, stage: str = "") -> Settings:
    path = tmp_path / "peaker.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, stage)


def nobody(references: Mapping[str, str]) -> Mapping[str, str]:
    """Nothing stands on AWS here."""
    raise AssertionError(references)


def test_a_secret_is_read_from_a_variable_of_another_name_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"line 1\nline 2\r\n")
    settings = loaded(tmp_path, '[secrets]\nDB_URL = "env:PROD_DB"\nKEY = "file:key"\n')

    found = read_secrets(settings, {"PROD_DB": VALUE}, from_aws=nobody)

    assert found == {"DB_URL": VALUE, "KEY": "line 1\nline 2"}


def test_of_secrets_on_aws_those_that_ecs_has_put_there_are_taken_and_the_others_read(tmp_path: Path) -> None:
    arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/shop/"
    settings = loaded(tmp_path, f'[secrets]\nA = "{arn}a"\nB = "{arn}b"\n')

    found = read_secrets(
        settings, {"A": "given", "B": ""}, from_aws=lambda asked: {name: asked[name] for name in asked}
    )

    assert found == {"A": "given", "B": f"{arn}b"}


def test_settings_hold_where_a_secret_stands_and_not_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(VALUE)
    settings = loaded(tmp_path, '[secrets]\nKEY = "file:key"\n')

    assert VALUE not in settings.to_json() + repr(settings)
    assert Settings.from_json(settings.to_json()) == settings


def test_a_rotated_secret_leaves_the_build_as_it_is(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[secrets]\nKEY = "file:key.txt"\n')
    (tmp_path / "key.txt").write_text("old")
    before = build_hash(settings)
    (tmp_path / "key.txt").write_text("new")

    assert build_hash(settings) == before


def test_a_stage_may_take_a_secret_from_elsewhere(tmp_path: Path) -> None:
    text = '[secrets]\nA = "env:A"\nB = "env:B"\n[stage.prod.secrets]\nA = "file:/run/secrets/a"\n'

    assert loaded(tmp_path, text, "prod").secrets == {"A": "file:/run/secrets/a", "B": "env:B"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f'DB = "{VALUE}"', "secrets.DB does not say where the secret stands"),
        ('DB = "env:correct-horse"', "secrets.DB does not say where the secret stands"),
        ('DB = "file:"', "secrets.DB does not say where"),
        ("DB = 31415926", "secrets.DB does not say where"),
        ('"A B" = "env:A"', "secrets.A B is not the name of a variable"),
        ('DB = "arn:aws:secretsmanager:eu-west-1:1:secret:correct-horse"', "secrets.DB does not say where"),
        ('DB = "arn:aws:ssm:eu-west-1:123456789012:correct-horse"', "secrets.DB does not say where"),
    ],
)
def test_what_is_no_reference_is_refused_without_being_shown(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, f"[secrets]\n{line}\n")

    assert told in str(refused.value)
    assert f"{tmp_path / 'peaker.toml'}:2" in str(refused.value)
    assert "correct-horse" not in str(refused.value)
    assert "31415926" not in str(refused.value)


@pytest.mark.parametrize(
    ("reference", "content", "told"),
    [
        ("env:NOT_SET", None, "the variable NOT_SET is not set where Peaker was started"),
        ("env:EMPTY", None, "variable EMPTY is empty"),
        ("file:absent", None, "there is no file"),
        ("file:.", None, "there is no file"),
        ("file:key", b"", "is empty"),
        ("file:key", b"\n", "is empty"),
        ("file:key", b"correct\xffhorse", "is not UTF-8"),
        ("file:key", b"correct\0horse", "holds a zero byte"),
        ("file:key", b"x" * (SECRET_BYTES_MAX + 1), "larger than 65,536 bytes"),
    ],
)
def test_a_secret_that_cannot_be_had_is_named(tmp_path: Path, reference: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    settings = loaded(tmp_path, f'[secrets]\nDB_URL = "{reference}"\n')

    with pytest.raises(SettingsError, match=r"secrets\.DB_URL cannot be had") as refused:
        read_secrets(settings, {"EMPTY": ""}, from_aws=nobody)

    assert told in str(refused.value)
    assert "horse" not in str(refused.value)
    assert refused.value.__cause__ is None or "horse" not in repr(refused.value.__cause__)


def test_a_process_that_was_not_given_a_secret_says_which(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[secrets]\nA = "env:X"\nB = "env:X"\n')

    with pytest.raises(SettingsError, match="not handed over to this process: B"):
        given_secrets(settings, {"A": "1"})


def test_values_are_taken_out_of_messages_the_longer_first() -> None:
    secrets = {"SHORT": "horse", "LONG": "correct-horse", "TINY": "e"}

    assert without_secrets("no correct-horse, no horse here", secrets) == "no [secret], no [secret] here"


def check(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "peaker", "check", *arguments],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_imports_the_app_with_its_secrets_and_shows_their_names_alone(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        f"import os\nassert os.environ['DB_URL'] == {VALUE!r}\nasync def app(scope, receive, send): ...\n"
    )
    loaded(tmp_path, '[app]\nweb = "shop:app"\n[secrets]\nDB_URL = "env:PROD_DB"\n')

    for arguments in ((), ("--json",)):
        done = check(tmp_path, *arguments, PROD_DB=VALUE)
        assert done.returncode == 0, done.stderr
        assert "DB_URL" in done.stdout
        assert "correct-horse" not in done.stdout + done.stderr
    missing = check(tmp_path)
    assert missing.returncode == 2
    assert "secrets.DB_URL cannot be had: the variable PROD_DB is not set" in missing.stderr


def test_an_import_error_that_quotes_a_secret_is_shown_without_it(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import os\nraise ValueError('cannot reach ' + os.environ['DB_URL'])\n")
    loaded(tmp_path, '[app]\nweb = "shop:app"\n[secrets]\nDB_URL = "env:PROD_DB"\n')

    done = check(tmp_path, PROD_DB=VALUE)

    assert done.returncode == 2
    assert "cannot reach [secret]" in done.stderr
    assert "correct-horse" not in done.stderr
