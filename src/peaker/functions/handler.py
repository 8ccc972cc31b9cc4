"""One call of `handler(event, context)`, with the results and errors Lambda's own Python runtime gives.

Shapes and wording follow AWS's runtime interface client (awslambdaric, `bootstrap.py`). One difference: a
`decimal.Decimal` becomes the nearest float, where AWS's client prints all its digits.
"""

from __future__ import annotations

import decimal
import json
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from peaker.functions.context import LambdaContext

Handler = Callable[[Any, LambdaContext], Any]

UNHANDLED = "Unhandled"
"""What X-Amz-Function-Error says of every failed invocation of a Python function."""


def call(handler: Handler, payload: bytes, context: LambdaContext) -> tuple[bytes, str]:
    """The result as JSON, and "" or `Unhandled`. Lets SystemExit through: that ends the instance, as on Lambda."""
    request_id = context.aws_request_id
    try:
        event = json.loads(payload)
    except ValueError as error:
        return error_result("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}", request_id), UNHANDLED
    try:
        result = handler(event, context)
    except Exception as error:  # noqa: BLE001 - whatever the handler raises is the caller's answer
        return exception_result(error, request_id), UNHANDLED
    try:
        return _to_json(result), ""
    except Exception as error:  # noqa: BLE001 - json calls methods of the user's objects
        message = f"Unable to marshal response: {error}"
        _log_error("Runtime.MarshalError", message)
        return error_result("Runtime.MarshalError", message, request_id), UNHANDLED


def error_result(error_type: str, message: str, request_id: str, stack: list[str] | None = None) -> bytes:
    """The JSON that stands for a failed invocation."""
    document = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": stack or []}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")


def exception_result(error: BaseException, request_id: str) -> bytes:
    """The JSON of an exception the user's code raised, which also goes to the log."""
    stack = traceback.format_list(traceback.extract_tb(_first_frame_of_the_user(error)))
    _log_error(type(error).__name__, str(error), "".join(stack))
    return error_result(type(error).__name__, str(error), request_id, stack)


def _first_frame_of_the_user(error: BaseException) -> TracebackType | None:
    """The traceback without the frames of this package at its top."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    return trace


def _log_error(error_type: str, message: str, stack: str = "") -> None:
    trace = f"\nTraceback (most recent call last):\n{stack.rstrip()}" if stack else ""
    sys.stderr.write(f"[ERROR] {error_type}: {message}{trace}\n")


def _to_json(result: Any) -> bytes:
    return json.dumps(result, ensure_ascii=False, allow_nan=False, default=_decimal_to_float).encode()


def _decimal_to_float(value: Any) -> float:
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
