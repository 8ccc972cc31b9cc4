"""`[local_aws]`, `aws.endpoint`, and the environment they make."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from peaker.errors import MissingExtraError, SettingsError
from peaker.extras import require_extra
from peaker.local_aws_section import TableKey, table_keys
from peaker.settings import AwsSection, Settings, load_settings, replaced
from peaker.stand_in_variables import (
    above,
    elsewhere,
    endpoint_before_start,
    region_of_stand_in,
    variables,
    without_aws,
)

LOCAL = Settings(aws=AwsSection(endpoint="local"))


def given() -> dict[str, str]:
    return variables(
        endpoint_url="http://127.0.0.1:4000",
        lambda_endpoint="http://127.0.0.1:4001",
        region="eu-west-1",
        key=("PEAKER", "nothing"),
        config=Path("/state/aws-config"),
        credentials=Path("/state/credentials"),
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('listen = "0.0.0.0:4000"', r"local_aws.listen = '0.0.0.0:4000'.*loopback"),
        ('buckets = ["No_Bucket"]', r"local_aws.buckets.*names of S3 buckets"),
        ('queues = ["a b"]', r"local_aws.queues.*names of SQS queues"),
        ('topics = ["a b"]', r"local_aws.topics.*names of SNS topics"),
        ('tables = { orders = "id:X" }', r"local_aws.tables.*id, at:N"),
        ('tables = { orders = "a, b, c" }', r"local_aws.tables"),
        ('tables = { orders = "a, a" }', r"local_aws.tables"),
        ('folders = { uploads = "" }', r"local_aws.folders.*path of a folder"),
    ],
)
def test_what_no_stand_in_can_make_is_refused_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "peaker.toml"
    file.write_text(f"[local_aws]\n{line}\n")
    with pytest.raises(SettingsError, match=told) as refused:
        load_settings(file)
    assert re.search(r"peaker.toml:2", str(refused.value))


def test_keys_of_a_table() -> None:
    assert table_keys("id") == (TableKey("id", "S"),)
    assert table_keys("customer, at:N") == (TableKey("customer", "S"), TableKey("at", "N"))


@pytest.mark.parametrize("endpoint", ["", "local", "http://localhost:4566", "https://stack.example:4566/"])
def test_endpoints_that_are_taken(endpoint: str) -> None:
    assert replaced(Settings(), "aws.endpoint", endpoint, where="--aws").aws.endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["real", "localhost:4566", "https://sqs.eu-west-1.amazonaws.com", "http://x.amazonaws.com.cn", "http://a/b"],
)
def test_aws_itself_is_no_stand_in(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"--aws: aws.endpoint.*AWS itself is none"):
        replaced(Settings(), "aws.endpoint", endpoint, where="--aws")


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    with pytest.raises(MissingExtraError, match=r"flask_cors.*pip install 'peaker\[local-aws\]'"):
        require_extra("local-aws", purpose="A stand-in", finds=lambda name: None if name == "flask_cors" else object())


def test_code_is_given_the_stand_in_and_nothing_that_leads_to_aws() -> None:
    declared = {
        "AWS_PROFILE": "prod",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://own:8000",
        "A": "b",
    }
    made = above(LOCAL, declared, {**given(), "AWS_SESSION_TOKEN": "real", "HOME": "/home"})
    assert made == {**given(), "AWS_ENDPOINT_URL_DYNAMODB": "http://own:8000", "A": "b"}
    assert made["AWS_SHARED_CREDENTIALS_FILE"] == "/state/credentials"
    assert made["AWS_ENDPOINT_URL_LAMBDA"] == "http://127.0.0.1:4001"


def test_without_a_stand_in_nothing_is_changed() -> None:
    declared = {"AWS_PROFILE": "prod"}
    assert above(Settings(), declared, {"AWS_ENDPOINT_URL": "http://somebody-elses"}) == declared


def test_an_environment_loses_what_is_of_aws_and_its_proxy_leaves_this_machine_alone() -> None:
    environ = {"AWS_PROFILE": "prod", "AWS_ENDPOINT_URL_S3": "https://s3", "PATH": "/bin"}
    assert without_aws(environ) == {"PATH": "/bin"}
    behind = without_aws({"HTTP_PROXY": "http://proxy", "NO_PROXY": "intranet"})
    assert behind["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert behind["no_proxy"] == "127.0.0.1,localhost"
    assert {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"} <= elsewhere(environ)


def test_the_region_is_the_one_the_code_says_it_is_in() -> None:
    assert region_of_stand_in(LOCAL, {}) == "us-east-1"
    assert region_of_stand_in(LOCAL, {"AWS_DEFAULT_REGION": "eu-west-1"}) == "eu-west-1"
    assert region_of_stand_in(LOCAL, {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-2"}) == "eu-west-2"


def test_code_that_calls_aws_while_it_is_only_imported_reaches_nobody() -> None:
    assert endpoint_before_start(LOCAL) == "http://127.0.0.1:1"
    assert endpoint_before_start(Settings(aws=AwsSection(endpoint="http://stack:4566"))) == "http://stack:4566"
    assert "AWS_ENDPOINT_URL" not in os.environ
