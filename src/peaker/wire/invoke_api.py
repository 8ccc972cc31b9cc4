"""Lambda's Invoke API, as the function host reads and writes it and as the gate reads its errors.

Source: AWS Lambda API Reference, "Invoke"; bodies of failed runs as the Lambda service writes them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs, unquote

from peaker.errors import (
    DeadlineExceeded,
    FunctionCrashed,
    InvocationRefused,
    InvokeError,
    PeakerError,
    Throttled,
)

PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
"""Request and response payload of a synchronous invocation."""

LOG_TAIL_BYTES = 4096
LATEST = "$LATEST"

_PATH = re.compile(r"/2015-03-31/functions/([^/?]+)/invocations/?")
_FUNCTION = re.compile(
    r"(?:arn:(?:aws[a-z-]*):lambda:[a-z0-9-]+:\d{12}:function:|\d{12}:function:)?([a-zA-Z0-9_-]{1,140})(?::([a-zA-Z0-9$_-]{1,128}))?"
)
_REQUEST_ID = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


class InvocationType(Enum):
    """Answer with the result, put in a queue, or only say whether it would run."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeCall:
    """One call of the Invoke API, without its payload.

    `deadline_s` is how long the caller will wait, None where it does not say; `request_id` is "" unless the caller
    sent one that is a token of at most 64 characters.
    """

    function: str
    qualifier: str = ""
    kind: InvocationType = InvocationType.REQUEST_RESPONSE
    log_tail: bool = False
    client_context: str = ""
    trace_id: str = ""
    request_id: str = ""
    traceparent: str = ""
    deadline_s: float | None = None


class InvokeApiError(PeakerError):
    """An answer of the Invoke API other than a result: AWS's name, status and body."""

    def __init__(self, status: int, kind: str, message: str, **fields: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.fields = fields

    def body(self) -> bytes:
        """The JSON body of the answer."""
        return json.dumps({**self.fields, "message": self.what}).encode()


def parse_call(method: str, target: str, headers: Mapping[str, str]) -> InvokeCall:
    """Read request line and headers (names in lower case).

    Raises:
        InvokeApiError: the path is not of this API, or a parameter has a value that it cannot have.
    """
    path, _, query = target.partition("?")
    found = _PATH.fullmatch(path)
    if found is None:
        raise InvokeApiError(404, "UnknownOperationException", f"No operation at {path[:200]}.")
    if method != "POST":
        raise InvokeApiError(405, "MethodNotAllowedException", f"{method} is not allowed here; allowed: POST.")
    named = _FUNCTION.fullmatch(unquote(found[1]))
    if named is None:
        raise _invalid("functionName", unquote(found[1]), "a function's name, or its ARN")
    log_type = headers.get("x-amz-log-type", "None")
    if log_type not in ("None", "Tail"):
        raise _invalid("logType", log_type, "None, Tail")
    request_id = headers.get("x-request-id", "")
    return InvokeCall(
        function=named[1],
        qualifier=named[2] or (parse_qs(query).get("Qualifier", [""])[0] if query else ""),
        kind=_kind(headers.get("x-amz-invocation-type", "RequestResponse")),
        log_tail=log_type == "Tail",
        client_context=headers.get("x-amz-client-context", ""),
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else "",
        traceparent=headers.get("traceparent", ""),
        trace_id=headers.get("x-amzn-trace-id", ""),
        deadline_s=_deadline_s(headers.get("x-peaker-deadline-ms")),
    )


def _kind(value: str) -> InvocationType:
    try:
        return InvocationType(value)
    except ValueError:
        raise _invalid("invocationType", value, "Event, RequestResponse, DryRun") from None


def _deadline_s(value: str | None) -> float | None:
    if value is None:
        return None
    if not re.fullmatch(r"\d{1,9}", value) or int(value) == 0:
        raise _invalid("x-peaker-deadline-ms", value, "whole milliseconds from 1 to 999999999")
    return int(value) / 1000


def _invalid(name: str, value: str, allowed: str) -> InvokeApiError:
    return InvokeApiError(
        400,
        "InvalidParameterValueException",
        f"{name} = {value[:200]!r} is not allowed; allowed: {allowed}.",
        Type="User",
    )


def function_not_found(name: str) -> InvokeApiError:
    """No function of this name, or no such version of it."""
    return InvokeApiError(404, "ResourceNotFoundException", f"Function not found: {name}", Type="User")


def too_many_requests(why: str) -> InvokeApiError:
    """No instance for it, now or in time; it was not started."""
    reason = "ConcurrentInvocationLimitExceeded"
    return InvokeApiError(429, "TooManyRequestsException", f"Rate Exceeded. {why}", Reason=reason, Type="User")


def request_too_large(limit_bytes: int = PAYLOAD_BYTES_MAX) -> InvokeApiError:
    """Over the payload limit."""
    return InvokeApiError(
        413,
        "RequestTooLargeException",
        f"Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation",
        Type="User",
    )


def invalid_content(reason: str) -> InvokeApiError:
    """The payload is not JSON."""
    return InvokeApiError(
        400, "InvalidRequestContentException", f"Could not parse request body into json: {reason}", Type="User"
    )


def events_not_taken() -> InvokeApiError:
    """There is no queue that would keep an event."""
    return InvokeApiError(
        400,
        "InvalidParameterValueException",
        "InvocationType = 'Event' is not yet taken by this host; allowed: RequestResponse, DryRun.",
        Type="User",
    )


def service_error(message: str) -> InvokeApiError:
    """The host could not run the function, through no fault of the caller's."""
    return InvokeApiError(500, "ServiceException", message, Type="Service")


def refused(kind: str, message: str) -> InvokeApiError:
    """Who calls may not."""
    return InvokeApiError(403, kind, message)


def error_headers(error: InvokeApiError, request_id: str) -> list[tuple[str, str]]:
    """Headers of an error's answer."""
    return [
        ("content-type", "application/json"),
        ("x-amzn-requestid", request_id),
        ("x-amzn-errortype", error.kind),
    ]


def result_headers(request_id: str, function_error: str, log: bytes | None) -> list[tuple[str, str]]:
    """Headers of a result's answer; `log` is what the run wrote, of which the last 4 KB are sent."""
    headers = [
        ("content-type", "application/json"),
        ("x-amzn-requestid", request_id),
        ("x-amz-executed-version", LATEST),
    ]
    if function_error:
        headers.append(("x-amz-function-error", function_error))
    if log is not None:
        headers.append(("x-amz-log-result", base64.b64encode(log[-LOG_TAIL_BYTES:]).decode()))
    return headers


def start_failed(request_id: str, kind: str, message: str) -> bytes:
    """The payload of a run whose instance did not get ready; `kind` is `Runtime.ImportModuleError` or another."""
    return _failure(kind, f"RequestId: {request_id} Error: {message}")


def _failure(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}, separators=(",", ":")).encode()


_NOT_STARTED_THROTTLED = frozenset({"TooManyRequestsException", "ThrottlingException", "EC2ThrottledException"})
_EFFECT_UNKNOWN_STATUSES = range(500, 600)
_TIMED_OUT = frozenset({"Sandbox.Timedout"})
_CRASHED = frozenset({"Runtime.ExitError", "Runtime.OutOfMemory"})


def invoke_error(status: int, headers: Mapping[str, str], body: bytes) -> InvokeError | None:
    """What an answer of the Invoke API means to who sent the call; None where the function returned.

    The one table from Lambda's errors to ours. A handler's own exception is a return: its payload tells the rest.
    """
    if 200 <= status < 300:
        return _run_error(body) if headers.get("x-amz-function-error") else None
    kind = headers.get("x-amzn-errortype", "").partition(":")[0]
    what = f"{kind or 'HTTP'} {status}: {body[:300].decode('utf-8', 'replace')}"
    if status == 429 or kind in _NOT_STARTED_THROTTLED:
        return Throttled(what)
    if status in _EFFECT_UNKNOWN_STATUSES:
        return FunctionCrashed(what)
    return InvocationRefused(what)


def _run_error(body: bytes) -> InvokeError | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    kind = document.get("errorType") if isinstance(document, dict) else None
    message = str(document.get("errorMessage", "")) if isinstance(document, dict) else ""
    if kind in _TIMED_OUT:
        return DeadlineExceeded(message)
    return FunctionCrashed(message) if kind in _CRASHED else None
