"""Errors of Lambda's API as its service writes them: name, status, body and headers.

Names, statuses and members: AWS Lambda API Reference, "Errors" of each operation (the same as in botocore's model of
the service, against which a test compares them). Texts are those seen from the service.
"""

from __future__ import annotations

import json
import math

from peaker.errors import PeakerError

PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
"""Request and response payload of a synchronous invocation (Lambda quotas)."""

ASYNC_PAYLOAD_BYTES_MAX = 1024 * 1024
"""Payload of an asynchronous invocation (Lambda quotas)."""

FUNCTION_CONCURRENCY = "ReservedFunctionConcurrentInvocationLimitExceeded"
"""The function's own concurrency_max is reached: it stands for reserved concurrency."""

HOST_CONCURRENCY = "ConcurrentInvocationLimitExceeded"
"""What this machine, or the resources behind the app, may carry is reached: it stands for the account's limit."""

EVENT_RATE = "FunctionInvocationRateLimitExceeded"
"""More events wait than are kept."""

_MESSAGE_IN_CAPITALS = frozenset(
    {"ResourceNotFoundException", "ServiceException", "RecursiveInvocationException", "ResourceNotReadyException"}
)
"""Errors whose member is `Message`; that of all others is `message`."""


class InvokeApiError(PeakerError):
    """An answer of the API other than a result: AWS's name, status and body."""

    def __init__(self, status: int, kind: str, message: str, *, retry_after_s: float = 0.0, **fields: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.fields = fields

    def body(self) -> bytes:
        """The JSON body of the answer."""
        member = "Message" if self.kind in _MESSAGE_IN_CAPITALS else "message"
        return json.dumps({**self.fields, member: self.what}).encode()

    def headers(self, request_id: str) -> list[tuple[str, str]]:
        """Headers of the answer."""
        headers = [
            ("content-type", "application/json"),
            ("x-amzn-requestid", request_id),
            ("x-amzn-errortype", self.kind),
        ]
        if self.retry_after_s:
            headers.append(("retry-after", str(math.ceil(self.retry_after_s))))
        return headers


def violated(name: str, value: str, constraint: str) -> InvokeApiError:
    """A parameter that breaks a constraint of the API's model, in the words of the service."""
    return InvokeApiError(
        400,
        "ValidationException",
        f"1 validation error detected: Value '{value[:200]}' at '{name}' failed to satisfy constraint: {constraint}",
    )


def invalid_parameter(message: str) -> InvokeApiError:
    """A parameter that the model allows and the service does not."""
    return InvokeApiError(400, "InvalidParameterValueException", message, Type="User")


def function_not_found(arn: str) -> InvokeApiError:
    """No function of this name, or no such numbered version of it."""
    return InvokeApiError(404, "ResourceNotFoundException", f"Function not found: {arn}", Type="User")


def alias_not_found(arn: str) -> InvokeApiError:
    """The function is there, the alias is not."""
    return InvokeApiError(404, "ResourceNotFoundException", f"Cannot find alias arn: {arn}", Type="User")


def too_many_requests(reason: str, why: str, *, retry_after_s: float = 1.0) -> InvokeApiError:
    """No instance for it, now or in time; it was not started. `reason` is one of Lambda's ThrottleReason."""
    message = f"Rate Exceeded. {why}" if why else "Rate Exceeded."
    return InvokeApiError(
        429, "TooManyRequestsException", message, retry_after_s=retry_after_s, Reason=reason, Type="User"
    )


def recursive_invocation(arn: str, runs_max: int) -> InvokeApiError:
    """A chain of calls has come back to the function too often."""
    return InvokeApiError(
        400,
        "RecursiveInvocationException",
        f"Lambda has detected {arn} being invoked in a recursive loop and stopped it after {runs_max} runs in one "
        "chain of calls.",
        Type="User",
    )


def request_too_large(limit_bytes: int = PAYLOAD_BYTES_MAX) -> InvokeApiError:
    """Over the payload limit of a synchronous call."""
    return InvokeApiError(
        413,
        "RequestTooLargeException",
        f"Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation",
        Type="User",
    )


def event_too_large(payload_bytes: int) -> InvokeApiError:
    """Over the payload limit of an asynchronous call; the service has a name of its own for it."""
    return InvokeApiError(
        413,
        "RequestEntityTooLargeException",
        f"{payload_bytes} byte payload is too large for the Event invocation type "
        f"(limit {ASYNC_PAYLOAD_BYTES_MAX} bytes)",
        Type="User",
    )


def invalid_content(reason: str) -> InvokeApiError:
    """The payload is not JSON."""
    return InvokeApiError(
        400, "InvalidRequestContentException", f"Could not parse request body into json: {reason}", Type="User"
    )


def not_json(content_type: str) -> InvokeApiError:
    """The caller itself says that the payload is not JSON."""
    return InvokeApiError(
        415, "UnsupportedMediaTypeException", f"Unsupported content type: {content_type[:200]}", Type="User"
    )


def service_error(message: str) -> InvokeApiError:
    """The host could not run the function, through no fault of the caller's."""
    return InvokeApiError(500, "ServiceException", message, Type="Service")


def refused(kind: str, message: str) -> InvokeApiError:
    """Who calls may not."""
    return InvokeApiError(403, kind, message)
