"""Functions with a runtime of their own on a whole function host, as boto3 sees them."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from provided_runtime import write_bootstrap

from peaker.errors import PeakerError
from peaker.settings import FunctionSection, FunctionsSection, Settings
from peaker.testing.hosts import RunningHost

CODE = """
    if os.environ["_HANDLER"] == "broken":
        error = {"errorType": "Runtime.NoSuchHandler", "errorMessage": "there is none"}
        ask("POST", "/init/error", json.dumps(error), {"lambda-runtime-function-error-type": "Runtime.NoSuchHandler"})
        sys.exit(1)
    def pieces():
        yield b"first "
        yield b"second"
    while True:
        request_id, event = take()
        if event == "stream":
            headers = {"lambda-runtime-function-response-mode": "streaming", "content-type": "text/x"}
            ask("POST", "/invocation/" + request_id + "/response", pieces(), headers)
            continue
        print("got", event, flush=True)
        if event == "hang": time.sleep(60)
        if event == "exit": sys.exit(9)
        answer(request_id, {"event": event, "pid": os.getpid()})
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    directory = tmp_path_factory.mktemp("provided")
    write_bootstrap(directory, CODE)
    settings = Settings(
        functions=FunctionsSection(timeout_s=10.0, memory_mb=128),
        function=(
            FunctionSection(name="echo", runtime="provided", handler="works"),
            FunctionSection(name="short", runtime="provided", command=[sys.executable, "bootstrap"], timeout_s=0.5),
            FunctionSection(name="broken", runtime="provided", handler="broken"),
        ),
        directory=str(directory),
    )
    with RunningHost(settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=host.url,
        region_name="us-east-1",
        aws_access_key_id=host.key.access_key_id,
        aws_secret_access_key=host.key.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


def invoke(client: Any, name: str, event: Any) -> tuple[str | None, Any]:
    reply = client.invoke(FunctionName=name, Payload=json.dumps(event))
    return reply.get("FunctionError"), json.loads(reply["Payload"].read())


def test_it_is_invoked_again_and_again_in_one_process(client: Any, host: RunningHost) -> None:
    answers = [invoke(client, "echo", n) for n in range(5)]
    assert [answer["event"] for _, answer in answers] == list(range(5))
    assert {error for error, _ in answers} == {None}
    assert len({answer["pid"] for _, answer in answers}) == 1
    assert host.function("echo")["totals"]["cold_starts"] == 1


def test_what_it_prints_and_a_report_are_in_its_log(client: Any) -> None:
    reply = client.invoke(FunctionName="echo", Payload='"printed"', LogType="Tail")
    tail = base64.b64decode(reply["LogResult"]).decode()
    assert "got printed\n" in tail
    assert f"REPORT RequestId: {reply['ResponseMetadata']['RequestId']}" in tail


def test_one_that_exits_or_hangs_is_replaced(client: Any) -> None:
    error, told = invoke(client, "echo", "exit")
    assert (error, told["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert told["errorMessage"].endswith("Error: Runtime exited with error: exit status 9")
    assert invoke(client, "echo", 1)[1]["event"] == 1
    error, told = invoke(client, "short", "hang")
    assert error == "Unhandled"
    assert "Task timed out after 0.5" in told["errorMessage"]
    assert invoke(client, "short", 2)[1]["event"] == 2


def test_one_that_cannot_start_answers_with_its_own_error(client: Any) -> None:
    for _ in range(2):
        told = invoke(client, "broken", {})
        assert told == ("Unhandled", {"errorType": "Runtime.NoSuchHandler", "errorMessage": "there is none"})


def test_a_host_whose_function_has_no_program_does_not_start(tmp_path: Path) -> None:
    settings = Settings(
        function=(FunctionSection(name="f", runtime="provided", command=["./none"]),), directory=str(tmp_path)
    )
    with pytest.raises(PeakerError, match=r"function f cannot be run: .*/none is not there"), RunningHost(settings):
        pytest.fail("it started")


def test_many_at_once_get_an_answer_each(client: Any) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: invoke(client, "echo", n), range(8)))
    assert sorted(answer["event"] for _, answer in answers) == list(range(8))


def test_a_response_it_streams_reaches_a_caller_that_streams_and_one_that_does_not(client: Any) -> None:
    answer = client.invoke_with_response_stream(FunctionName="echo", Payload='"stream"')
    assert answer["ResponseStreamContentType"] == "text/x"
    events = list(answer["EventStream"])
    answer["EventStream"].close()
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]) == b"first second"
    assert "ErrorCode" not in events[-1]["InvokeComplete"]
    whole = client.invoke(FunctionName="echo", Payload='"stream"')
    assert whole["Payload"].read() == b"first second"
