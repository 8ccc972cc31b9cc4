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
from functools import lru_cache
from urllib.parse import parse_qs, unquote

from peaker.errors import (
    DeadlineExceeded,
    FunctionCrashed,
    InvocationRefused,
    InvokeError,
    Throttled,
)
from peaker.wire.function_names import LATEST, Named, parse_name
from peaker.wire.lambda_errors import InvokeApiError, invalid_parameter, not_json, violated

LOG_TAIL_BYTES = 4096

BILLED_HEADER = "x-peaker-billed-ms"
"""What the function host tells a gate, so that both count the same; Lambda has no such header."""

CALLER_HEADER = "x-peaker-caller"
"""On the host's own socket: `direct` for `peaker invoke`, `event` for the events process; without it, a gate."""

EVENT_RUN_HEADER = "x-peaker-event-run"
"""On the host's own socket, for an event: how many of its runs are known to have failed, and `;again` where nobody
knows what became of another."""

CLIENT_CONTEXT_BYTES_MAX = 3583
"""Of X-Amz-Client-Context as it is sent, in base64 (API Reference, "Invoke", ClientContext)."""

UNKNOWN_OPERATION = "UnknownOperationException"

_PATH = re.compile(r"/2015-03-31/functions/([^/?]+)/invocations/?")
_STREAMING_PATH = re.compile(r"/2021-11-15/functions/([^/?]+)/response-streaming-invocations/?")
_REQUEST_ID = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_NO_JSON = re.compile(r"(multipart|image|audio|video|font)/.*|(application|text)/(xml|html|zip|gzip|pdf|csv)")
"""Types that name another format. Others are taken: SDKs send none or octet-stream, curl the type of a form."""


class InvocationType(Enum):
    """Answer with the result, put in a queue, or only say whether it would run."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


@dataclass(slots=True, kw_only=True)  # not frozen: that costs a call for each field of each invocation
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
    event_run: str = ""
    """What EVENT_RUN_HEADER says."""
    is_streaming: bool = False
    """The response is wanted as it comes (InvokeWithResponseStream)."""


def parse_call(method: str, target: str, headers: Mapping[str, str]) -> InvokeCall:
    """Read request line and headers (names in lower case).

    Raises:
        InvokeApiError: the path is not of this API, or a parameter has a value that it cannot have.
    """
    named, is_streaming = _parse_target(target)
    if method != "POST":
        raise InvokeApiError(405, "MethodNotAllowedException", f"{method} is not allowed here; allowed: POST.")
    _check_content(headers)
    if "x-amz-tenant-id" in headers:
        # An instance serves whoever comes, so a promise to keep tenants apart could not be held.
        raise invalid_parameter("The invoked function is not enabled with tenancy configuration.")
    log_type = headers.get("x-amz-log-type", "None")
    if log_type not in ("None", "Tail"):
        raise violated("logType", log_type, "Member must satisfy enum value set: [None, Tail]")
    request_id = headers.get("x-request-id", "")
    return InvokeCall(
        function=named.function,
        qualifier=named.qualifier,
        kind=_kind(headers.get("x-amz-invocation-type", "RequestResponse"), is_streaming=is_streaming),
        is_streaming=is_streaming,
        log_tail=log_type == "Tail",
        client_context=_client_context(headers.get("x-amz-client-context", "")),
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else "",
        traceparent=headers.get("traceparent", ""),
        trace_id=headers.get("x-amzn-trace-id", ""),
        deadline_s=_deadline_s(headers.get("x-peaker-deadline-ms")),
        event_run=headers.get(EVENT_RUN_HEADER, ""),
    )


@lru_cache(maxsize=512)
def _parse_target(target: str) -> tuple[Named, bool]:
    """Who is called, and whether the response is to be streamed; the gate sends the same few over and over."""
    path, _, query = target.partition("?")
    found = _PATH.fullmatch(path)
    is_streaming = found is None
    found = found or _STREAMING_PATH.fullmatch(path)
    if found is None:
        raise InvokeApiError(404, UNKNOWN_OPERATION, f"No operation at {path[:200]}.")
    qualifier = parse_qs(query).get("Qualifier", [""])[0] if query else ""
    return parse_name(unquote(found[1]), qualifier), is_streaming


def _kind(value: str, *, is_streaming: bool) -> InvocationType:
    try:
        kind = InvocationType(value)
        if not (is_streaming and kind is InvocationType.EVENT):
            return kind
    except ValueError:
        pass  # refused below, as what a streamed response cannot be asked for with
    values = "[RequestResponse, DryRun]" if is_streaming else "[Event, RequestResponse, DryRun]"
    raise violated("invocationType", value, f"Member must satisfy enum value set: {values}")


def _deadline_s(value: str | None) -> float | None:
    if value is None:
        return None
    if not re.fullmatch(r"\d{1,9}", value) or int(value) == 0:
        raise invalid_parameter(
            f"x-peaker-deadline-ms = {value[:200]!r} is not allowed; allowed: whole milliseconds from 1 to 999999999."
        )
    return int(value) / 1000


def _check_content(headers: Mapping[str, str]) -> None:
    content_type = headers.get("content-type", "")
    if content_type != "application/json" and _NO_JSON.fullmatch(content_type.partition(";")[0].strip().lower()):
        raise not_json(content_type)
    if (encoding := headers.get("content-encoding", "identity")) != "identity":
        raise not_json(f"{content_type or 'application/json'}, encoded as {encoding}")


def _client_context(encoded: str) -> str:
    if len(encoded) > CLIENT_CONTEXT_BYTES_MAX:
        raise invalid_parameter(
            f"The client context has {len(encoded)} bytes; allowed are {CLIENT_CONTEXT_BYTES_MAX} in base64."
        )
    return encoded


def result_headers(
    request_id: str, function_error: str, log: bytes | None, version: str = LATEST
) -> list[tuple[str, str]]:
    """Headers of a result's answer; `log` is what the run wrote, of which the last 4 KB are sent."""
    headers = [
        ("content-type", "application/json"),
        ("x-amzn-requestid", request_id),
        ("x-amz-executed-version", version),
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
