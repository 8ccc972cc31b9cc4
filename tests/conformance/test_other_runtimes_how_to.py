"""The files of docs/how-to/other-runtimes.md, taken from the page and run."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from provided_runtime import needs_curl, needs_node

from peaker.settings import load_settings
from peaker.testing.hosts import RunningHost

PAGE = Path(__file__).parents[2] / "docs/how-to/other-runtimes.md"
_FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("page")
    for name, text in _FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "bootstrap").chmod(0o755)
    if shutil.which("node") is None:  # The host would rightly not start.
        (directory / "peaker.toml").write_text((directory / "peaker.toml").read_text().replace('"node"', '"python"'))
    with RunningHost(load_settings(directory / "peaker.toml")) as host:
        yield boto3.client(
            "lambda",
            endpoint_url=host.url,
            region_name="us-east-1",
            aws_access_key_id=host.key.access_key_id,
            aws_secret_access_key=host.key.secret_access_key,
            config=botocore.config.Config(retries={"max_attempts": 0}),
        )


def greeted(client: Any, name: str) -> dict[str, Any]:
    reply = client.invoke(FunctionName=name, Payload=b'{"from": "boto3"}')
    assert "FunctionError" not in reply
    told: dict[str, Any] = json.loads(reply["Payload"].read())
    assert told["greeting"] == "hello"
    assert told["event"] == {"from": "boto3"}
    return told


@needs_curl
def test_the_shell_script_of_the_page_runs(client: Any) -> None:
    greeted(client, "greet-sh")
    greeted(client, "greet-sh")


def test_the_python_handler_of_the_page_runs_on_awss_client(client: Any) -> None:
    first, second = greeted(client, "greet-ric"), greeted(client, "greet-ric")
    assert first["pid"] == second["pid"]
    assert 0 < first["left_ms"] <= 30_000


@needs_node
def test_the_node_runtime_of_the_page_runs_with_its_layer(client: Any) -> None:
    greeted(client, "greet-node")
    greeted(client, "greet-node")
