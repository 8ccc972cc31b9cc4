"""What a handler's logging is set up to do, as AWS's Python runtime does it: one root handler, in text or JSON.

Forms and wording follow AWS's runtime interface client (awslambdaric 4.2, `bootstrap.py` and
`lambda_runtime_log_utils.py`). A record goes to the function's log even where the user's code has replaced
`sys.stdout`, as on Lambda, where it has a channel of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

TEXT_FORM = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
TEXT_TIME = "%Y-%m-%dT%H:%M:%S"
JSON_TIME = "%Y-%m-%dT%H:%M:%SZ"
NO_BREAK_SPACE = "\u00a0"
"""Stands for the blanks at the start of a traceback's lines, which CloudWatch would strip."""

UNHANDLED_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. However, in rare "
    "cases, a Lambda runtime update can cause unexpected function behavior."
)
"""Logged when a function does not initialise; AWS's text goes on with advice about runtime updates, of which there
are none here."""

_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id", "tenant_id"}


class _Running:
    """The invocation that records belong to now."""

    request_id = ""
    tenant_id: str | None = None


def set_running(request_id: str, tenant_id: str | None = None) -> None:
    """Say which invocation the records from now on belong to."""
    _Running.request_id = request_id
    _Running.tenant_id = tenant_id


def write(text: str) -> None:
    """Put lines into the function's log, after what has been printed up to now."""
    # The user's code may have closed it or put something odd in its place: nothing is lost then that could be written.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    os.write(1, text.encode("utf-8", "backslashreplace"))


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = _Running.request_id
        record.tenant_id = _Running.tenant_id
        return True


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        write(self.format(record) + "\n")


class JsonForm(logging.Formatter):
    """One JSON object a record, with AWS's keys and the record's `extra`."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        message = record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage()
        fields: dict[str, Any] = {
            "timestamp": self.formatTime(record, JSON_TIME),
            "level": record.levelname,
            "message": message,
            "logger": record.name,
            **_exception_fields(record),
            "requestId": getattr(record, "aws_request_id", None),
            "tenantId": getattr(record, "tenant_id", None),
        }
        extra = {key: value for key, value in vars(record).items() if key not in _RECORD_FIELDS and key not in fields}
        return _as_json(fields | extra)


def _exception_fields(record: logging.LogRecord) -> dict[str, Any]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    kind, error, trace = record.exc_info
    return {
        "stackTrace": traceback.format_tb(trace),
        "errorType": kind.__name__,
        "errorMessage": str(error),
        "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
    }


def _as_json(fields: Mapping[str, Any]) -> str:
    present = {key: value for key, value in fields.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, default=str)


def is_json() -> bool:
    """Whether this function logs in JSON."""
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def install_root_handler() -> None:
    """Give the root logger Lambda's handler, form and level, which handlers that only call `logging` rely on."""
    form: logging.Formatter
    if is_json():
        form = JsonForm()
    else:
        form = logging.Formatter(TEXT_FORM, TEXT_TIME)
        form.converter = time.gmtime
    handler = _Handler()
    handler.setFormatter(form)
    handler.addFilter(_Filter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(level, level)
    if level in logging.getLevelNamesMapping():
        root.setLevel(level)


def log_error(document: Mapping[str, Any]) -> None:
    """Write what an invocation or an initialisation failed with."""
    if is_json():
        stamp = time.strftime(JSON_TIME, time.gmtime())
        write(_as_json({"timestamp": stamp, "level": "ERROR", **document}) + "\n")
        return
    parts = [part for part in (document["errorType"], document["errorMessage"]) if part]
    lines = [f"[ERROR] {': '.join(parts)}", "Traceback (most recent call last):"]
    for element in document["stackTrace"]:
        for line in element.splitlines() or [""]:
            text = line.lstrip(" ")
            lines.append(NO_BREAK_SPACE * (len(line) - len(text)) + text)
    write("\n".join(lines) + "\n")
