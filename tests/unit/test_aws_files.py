"""The profile in the user's own AWS files: theirs stays theirs, byte for byte."""

from __future__ import annotations

import stat
from pathlib import Path

import botocore.session
import pytest

from peaker.errors import StateError
from peaker.functions.aws_files import with_block, write_blocks
from peaker.functions.credentials import profile_text, write_profile

THEIRS = "# mine\n[default]\nregion = eu-west-1\n\n[profile work]\nsso_session = x\n  # kept as it is\n"
BLOCK = profile_text("shop", endpoint_url="http://127.0.0.1:9001", region="us-east-1")


@pytest.mark.parametrize("theirs", ["", THEIRS, THEIRS.rstrip("\n"), THEIRS + "\n"])
def test_a_block_is_added_at_the_end_and_replaced_in_place(theirs: str) -> None:
    once = with_block(theirs, "shop", BLOCK, about="x")
    assert once.startswith(theirs)
    assert once.endswith("# peaker: end shop\n")
    followed = once + "[profile later]\nregion = x\n"
    twice = with_block(followed, "shop", BLOCK.replace("9001", "9002"), about="y")
    assert twice == followed.replace("9001", "9002").replace("(x)", "(y)")


def test_blocks_of_two_apps_stand_side_by_side() -> None:
    other = profile_text("shop-2", endpoint_url="http://127.0.0.1:9", region="us-east-1")
    text = with_block(with_block("", "shop", BLOCK, about="x"), "shop-2", other, about="x")
    assert with_block(text, "shop", BLOCK, about="x") == text
    assert text.count("# peaker: begin") == 2


@pytest.mark.parametrize("section", ["[profile shop]", "[profile  shop]", "[ profile shop ]", "[services shop]"])
def test_a_section_of_the_users_own_is_refused(section: str) -> None:
    with pytest.raises(StateError, match="not written by Peaker"):
        with_block(f"{section}\nregion = x\n", "shop", BLOCK, about="x")


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    config, credentials = tmp_path / "aws" / "config", tmp_path / "credentials"
    credentials.write_text("[shop]\naws_access_key_id = mine\n")
    with pytest.raises(StateError) as caught:
        write_blocks({config: BLOCK, credentials: "[shop]\naws_access_key_id = ours\n"}, "shop", about="x")
    assert str(credentials) in str(caught.value)
    assert not config.exists()
    assert credentials.read_text() == "[shop]\naws_access_key_id = mine\n"


def test_a_new_file_is_private_a_link_stays_a_link_and_a_mode_stays(tmp_path: Path) -> None:
    real, link, fresh = tmp_path / "real", tmp_path / "link", tmp_path / "fresh"
    real.write_text(THEIRS)
    real.chmod(0o640)
    link.symlink_to(real)
    write_blocks({link: BLOCK, fresh: BLOCK}, "shop", about="x")
    assert link.is_symlink()
    assert real.read_text().startswith(THEIRS)
    assert (stat.S_IMODE(real.stat().st_mode), stat.S_IMODE(fresh.stat().st_mode)) == (0o640, 0o600)


def test_boto3_sends_lambda_to_the_profiles_address_and_all_else_to_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(tmp_path / "aws-config", endpoint_url="http://127.0.0.1:9001", region="eu-north-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    session = botocore.session.Session(profile="peaker")
    assert session.create_client("lambda").meta.endpoint_url == "http://127.0.0.1:9001"
    assert "amazonaws.com" in session.create_client("sqs").meta.endpoint_url
    assert session.get_config_variable("region") == "eu-north-1"
