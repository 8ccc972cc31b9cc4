"""The function host on real processes, as boto3 sees it and byte by byte."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest

from peaker.settings import FunctionSection, FunctionsSection, Settings
from peaker.testing.hosts import RunningHost
from peaker.wire.sigv4 import SigningKey, sign

DEADLINE_S = 15.0


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    settings = Settings(
        functions=FunctionsSection(timeout_s=1.0, memory_mb=128),
        function=(
            FunctionSection(name="echo", handler="handlers:echo", timeout_s=10.0),
            FunctionSection(name="bad", handler="handlers:misbehave"),
            FunctionSection(name="one", handler="handlers:misbehave", concurrency_max=1, timeout_s=5.0),
        ),
        directory=os.path.join(os.path.dirname(__file__), "..", "apps"),  # noqa: PTH118, PTH120
    )
    with RunningHost(settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Any:
    return client_of(host, host.key)


def client_of(host: RunningHost, key: SigningKey) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=host.url,
        region_name="eu-central-1",
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


def bad(client: Any, do: str, **event: Any) -> tuple[str | None, Any]:
    reply = client.invoke(FunctionName="bad", Payload=json.dumps({"do": do, **event}))
    return reply.get("FunctionError"), json.loads(reply["Payload"].read())


def raw(
    host: RunningHost, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=DEADLINE_S)
    connection.request(method, target, body, headers or {})
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def signed_raw(
    host: RunningHost, target: str, headers: dict[str, str] | None = None, body: bytes = b"{}", **changes: Any
) -> http.client.HTTPResponse:
    all_headers = {"Host": f"127.0.0.1:{host.port}", **(headers or {})}
    values: dict[str, Any] = {"region": "us-east-1", "epoch_s": time.time(), **changes}
    added = sign(
        values.pop("key", host.key), method="POST", target=target, headers=all_headers.items(), body=body, **values
    )
    return raw(host, "POST", target, {**all_headers, **dict(added)}, body)


INVOKE_ECHO = "/2015-03-31/functions/echo/invocations"


def test_boto3_gets_the_result_and_what_lambda_tells_beside_it(client: Any) -> None:
    context = base64.b64encode(json.dumps({"custom": {"tenant": "a"}}).encode()).decode()
    reply = client.invoke(FunctionName="echo", Payload=b'{"a": "\xc3\xbc"}', ClientContext=context)
    assert (reply["StatusCode"], reply["ExecutedVersion"], "FunctionError" in reply) == (200, "$LATEST", False)
    result = json.loads(reply["Payload"].read())
    assert result["event"] == {"a": "ü"}
    assert result["request_id"] == reply["ResponseMetadata"]["RequestId"]
    assert (result["function"], result["memory_mb"], result["client_context"]) == ("echo", "128", {"tenant": "a"})
    assert 9_000 < result["remaining_ms"] <= 10_000


def test_boto3_without_a_payload_sends_an_empty_event(client: Any) -> None:
    assert json.loads(client.invoke(FunctionName="echo")["Payload"].read())["event"] == {}


def test_dry_run_says_only_that_it_would_run(client: Any) -> None:
    reply = client.invoke(FunctionName="echo", InvocationType="DryRun")
    assert (reply["StatusCode"], reply["Payload"].read()) == (204, b"")


def test_a_log_tail_holds_start_output_end_and_report(client: Any) -> None:
    reply = client.invoke(FunctionName="bad", Payload='{"do": "print", "text": "hello log"}', LogType="Tail")
    request_id = reply["ResponseMetadata"]["RequestId"]
    lines = base64.b64decode(reply["LogResult"]).decode().splitlines()
    assert lines[:3] == [f"START RequestId: {request_id} Version: $LATEST", "hello log", f"END RequestId: {request_id}"]
    assert re.fullmatch(
        rf"REPORT RequestId: {request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB"
        r"\tMax Memory Used: \d+ MB(\tInit Duration: \d+\.\d\d ms)?",
        lines[3],
    )


@pytest.mark.parametrize(
    ("call", "name", "status"),
    [
        ({"FunctionName": "absent"}, "ResourceNotFoundException", 404),
        ({"FunctionName": "echo", "Qualifier": "7"}, "ResourceNotFoundException", 404),
        ({"FunctionName": "echo", "Payload": b"{not json"}, "InvalidRequestContentException", 400),
        ({"FunctionName": "echo", "Payload": b'{"a": NaN}'}, "InvalidRequestContentException", 400),
        ({"FunctionName": "echo", "Payload": b"[" * 100_000}, "InvalidRequestContentException", 400),
        ({"FunctionName": "echo", "Payload": b"\xff"}, "InvalidRequestContentException", 400),
        ({"FunctionName": "echo", "ClientContext": "no base64"}, "InvalidRequestContentException", 400),
        (
            {"FunctionName": "echo", "InvocationType": "Event", "Payload": b'"' + b"x" * 1_048_576 + b'"'},
            "RequestEntityTooLargeException",
            413,
        ),
        ({"FunctionName": "echo", "Payload": b'"' + b"x" * 6_291_455 + b'"'}, "RequestTooLargeException", 413),
    ],
)
def test_boto3_meets_lambdas_own_errors(client: Any, call: dict[str, Any], name: str, status: int) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.invoke(**call)
    assert caught.value.response["Error"]["Code"] == name
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["RequestId"]


def test_the_largest_payload_passes_both_ways(client: Any) -> None:
    payload = b'"' + b"x" * (6_291_456 - 2) + b'"'
    reply = client.invoke(FunctionName="bad", Payload=b'{"do": "large", "bytes": %d}' % (6_291_556 - 2))
    assert len(reply["Payload"].read()) == 6_291_556
    result = json.loads(client.invoke(FunctionName="echo", Payload=payload)["Payload"].read())
    assert result["errorType"] == "Function.ResponseSizeTooLarge"  # It came in; with more beside it, it is too large.


def test_a_result_over_six_megabytes_is_lambdas_error(client: Any) -> None:
    error, told = bad(client, "large", bytes=6_291_556)
    assert (error, told["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert "Response payload size exceeded maximum allowed payload size (6291556 bytes)." in told["errorMessage"]


def test_an_exception_of_the_handler_is_told_with_its_trace(client: Any) -> None:
    error, told = bad(client, "raise", text="no such seat")
    assert (error, told["errorType"], told["errorMessage"]) == ("Unhandled", "ValueError", "no such seat")
    assert any("handlers.py" in line for line in told["stackTrace"])


@pytest.mark.parametrize(
    ("do", "error_type", "message"),
    [
        ("exit at once", "Runtime.ExitError", "Runtime exited with error: exit status 1"),
        ("crash", "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        ("eat", "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"),
        ("hang", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ],
)
def test_a_run_that_ends_with_its_process_is_told_in_lambdas_words(
    client: Any, do: str, error_type: str, message: str
) -> None:
    reply = client.invoke(FunctionName="bad", Payload=json.dumps({"do": do}), LogType="Tail")
    request_id = reply["ResponseMetadata"]["RequestId"]
    told = json.loads(reply["Payload"].read())
    assert (reply["FunctionError"], told["errorType"]) == ("Unhandled", error_type)
    assert told["errorMessage"] == f"RequestId: {request_id} Error: {message}"
    log = base64.b64decode(reply["LogResult"]).decode()
    assert message in log
    assert "\tStatus: " + ("timeout" if do == "hang" else "error") in log.splitlines()[-1]
    assert bad(client, "print", text="well again") == (None, "printed")


def test_misbehaviour_harms_only_its_own_invocation(client: Any) -> None:
    assert bad(client, "flood", lines=2000) == (None, "flooded")
    assert bad(client, "unencodable")[1]["errorType"] == "Runtime.MarshalError"
    assert bad(client, "print", text="\x00\x1b[31m") == (None, "printed")
    assert json.loads(client.invoke(FunctionName="echo", Payload="{}")["Payload"].read())["event"] == {}


def test_above_concurrency_max_boto3_is_throttled(host: RunningHost, client: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(client.invoke, FunctionName="one", Payload='{"do": "sleep", "s": 1.0}')
        deadline_s = time.monotonic() + DEADLINE_S
        while not host.function("one")["instances"]["busy"]:
            assert time.monotonic() < deadline_s
        with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
            client.invoke(FunctionName="one", Payload='{"do": "sleep", "s": 0}')
        assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
        assert running.result()["Payload"].read() == b'"slept"'


def test_the_answer_has_the_documented_shape(host: RunningHost) -> None:
    answer = signed_raw(host, INVOKE_ECHO, {"X-Amz-Invocation-Type": "RequestResponse", "X-Request-Id": "caller-1"})
    assert (answer.status, answer.getheader("content-type")) == (200, "application/json")
    assert answer.getheader("x-amz-executed-version") == "$LATEST"
    assert answer.getheader("x-amzn-requestid") == "caller-1"
    assert answer.getheader("x-amz-function-error") is None
    error = signed_raw(host, "/2015-03-31/functions/absent/invocations")
    assert (error.status, error.getheader("x-amzn-errortype")) == (404, "ResourceNotFoundException")
    assert json.loads(error.body) == {  # type: ignore[attr-defined]
        "Type": "User",
        "Message": "Function not found: arn:aws:lambda:us-east-1:000000000000:function:absent",
    }


def test_the_callers_request_id_and_trace_reach_function_and_log(host: RunningHost) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = signed_raw(
        host, INVOKE_ECHO, {"X-Request-Id": "req-77", "Traceparent": trace, "X-Amzn-Trace-Id": "Root=1-a-b"}
    )
    result = json.loads(answer.body)  # type: ignore[attr-defined]
    assert (result["request_id"], result["traceparent"]) == ("req-77", trace)
    assert re.fullmatch(r"Root=1-a-b;Lineage=[0-9a-f]{8}:1", result["trace_id"])
    deadline_s = time.monotonic() + DEADLINE_S
    while "REPORT RequestId: req-77" not in host.log_text():
        assert time.monotonic() < deadline_s
    assert re.search(r"^\S+Z echo req-77 START RequestId: req-77 Version: \$LATEST$", host.log_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer x"}, "IncompleteSignatureException"),
        ({"Origin": "http://evil.example"}, "AccessDeniedException"),
        ({"Host": "evil.example"}, "AccessDeniedException"),
    ],
)
def test_an_unsigned_or_foreign_call_is_refused(host: RunningHost, headers: dict[str, str], kind: str) -> None:
    answer = raw(host, "POST", INVOKE_ECHO, headers, b"{}")
    assert (answer.status, answer.getheader("x-amzn-errortype")) == (403, kind)


def test_a_foreign_origin_is_refused_though_it_is_signed(host: RunningHost) -> None:
    answer = signed_raw(host, INVOKE_ECHO, {"Origin": "http://localhost:3000"})
    assert (answer.status, answer.getheader("x-amzn-errortype")) == (403, "AccessDeniedException")


def test_wrong_keys_and_old_signatures_are_refused(host: RunningHost) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="UnrecognizedClientException"):
        client_of(host, SigningKey("AKIAOTHER", "secret")).invoke(FunctionName="echo")
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidSignatureException"):
        client_of(host, SigningKey(host.key.access_key_id, "guessed")).invoke(FunctionName="echo")
    answer = signed_raw(host, INVOKE_ECHO, epoch_s=time.time() - 3600)
    assert (answer.status, answer.getheader("x-amzn-errortype")) == (403, "InvalidSignatureException")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: nine\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 6291457\r\n\r\n", 413),
    ],
)
def test_what_is_no_request_is_answered_and_the_host_goes_on(host: RunningHost, sent: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", host.port), timeout=DEADLINE_S) as connection:
        connection.sendall(sent)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 %d " % status)
    assert signed_raw(host, INVOKE_ECHO).status == 200


def test_the_unix_socket_needs_no_signature_and_is_private(host: RunningHost) -> None:
    assert stat.S_IMODE(host.state.invoke_socket.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(host.state.invoke_socket))
        connection.sendall(
            b"POST " + INVOKE_ECHO.encode() + b' HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n{"a":1}'
        )
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["event"] == {"a": 1}
