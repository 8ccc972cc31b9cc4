"""Versions, asynchronous invocations and what a call may carry, as boto3 meets them on real processes."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from peaker.event_sections import EventsSection
from peaker.settings import FunctionSection, FunctionsSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost

APPS = Path(__file__).parents[1] / "apps"
DEADLINE_S = 20.0
ARN = "arn:aws:lambda:us-east-1:000000000000:function:echo"


def settings_of(directory: Path, **functions: str) -> Settings:
    return Settings(
        servers=ServersSection(drain_s_max=5),
        functions=FunctionsSection(timeout_s=2.0, memory_mb=128),
        function=tuple(FunctionSection(name=name, handler=handler) for name, handler in functions.items()),
        directory=str(directory),
    )


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    settings = settings_of(APPS, echo="handlers:echo", bad="handlers:misbehave")
    with RunningHost(settings, with_events=True) as running:
        yield running


def client_of(host: RunningHost) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=host.url,
        region_name="us-east-1",
        aws_access_key_id=host.key.access_key_id,
        aws_secret_access_key=host.key.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Any:
    return client_of(host)


@pytest.fixture(scope="module")
def build(client: Any) -> str:
    name = client.list_aliases(FunctionName="echo")["Aliases"][0]["Name"]
    assert isinstance(name, str)
    return name


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s


@pytest.mark.parametrize(
    ("name", "qualifier", "ran"),
    [
        ("echo", None, ("$LATEST", "")),
        ("echo", "$LATEST", ("$LATEST", ":$LATEST")),
        ("echo:$LATEST", None, ("$LATEST", ":$LATEST")),
        ("echo", "1", ("1", ":1")),
        ("echo:1", None, ("1", ":1")),
        ("echo:1", "1", ("1", ":1")),
        ("echo", "BUILD", ("1", ":BUILD")),
        ("000000000000:function:echo", None, ("$LATEST", "")),
        ("000000000000:function:echo:BUILD", None, ("1", ":BUILD")),
        ("arn:aws:lambda:eu-west-1:123456789012:function:echo", "1", ("1", ":1")),
        ("arn:aws:lambda:eu-west-1:123456789012:function:echo:1", None, ("1", ":1")),
    ],
)
def test_a_function_is_called_by_every_name_of_its_version(
    client: Any, build: str, name: str, qualifier: str | None, ran: tuple[str, str]
) -> None:
    """`ran` is the version, and what follows the name in the ARN the handler sees."""
    version, suffix = ran
    asked = {"FunctionName": name.replace("BUILD", build)}
    if qualifier:
        asked["Qualifier"] = qualifier.replace("BUILD", build)
    reply = client.invoke(**asked)
    told = json.loads(reply["Payload"].read())
    assert (reply["ExecutedVersion"], told["version"]) == (version, version)
    assert told["arn"] == ARN + suffix.replace("BUILD", build)


@pytest.mark.parametrize(
    ("name", "qualifier", "code", "message"),
    [
        ("absent", "", "ResourceNotFoundException", f"Function not found: {ARN[:-4]}absent"),
        ("echo", "2", "ResourceNotFoundException", f"Function not found: {ARN}:2"),
        ("echo", "live", "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:live"),
        ("echo:1", "$LATEST", "InvalidParameterValueException", "The derived qualifier from the function"),
        ("b@d", "", "ValidationException", "1 validation error detected: Value 'b@d' at 'functionName'"),
    ],
)  # fmt: skip
def test_a_version_that_is_not_here_is_not_found(
    client: Any, name: str, qualifier: str, code: str, message: str
) -> None:
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=name, **({"Qualifier": qualifier} if qualifier else {}))
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert error["Message"].startswith(message)


def test_each_build_has_a_number_and_only_the_one_that_runs_is_found(tmp_path: Path) -> None:
    """A change of code makes version 2; going back to the old code is version 1 again, under its old hash."""
    code, state = tmp_path / "code", tmp_path / "state"
    code.mkdir()
    seen = []
    for answer in ("one", "two", "one"):
        (code / "media.py").write_text(f"def handle(event, context):\n    return {answer!r}\n")
        with RunningHost(settings_of(code, echo="media:handle"), state=state) as host:
            client = client_of(host)
            version = client.list_versions_by_function(FunctionName="echo")["Versions"][1]["Version"]
            build = client.list_aliases(FunctionName="echo")["Aliases"][0]["Name"]
            seen.append((answer, version, build))
            for qualifier in (version, build):
                reply = client.invoke(FunctionName="echo", Qualifier=qualifier)
                assert (reply["ExecutedVersion"], reply["Payload"].read()) == (version, f'"{answer}"'.encode())
            for other in {old for _, *names in seen for old in names} - {version, build}:
                with pytest.raises(client.exceptions.ResourceNotFoundException):
                    client.invoke(FunctionName="echo", Qualifier=other)
    assert [version for _, version, _ in seen] == ["1", "2", "1"]
    assert seen[0] == seen[2]
    assert seen[0][2] != seen[1][2]


def test_an_event_is_answered_at_once_and_run_afterwards(host: RunningHost, client: Any) -> None:
    began_s = time.monotonic()
    reply = client.invoke(FunctionName="bad", InvocationType="Event", Payload='{"do": "sleep", "s": 1.5}')
    assert time.monotonic() - began_s < 1.5
    assert (reply["StatusCode"], reply["Payload"].read()) == (202, b"")
    assert not {"ExecutedVersion", "FunctionError", "LogResult"} & set(reply)
    request_id = reply["ResponseMetadata"]["RequestId"]
    until(lambda: f"REPORT RequestId: {request_id}" in host.log_text())
    until(lambda: host.events()["totals"]["finished"] >= 1)


def test_an_event_that_could_not_be_run_is_refused_before_it_is_acknowledged(client: Any) -> None:
    for arguments, code in (
        ({"FunctionName": "absent"}, "ResourceNotFoundException"),
        ({"FunctionName": "echo", "Payload": b"{no json"}, "InvalidRequestContentException"),
        ({"FunctionName": "echo", "Qualifier": "9"}, "ResourceNotFoundException"),
    ):
        with pytest.raises(ClientError) as caught:
            client.invoke(InvocationType="Event", **arguments)
        assert caught.value.response["Error"]["Code"] == code


def test_an_event_waits_for_the_process_that_keeps_it_and_is_run_once_when_that_is_there_again(
    host: RunningHost, client: Any
) -> None:
    assert host.events_process is not None
    host.events_process.kill()
    host.events_process.wait()
    answers: list[Any] = []
    sending = threading.Thread(
        target=lambda: answers.append(client.invoke(FunctionName="echo", InvocationType="Event", Payload=b"{}"))
    )
    sending.start()
    host.start_events()
    host.wait_until_events_are_ready()
    sending.join(DEADLINE_S)
    request_id = answers[0]["ResponseMetadata"]["RequestId"]
    assert answers[0]["StatusCode"] == 202
    until(lambda: f"REPORT RequestId: {request_id}" in host.log_text())
    assert host.log_text().count(f"START RequestId: {request_id}") == 1


def test_a_run_under_way_when_the_events_process_is_killed_is_not_made_twice() -> None:
    made = dataclasses.replace(settings_of(APPS, bad="handlers:misbehave"), events=EventsSection(lease_s=0.5))
    with RunningHost(made, with_events=True) as host:
        reply = client_of(host).invoke(FunctionName="bad", InvocationType="Event", Payload='{"do": "sleep", "s": 1}')
        request_id = reply["ResponseMetadata"]["RequestId"]
        until(lambda: f"START RequestId: {request_id}" in host.log_text())
        assert host.events_process is not None
        host.events_process.kill()
        host.events_process.wait()
        host.start_events()
        host.wait_until_events_are_ready()
        until(lambda: host.events()["totals"]["finished"] == 1)
        assert host.log_text().count(f"START RequestId: {request_id}") == 1


def test_a_trace_begins_at_the_host_and_names_the_function(client: Any) -> None:
    told = json.loads(client.invoke(FunctionName="echo")["Payload"].read())["trace_id"]
    pattern = r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=[0-9a-f]{8}:1"
    assert re.fullmatch(pattern, told)
    root_s = int(told.split("-")[1], 16)
    assert abs(root_s - time.time()) < DEADLINE_S


def test_a_client_context_of_the_largest_size_arrives_and_a_larger_one_is_refused(client: Any) -> None:
    largest = base64.b64encode(json.dumps({"custom": {"x": "y" * 2662}}).encode()).decode()
    assert len(largest) == 3580
    told = json.loads(client.invoke(FunctionName="echo", ClientContext=largest)["Payload"].read())
    assert len(told["client_context"]["x"]) == 2662
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName="echo", ClientContext=largest + "AAAA")
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_a_handler_reaches_other_functions_by_the_profile_and_says_nothing_of_where_they_are(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = dataclasses.replace(
        settings_of(APPS, front="calling_handlers:pass_on", echo="handlers:echo"),
        functions=FunctionsSection(timeout_s=DEADLINE_S, memory_mb=256),
        env={
            "AWS_PROFILE": "peaker",
            "AWS_CONFIG_FILE": str(state / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(state / "credentials"),
        },
    )
    with RunningHost(settings, state=state) as host:
        reply = client_of(host).invoke(FunctionName="front", Payload='{"name": "echo", "event": {"a": 1}}')
        told = json.loads(reply["Payload"].read())
    assert told["event"] == {"a": 1}
    assert re.search(r"Lineage=[0-9a-f]{8}:1\|[0-9a-f]{8}:1$", told["trace_id"])
