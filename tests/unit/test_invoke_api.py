"""Lambda's Invoke API: what is read, and what its answers mean."""

from __future__ import annotations

import json

import pytest

from peaker.errors import DeadlineExceeded, FunctionCrashed, InvocationRefused, Throttled
from peaker.wire.invoke_api import CLIENT_CONTEXT_BYTES_MAX, InvocationType, invoke_error, parse_call, result_headers
from peaker.wire.lambda_errors import (
    FUNCTION_CONCURRENCY,
    InvokeApiError,
    function_not_found,
    request_too_large,
    too_many_requests,
)

PATH = "/2015-03-31/functions/{}/invocations"


@pytest.mark.parametrize(
    ("written", "name", "qualifier"),
    [
        ("thumbnail", "thumbnail", ""),
        ("thumbnail:7", "thumbnail", "7"),
        ("thumbnail%3A%24LATEST", "thumbnail", "$LATEST"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:thumbnail", "thumbnail", ""),
        ("arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Athumbnail%3Alive", "thumbnail", "live"),
        ("123456789012:function:thumbnail", "thumbnail", ""),
        ("123456789012:function:thumbnail:b1c2", "thumbnail", "b1c2"),
        ("function:thumbnail", "thumbnail", ""),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:thumbnail:$LATEST", "thumbnail", "$LATEST"),
        ("app-web", "app-web", ""),
    ],
)
def test_a_function_may_be_named_in_every_way_lambda_takes(written: str, name: str, qualifier: str) -> None:
    call = parse_call("POST", PATH.format(written), {})
    assert (call.function, call.qualifier) == (name, qualifier)


def test_headers_and_query_are_read() -> None:
    call = parse_call(
        "POST",
        PATH.format("f") + "?Qualifier=%24LATEST",
        {
            "x-amz-invocation-type": "DryRun",
            "x-amz-log-type": "Tail",
            "x-amz-client-context": "e30=",
            "x-request-id": "abc-1",
            "traceparent": "00-1-2-01",
            "x-amzn-trace-id": "Root=1-2-3",
            "x-peaker-deadline-ms": "1500",
        },
    )
    assert (call.kind, call.log_tail, call.qualifier) == (InvocationType.DRY_RUN, True, "$LATEST")
    assert (call.client_context, call.request_id, call.deadline_s) == ("e30=", "abc-1", 1.5)
    assert (call.traceparent, call.trace_id) == ("00-1-2-01", "Root=1-2-3")


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 65, "ü", "a\nb", "<script>"])
def test_a_request_id_that_is_no_token_is_not_taken(request_id: str) -> None:
    assert parse_call("POST", PATH.format("f"), {"x-request-id": request_id}).request_id == ""


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "kind"),
    [
        ("POST", "/", {}, 404, "UnknownOperationException"),
        ("POST", "/2014-11-13/functions/f/invoke-async", {}, 404, "UnknownOperationException"),
        ("GET", PATH.format("f"), {}, 405, "MethodNotAllowedException"),
        ("POST", PATH.format("no%20name"), {}, 400, "ValidationException"),
        ("POST", PATH.format("x" * 141), {}, 400, "ValidationException"),
        ("POST", PATH.format("arn:aws:s3:::bucket"), {}, 400, "ValidationException"),
        ("POST", PATH.format("f") + "?Qualifier=no%20name", {}, 400, "ValidationException"),
        ("POST", PATH.format("f:1") + "?Qualifier=2", {}, 400, "InvalidParameterValueException"),
        ("POST", PATH.format("f"), {"x-amz-invocation-type": "Sometimes"}, 400, "ValidationException"),
        ("POST", PATH.format("f"), {"x-amz-log-type": "All"}, 400, "ValidationException"),
        ("POST", PATH.format("f"), {"x-amz-tenant-id": "blue"}, 400, "InvalidParameterValueException"),
        (
            "POST",
            PATH.format("f"),
            {"content-type": "multipart/form-data; boundary=x"},
            415,
            "UnsupportedMediaTypeException",
        ),
        ("POST", PATH.format("f"), {"content-type": "Text/XML"}, 415, "UnsupportedMediaTypeException"),
        ("POST", PATH.format("f"), {"content-encoding": "gzip"}, 415, "UnsupportedMediaTypeException"),
        (
            "POST",
            PATH.format("f"),
            {"x-amz-client-context": "x" * (CLIENT_CONTEXT_BYTES_MAX + 1)},
            400,
            "InvalidParameterValueException",
        ),
        ("POST", PATH.format("f"), {"x-peaker-deadline-ms": "-1"}, 400, "InvalidParameterValueException"),
        ("POST", PATH.format("f"), {"x-peaker-deadline-ms": "0"}, 400, "InvalidParameterValueException"),
        ("POST", PATH.format("f"), {"x-peaker-deadline-ms": "1e3"}, 400, "InvalidParameterValueException"),
    ],
)
def test_what_cannot_be_a_call_is_refused(
    method: str, path: str, headers: dict[str, str], status: int, kind: str
) -> None:
    with pytest.raises(InvokeApiError) as caught:
        parse_call(method, path, headers)
    assert (caught.value.status, caught.value.kind) == (status, kind)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/x-amz-json-1.1",
    ],
)
def test_types_that_sdks_and_curl_send_are_taken(content_type: str) -> None:
    headers = {"content-type": content_type, "x-amz-client-context": "x" * CLIENT_CONTEXT_BYTES_MAX}
    assert parse_call("POST", PATH.format("f"), headers if content_type else {}).function == "f"


def test_the_same_qualifier_may_be_given_twice() -> None:
    assert parse_call("POST", PATH.format("f:7") + "?Qualifier=7", {}).qualifier == "7"


def test_errors_have_lambdas_bodies() -> None:
    assert json.loads(function_not_found("arn:f").body()) == {"Type": "User", "Message": "Function not found: arn:f"}
    throttled = too_many_requests(FUNCTION_CONCURRENCY, "why", retry_after_s=1.2)
    assert json.loads(throttled.body()) == {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded. why",
    }
    assert dict(throttled.headers("r"))["retry-after"] == "2"
    assert (throttled.status, request_too_large().status) == (429, 413)


def test_the_log_tail_is_the_last_four_kilobytes() -> None:
    import base64

    headers = dict(result_headers("r", "", b"x" * 5000 + b"end"))
    assert len(base64.b64decode(headers["x-amz-log-result"])) == 4096
    assert base64.b64decode(headers["x-amz-log-result"]).endswith(b"end")
    assert "x-amz-log-result" not in dict(result_headers("r", "", None))


def _run_error(kind: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": "..."}).encode()


@pytest.mark.parametrize(
    ("status", "error_type", "body", "expected", "started"),
    [
        (429, "TooManyRequestsException", b"{}", Throttled, False),
        (502, "EC2ThrottledException", b"{}", Throttled, False),
        (404, "ResourceNotFoundException:http://x", b"{}", InvocationRefused, False),
        (413, "RequestTooLargeException", b"{}", InvocationRefused, False),
        (403, "AccessDeniedException", b"{}", InvocationRefused, False),
        (400, "InvalidRequestContentException", b"{}", InvocationRefused, False),
        (500, "ServiceException", b"{}", FunctionCrashed, None),
        (503, "", b"<html>", FunctionCrashed, None),
        (504, "", b"", FunctionCrashed, None),
    ],
)
def test_every_lambda_error_means_one_of_ours(
    status: int,
    error_type: str,
    body: bytes,
    expected: type,
    started: bool | None,  # noqa: FBT001
) -> None:
    error = invoke_error(status, {"x-amzn-errortype": error_type}, body)
    assert type(error) is expected
    assert error is not None
    assert error.started is started


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (_run_error("Sandbox.Timedout"), DeadlineExceeded),
        (_run_error("Runtime.ExitError"), FunctionCrashed),
        (_run_error("Runtime.OutOfMemory"), FunctionCrashed),
        (_run_error("ValueError"), type(None)),
        (b"not json", type(None)),
        (b"[1]", type(None)),
    ],
)
def test_a_failed_run_is_an_error_only_where_its_process_ended(body: bytes, expected: type) -> None:
    assert type(invoke_error(200, {"x-amz-function-error": "Unhandled"}, body)) is expected
    assert invoke_error(200, {}, body) is None
