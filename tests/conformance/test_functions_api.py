"""What boto3 reads about functions, and what it is told about everything that is not answered here."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.config
import botocore.session
import pytest
from botocore.exceptions import ClientError

from peaker.settings import FunctionSection, FunctionsSection, Settings
from peaker.testing.hosts import RunningHost
from peaker.wire.functions_api import Operation, parse_read
from peaker.wire.lambda_errors import InvokeApiError

APPS = os.path.join(os.path.dirname(__file__), "..", "apps")  # noqa: PTH118, PTH120
NAMES = ("a", "a-b", "a1", "b")
EVENTS_OF_B: dict[str, Any] = {"retries_max": 0, "event_age_s_max": 90.0, "on_failure": "function:a"}
ACCOUNT = "arn:aws:lambda:eu-north-1:000000000000:function"


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    settings = Settings(
        env={"AWS_REGION": "eu-north-1", "DB_PASSWORD": "secret-value"},
        functions=FunctionsSection(timeout_s=1.5, memory_mb=128, concurrency_max=7),
        function=tuple(
            FunctionSection(name=name, handler="handlers:echo", **(EVENTS_OF_B if name == "b" else {}))
            for name in NAMES
        ),
        directory=APPS,
    )
    with RunningHost(settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=host.url,
        region_name="eu-central-1",
        aws_access_key_id=host.key.access_key_id,
        aws_secret_access_key=host.key.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_what_becomes_of_events_is_told_in_lambdas_words(client: Any) -> None:
    told = client.get_function_event_invoke_config(FunctionName="b")
    assert (told["MaximumRetryAttempts"], told["MaximumEventAgeInSeconds"]) == (0, 90)
    assert told["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": f"{ACCOUNT}:a"}}
    assert told["FunctionArn"] == f"{ACCOUNT}:b:$LATEST"
    (of_a,) = client.list_function_event_invoke_configs(FunctionName="a")["FunctionEventInvokeConfigs"]
    assert (of_a["MaximumRetryAttempts"], of_a["MaximumEventAgeInSeconds"]) == (2, 21_600)
    code, message = refused(client.put_function_event_invoke_config, FunctionName="a", MaximumRetryAttempts=1)
    assert code == "UnsupportedOperationException"
    assert "Set retries_max, event_age_s_max, on_success and on_failure" in message


def test_get_function_tells_what_the_settings_say(client: Any) -> None:
    found = client.get_function(FunctionName="a")
    told = found["Configuration"]
    assert (told["FunctionName"], told["FunctionArn"]) == ("a", f"{ACCOUNT}:a")
    assert (told["Handler"], told["MemorySize"], told["Timeout"]) == ("handlers.echo", 128, 2)
    assert (told["Version"], told["State"], told["PackageType"]) == ("$LATEST", "Active", "Zip")
    assert re.fullmatch(r"python3\.\d+", told["Runtime"])
    assert found["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    assert found["Code"]["Location"].startswith("file://")
    same = client.get_function_configuration(FunctionName="a")
    del same["ResponseMetadata"]
    assert same == told


def test_the_values_of_variables_are_not_told(client: Any) -> None:
    told = client.get_function_configuration(FunctionName="a")
    assert told["Environment"]["Error"]["ErrorCode"] == "AccessDeniedException"
    assert "secret-value" not in str(told)


def test_every_member_that_is_told_is_one_of_the_services_model(client: Any) -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    members = model.shape_for("FunctionConfiguration").members
    told = client.get_function_configuration(FunctionName="a")
    told.pop("ResponseMetadata")
    # botocore drops what its model does not know, so the members are compared with what was sent.
    assert set(told) <= set(members)
    assert {"FunctionArn", "CodeSha256", "Architectures", "LoggingConfig", "RevisionId", "SnapStart"} <= set(told)


@pytest.mark.parametrize("page_size", [1, 3, 50])
def test_pages_hold_every_function_once(client: Any, page_size: int) -> None:
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": page_size})
    assert sorted(one["FunctionName"] for page in pages for one in page["Functions"]) == sorted(NAMES)


def test_all_versions_are_latest_and_the_build_that_runs(client: Any) -> None:
    pages = list(
        client.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 3})
    )
    found = [(one["FunctionName"], one["Version"]) for page in pages for one in page["Functions"]]
    assert sorted(found) == sorted((name, version) for name in NAMES for version in ("$LATEST", "1"))
    versions = client.list_versions_by_function(FunctionName="a")["Versions"]
    assert [one["FunctionArn"] for one in versions] == [f"{ACCOUNT}:a:$LATEST", f"{ACCOUNT}:a:1"]
    assert versions[0]["CodeSha256"] == versions[1]["CodeSha256"]


def test_the_hash_of_the_build_is_an_alias_of_its_version(client: Any) -> None:
    (alias,) = client.list_aliases(FunctionName="a")["Aliases"]
    assert re.fullmatch(r"b[0-9a-f]{15}", alias["Name"])
    assert (alias["FunctionVersion"], alias["AliasArn"]) == ("1", f"{ACCOUNT}:a:{alias['Name']}")
    assert client.get_alias(FunctionName="a", Name=alias["Name"])["RevisionId"] == alias["RevisionId"]
    told = client.get_function_configuration(FunctionName="a", Qualifier=alias["Name"])
    assert (told["Version"], told["FunctionArn"]) == ("1", f"{ACCOUNT}:a:{alias['Name']}")
    code, message = refused(client.get_alias, FunctionName="a", Name="live")
    assert (code, message) == ("ResourceNotFoundException", f"Cannot find alias arn: {ACCOUNT}:a:live")


def test_limits_are_those_of_the_settings(client: Any) -> None:
    assert client.get_function_concurrency(FunctionName="a")["ReservedConcurrentExecutions"] == 7
    settings = client.get_account_settings()
    assert settings["AccountLimit"]["ConcurrentExecutions"] == 28
    assert settings["AccountUsage"]["FunctionCount"] == 4
    assert client.get_function_recursion_config(FunctionName="a")["RecursiveLoop"] == "Terminate"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", f"Function not found: {ACCOUNT}:absent"),
        ("a:9", f"Function not found: {ACCOUNT}:a:9"),
        ("a:live", f"Cannot find alias arn: {ACCOUNT}:a:live"),
    ],
)
def test_what_is_not_there_is_told_by_its_arn(client: Any, name: str, message: str) -> None:
    assert refused(client.get_function, FunctionName=name) == ("ResourceNotFoundException", message)


def test_a_waiter_of_boto3_finds_the_function_active(client: Any) -> None:
    client.get_waiter("function_active_v2").wait(FunctionName="b", WaiterConfig={"Delay": 1, "MaxAttempts": 1})


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/2015-03-31/functions/?MaxItems=0", "ValidationException"),
        ("/2015-03-31/functions/?MaxItems=10001", "ValidationException"),
        ("/2015-03-31/functions/?MaxItems=many", "ValidationException"),
        ("/2015-03-31/functions/?FunctionVersion=SOME", "ValidationException"),
        ("/2015-03-31/functions/no%20name", "ValidationException"),
        ("/", "UnknownOperationException"),
        ("/functions", "UnknownOperationException"),
        ("/2015-03-31/../../etc/passwd", "UnknownOperationException"),
    ],
)
def test_what_cannot_be_asked_is_refused(target: str, kind: str) -> None:
    with pytest.raises(InvokeApiError) as caught:
        parse_read("GET", target)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"Host": "evil.example"}, "AccessDeniedException"),
        ({"Origin": "http://evil.example"}, "AccessDeniedException"),
    ],
)
def test_reading_wants_a_signature_too(host: RunningHost, headers: dict[str, str], kind: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=10)
    connection.request("GET", "/2015-03-31/functions/", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-amzn-errortype")) == (403, kind)
    assert b"Functions" not in answer.read()
    connection.close()


def test_creating_a_function_says_where_functions_come_from(client: Any) -> None:
    code, message = refused(
        client.create_function, FunctionName="new", Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": b"x"}
    )
    assert code == "UnsupportedOperationException"
    assert "edit [[function]] and run `peaker reload`" in message


INVOCATIONS = {"Invoke", "InvokeWithResponseStream"}
MODEL = botocore.session.get_session().get_service_model("lambda")


@pytest.mark.parametrize("name", sorted(set(MODEL.operation_names) - INVOCATIONS))
def test_every_operation_of_the_services_model_is_read_or_told_what_to_do_instead(name: str) -> None:
    http = MODEL.operation_model(name).http
    target = re.sub(r"\{[^}]+\}", "thing", http["requestUri"])
    if name in {operation.value for operation in Operation}:
        assert parse_read(http["method"], target).operation.value == name
        return
    with pytest.raises(InvokeApiError) as caught:
        parse_read(http["method"], target)
    assert (caught.value.status, caught.value.kind) == (400, "UnsupportedOperationException")
    assert len(str(caught.value).split(" of this machine. ")[1]) > 20
