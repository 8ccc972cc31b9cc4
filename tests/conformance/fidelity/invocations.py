"""The Invoke operation itself: what it takes, what it refuses, how many run at once."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

from fidelity.registry import Endpoint, behaviour, invoke, refused, result
from fidelity.sources import ASYNC, CONCURRENCY, EXECUTION, INVOKE, SYNC

AREA = "Invocations"


@behaviour(AREA, "`X-Amz-Executed-Version` is `$LATEST` for an unqualified call.", source=INVOKE)
def executed_version(endpoint: Endpoint) -> None:
    assert invoke(endpoint, do="echo").version == "$LATEST"


@behaviour(AREA, "Every answer has an `x-amzn-RequestId`, another for each.", source=SYNC)
def request_ids(endpoint: Endpoint) -> None:
    found = {invoke(endpoint, do="echo").request_id for _ in range(3)}
    assert len(found) == 3
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one) for one in found), found


@behaviour(AREA, "`Qualifier: $LATEST` is the same as none.", source=INVOKE)
def qualifier_latest(endpoint: Endpoint) -> None:
    assert result(endpoint, do="echo", value=1, Qualifier="$LATEST") == 1


@behaviour(AREA, "A `DryRun` is answered 204 without a body, and runs nothing.", source=INVOKE)
def dry_run(endpoint: Endpoint) -> None:
    before = result(endpoint, do="who")
    reply = endpoint.call("deeds", InvocationType="DryRun")
    assert (reply["StatusCode"], reply["Payload"].read()) == (204, b"")
    after = result(endpoint, do="who")
    assert after["calls"] == before["calls"] + 1


@behaviour(AREA, "An `Event` is answered 202 with an empty body, and runs later.", source=ASYNC)
def event_type(endpoint: Endpoint) -> None:
    def calls() -> int:
        return int(json.loads(endpoint.call("object", Payload=b"{}")["Payload"].read())["calls"])

    before = calls()
    reply = endpoint.call("object", InvocationType="Event", Payload=b"{}")
    assert (reply["StatusCode"], reply["Payload"].read()) == (202, b"")
    deadline_s = time.monotonic() + 10
    own = 1
    while calls() <= before + own:
        own += 1
        assert time.monotonic() < deadline_s, "it did not run"


@behaviour(AREA, "A function that is not there is 404 `ResourceNotFoundException`.", source=INVOKE)
def unknown_function(endpoint: Endpoint) -> None:
    refused(endpoint, "ResourceNotFoundException", 404, function="no-such-function", Payload=b"{}")


@behaviour(AREA, "A version that is not there is 404 `ResourceNotFoundException`.", source=INVOKE)
def unknown_version(endpoint: Endpoint) -> None:
    refused(endpoint, "ResourceNotFoundException", 404, Qualifier="4711", Payload=b"{}")


@behaviour(AREA, "A payload that is not JSON is 400 `InvalidRequestContentException`.", source=INVOKE)
def payload_is_not_json(endpoint: Endpoint) -> None:
    refused(endpoint, "InvalidRequestContentException", 400, Payload=b"{not json")


@behaviour(AREA, "A body that is not UTF-8 is 400 `InvalidRequestContentException`.", source=INVOKE)
def payload_is_not_utf_8(endpoint: Endpoint) -> None:
    refused(endpoint, "InvalidRequestContentException", 400, Payload=b'"\xff"')


@behaviour(AREA, "An invocation type that is none is refused with 400.", source=INVOKE)
def unknown_invocation_type(endpoint: Endpoint) -> None:
    status, headers, _ = endpoint.raw("deeds", {"X-Amz-Invocation-Type": "Later"}, b"{}")
    assert status == 400, status
    assert headers.get("x-amzn-errortype", "").partition(":")[0] in (
        "InvalidParameterValueException",
        "ValidationException",
    )


@behaviour(AREA, "A client context that is not base64 is refused with 400.", source=INVOKE)
def wrong_client_context(endpoint: Endpoint) -> None:
    status, _, _ = endpoint.raw("deeds", {"X-Amz-Client-Context": "no base64!"}, b"{}")
    assert status == 400, status


@behaviour(AREA, "A call without a signature is 403.", source=INVOKE)
def unsigned_call(endpoint: Endpoint) -> None:
    status, _, _ = endpoint.raw("deeds", {}, b"{}", signed=False)
    assert status == 403, status


@behaviour(AREA, "Two at once run in two instances.", source=EXECUTION)
def one_invocation_an_instance(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(2) as threads:
        sleeping = threads.submit(result, endpoint, do="remaining", s=0.5)
        time.sleep(0.1)  # let the first one be there; if it is not yet, both still run at once
        started_s = time.monotonic()
        result(endpoint, do="who")
        took_s = time.monotonic() - started_s
        done = sleeping.done()
        sleeping.result()
    assert not done or took_s < 0.5, "the second waited for the first"


@behaviour(AREA, "Above its reserved concurrency a function is 429 `TooManyRequestsException`.", source=CONCURRENCY)
def throttled(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(1) as threads:
        sleeping = threads.submit(invoke, endpoint, "single", do="remaining", s=1.0)
        time.sleep(0.4)  # the first must be running; a cold start takes part of it
        error = refused(endpoint, "TooManyRequestsException", 429, function="single", Payload=b"{}")
        sleeping.result()
    assert error.get("Reason") == "ReservedFunctionConcurrentInvocationLimitExceeded", error


@behaviour(AREA, "A payload that is larger than the quota is refused before anything runs.", source=SYNC)
def too_large_runs_nothing(endpoint: Endpoint) -> None:
    before = result(endpoint, do="who")["calls"]
    payload = b'{"do": "echo", "x": "' + b"x" * 6_291_456 + b'"}'
    refused(endpoint, "RequestTooLargeException", 413, Payload=payload)
    assert result(endpoint, do="who")["calls"] == before + 1


@behaviour(AREA, "An instance is used again for the next invocation.", source=EXECUTION)
def warm_start(endpoint: Endpoint) -> None:
    first, second = (result(endpoint, do="who") for _ in range(2))
    assert first["pid"] == second["pid"]
    assert second["calls"] == first["calls"] + 1
