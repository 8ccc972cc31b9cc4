"""One call of `handler(event, context)`, with the results and errors Lambda's own Python runtime gives.

Shapes and wording follow AWS's runtime interface client (awslambdaric 4.2, `bootstrap.py`).
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from peaker.functions import runtime_log
from peaker.functions.context import LambdaContext
from peaker.functions.result_json import to_json

Handler = Callable[[Any, LambdaContext], Any]

UNHANDLED = "Unhandled"
"""What X-Amz-Function-Error says of every failed invocation of a Python function."""


def call(handler: Handler, payload: bytes, context: LambdaContext) -> tuple[bytes, str]:
    """The result as JSON, and "" or `Unhandled`.

    Lets SystemExit through, and what an exception raises that is asked for its own text: both end the instance, as on
    Lambda.
    """
    request_id = context.aws_request_id
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError) as error:
        return fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}", request_id), UNHANDLED
    try:
        result = handler(event, context)
    except Exception as error:  # noqa: BLE001 - whatever the handler raises is the caller's answer
        return exception_result(error, request_id), UNHANDLED
    if isinstance(result, bytes):
        return result, ""  # passed on as it is
    try:
        return to_json(result), ""
    except Exception as error:  # noqa: BLE001 - json calls methods of the user's objects
        return fault("Runtime.MarshalError", f"Unable to marshal response: {error}", request_id), UNHANDLED


def error_document(error_type: str, message: str, request_id: str, stack: list[str] | None = None) -> dict[str, Any]:
    """What stands for a failed invocation, in the order in which Lambda writes it."""
    return {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": stack or []}


def error_result(error_type: str, message: str, request_id: str, stack: list[str] | None = None) -> bytes:
    """The JSON that stands for a failed invocation."""
    document = error_document(error_type, message, request_id, stack)
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")


def fault(error_type: str, message: str, request_id: str) -> bytes:
    """The JSON of an error the runtime found, which also goes to the log."""
    runtime_log.log_error(error_document(error_type, message, request_id))
    return error_result(error_type, message, request_id)


def exception_result(error: BaseException, request_id: str) -> bytes:
    """The JSON of an exception the user's code raised, which also goes to the log."""
    stack = traceback.format_list(traceback.extract_tb(_first_frame_of_the_user(error)))
    message = str(error)
    runtime_log.log_error(error_document(type(error).__name__, message, request_id, stack))
    return error_result(type(error).__name__, message, request_id, stack)


def _first_frame_of_the_user(error: BaseException) -> TracebackType | None:
    """The traceback without the frames of this package at its top."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    return trace
