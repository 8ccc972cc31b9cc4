"""The words, limits and headers of the Invoke API: what a client that looks closely sees."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

from fidelity.registry import Endpoint, behaviour, invoke, refused, result
from fidelity.sources import API, ASYNC, CONCURRENCY, INVOKE, QUOTAS

AREA = "Names, limits and errors of the API"
TOO_MANY = API + "API_Invoke.html#API_Invoke_Errors"
RECURSION = "https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"


@behaviour(AREA, "A function may be named by its partial ARN, `ACCOUNT:function:NAME`.", source=INVOKE)
def partial_arn(endpoint: Endpoint) -> None:
    arn = result(endpoint, do="context")["invoked_function_arn"]
    account = arn.split(":")[4]
    assert invoke(endpoint, f"{account}:function:deeds", do="echo", value=1).value == 1


@behaviour(AREA, "A function may be named by its whole ARN.", source=INVOKE)
def whole_arn(endpoint: Endpoint) -> None:
    arn = result(endpoint, do="context")["invoked_function_arn"]
    assert invoke(endpoint, arn, do="echo", value=1).value == 1


@behaviour(AREA, "A qualifier may stand behind the name: `NAME:$LATEST`.", source=INVOKE)
def qualifier_behind_the_name(endpoint: Endpoint) -> None:
    assert invoke(endpoint, "deeds:$LATEST", do="echo", value=1).value == 1


@behaviour(AREA, "`invoked_function_arn` ends in the qualifier that was called.", source=INVOKE)
def arn_with_qualifier(endpoint: Endpoint) -> None:
    arn = result(endpoint, do="context", Qualifier="$LATEST")["invoked_function_arn"]
    assert arn.endswith(":function:deeds:$LATEST"), arn


@behaviour(AREA, "Two qualifiers that differ are 400 `InvalidParameterValueException`.", source=INVOKE)
def two_qualifiers(endpoint: Endpoint) -> None:
    refused(endpoint, "InvalidParameterValueException", 400, function="deeds:1", Qualifier="$LATEST", Payload=b"{}")


@behaviour(AREA, "The message of a 404 has the whole ARN of what was not found.", source=INVOKE)
def not_found_by_arn(endpoint: Endpoint) -> None:
    error = refused(endpoint, "ResourceNotFoundException", 404, function="no-such-function", Payload=b"{}")
    message = error["Error"]["Message"]
    assert re.fullmatch(r"Function not found: arn:aws:lambda:[a-z0-9-]+:\d{12}:function:no-such-function", message)


@behaviour(AREA, "An alias that is not there is 404 and named as an alias.", source=INVOKE)
def unknown_alias(endpoint: Endpoint) -> None:
    error = refused(endpoint, "ResourceNotFoundException", 404, Qualifier="no-such-alias", Payload=b"{}")
    assert error["Error"]["Message"].startswith("Cannot find alias arn: "), error["Error"]


@behaviour(AREA, "An error has its name in `x-amzn-ErrorType` and `Type` in its body.", source=INVOKE)
def shape_of_an_error(endpoint: Endpoint) -> None:
    status, headers, body = endpoint.raw("no-such-function", {}, b"{}")
    assert (status, headers["x-amzn-errortype"].partition(":")[0]) == (404, "ResourceNotFoundException")
    assert json.loads(body)["Type"] == "User"


@behaviour(AREA, "Text that follows the JSON is 400 `InvalidRequestContentException`.", source=INVOKE)
def more_than_one_value(endpoint: Endpoint) -> None:
    refused(endpoint, "InvalidRequestContentException", 400, Payload=b'{"do": "echo"} and more')


@behaviour(AREA, "NaN, which is no JSON, is 400 `InvalidRequestContentException`.", source=INVOKE)
def payload_with_nan(endpoint: Endpoint) -> None:
    refused(endpoint, "InvalidRequestContentException", 400, Payload=b'{"do": "echo", "value": NaN}')


@behaviour(AREA, "A client context that is base64 of no JSON is refused with 400.", source=INVOKE)
def client_context_is_not_json(endpoint: Endpoint) -> None:
    status, _, _ = endpoint.raw("deeds", {"X-Amz-Client-Context": base64.b64encode(b"{no").decode()}, b"{}")
    assert status == 400, status


@behaviour(AREA, "A client context of more than 3,583 bytes is refused with 400.", source=INVOKE)
def client_context_too_large(endpoint: Endpoint) -> None:
    large = base64.b64encode(json.dumps({"custom": {"x": "y" * 2700}}).encode()).decode()
    status, _, _ = endpoint.raw("deeds", {"X-Amz-Client-Context": large}, b"{}")
    assert status == 400, status


@behaviour(AREA, "An event of 1 MB is taken.", source=QUOTAS)
def event_of_one_megabyte(endpoint: Endpoint) -> None:
    payload = b'{"x": "' + b"x" * (1_048_576 - 9) + b'"}'
    assert len(payload) == 1_048_576
    assert endpoint.call("object", InvocationType="Event", Payload=payload)["StatusCode"] == 202


@behaviour(AREA, "A larger event is 413 `RequestEntityTooLargeException`.", source=QUOTAS)
def event_over_one_megabyte(endpoint: Endpoint) -> None:
    payload = b'{"x": "' + b"x" * (1_048_576 - 8) + b'"}'
    refused(endpoint, "RequestEntityTooLargeException", 413, InvocationType="Event", Payload=payload)


@behaviour(AREA, "An event for a function that is not there is refused, not taken.", source=ASYNC)
def event_for_nobody(endpoint: Endpoint) -> None:
    refused(
        endpoint, "ResourceNotFoundException", 404, function="no-such-function", InvocationType="Event", Payload=b"{}"
    )


@behaviour(AREA, "An event that is not JSON is refused, not taken.", source=ASYNC)
def event_is_not_json(endpoint: Endpoint) -> None:
    refused(endpoint, "InvalidRequestContentException", 400, InvocationType="Event", Payload=b"{no")


@behaviour(AREA, "The answer to an event has no version, error or log, whatever was asked for.", source=INVOKE)
def answer_to_an_event(endpoint: Endpoint) -> None:
    reply = endpoint.call("object", InvocationType="Event", LogType="Tail", Payload=b"{}")
    assert not {"ExecutedVersion", "FunctionError", "LogResult"} & set(reply), set(reply)


@behaviour(AREA, "A throttled call is told when to come again: `Retry-After`.", source=TOO_MANY)
def retry_after(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(endpoint.raw, "single", {}, b'{"do": "remaining", "s": 0.7}') for _ in range(4)]
        answers = [call.result() for call in calls]
    throttled = [headers for status, headers, _ in answers if status == 429]
    assert throttled, [status for status, _, _ in answers]
    assert all(headers.get("retry-after", "").isdigit() for headers in throttled), throttled


@behaviour(AREA, "The words of a throttle begin with `Rate Exceeded.`", source=CONCURRENCY)
def words_of_a_throttle(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(endpoint.raw, "single", {}, b'{"do": "remaining", "s": 0.7}') for _ in range(4)]
        bodies = [json.loads(body) for status, _, body in (call.result() for call in calls) if status == 429]
    assert bodies
    assert all(body["message"].startswith("Rate Exceeded.") for body in bodies), bodies


@behaviour(AREA, "The trace of a run has a Lineage, by which recursive loops are found.", source=RECURSION)
def lineage_in_the_trace(endpoint: Endpoint) -> None:
    trace = result(endpoint, do="environment")["_X_AMZN_TRACE_ID"]
    assert "Lineage=" in trace, trace


@behaviour(AREA, "A chain of calls that comes back to a function for the 17th time is stopped.", source=RECURSION)
def recursion(endpoint: Endpoint) -> None:
    trace, runs = result(endpoint, do="environment")["_X_AMZN_TRACE_ID"], 1
    while True:
        event = json.dumps({"do": "environment"}).encode()
        status, headers, body = endpoint.raw("deeds", {"X-Amzn-Trace-Id": trace}, event)
        if status != 200 or runs > 16:
            break
        trace, runs = json.loads(body)["_X_AMZN_TRACE_ID"], runs + 1
    assert (status, runs) == (400, 16), (status, runs)
    assert headers["x-amzn-errortype"].partition(":")[0] == "RecursiveInvocationException"
