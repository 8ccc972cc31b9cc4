"""What a handler is given besides its event: Lambda's context object, and the logging set-up handlers rely on.

Members and types are those of AWS's Python runtime interface client (awslambdaric, `lambda_context.py`), down to
`memory_limit_in_mb` being text.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

ACCOUNT_ID = "000000000000"
"""Stands where an AWS account would, as in other local tools."""


def function_arn(name: str, region: str) -> str:
    """The ARN a function of this machine goes by."""
    return f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{name}"


@dataclass(slots=True)
class CognitoIdentity:
    """Who called through Cognito: nobody, here."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


@dataclass(slots=True)
class ClientContext:
    """What the caller sent in X-Amz-Client-Context."""

    custom: dict[str, Any] | None = None
    env: dict[str, Any] | None = None
    client: dict[str, Any] | None = None


@dataclass(slots=True)
class LambdaContext:
    """The second argument of a handler."""

    aws_request_id: str
    invoked_function_arn: str
    deadline_s: float
    """Reading of `time.monotonic` at which the invocation is killed."""
    client_context: ClientContext | None = None
    identity: CognitoIdentity = field(default_factory=CognitoIdentity)
    function_name: str = field(default_factory=lambda: os.environ["AWS_LAMBDA_FUNCTION_NAME"])
    function_version: str = field(default_factory=lambda: os.environ["AWS_LAMBDA_FUNCTION_VERSION"])
    memory_limit_in_mb: str = field(default_factory=lambda: os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
    log_group_name: str = field(default_factory=lambda: os.environ["AWS_LAMBDA_LOG_GROUP_NAME"])
    log_stream_name: str = field(default_factory=lambda: os.environ["AWS_LAMBDA_LOG_STREAM_NAME"])
    tenant_id: str | None = None

    def get_remaining_time_in_millis(self) -> int:
        """Time until the invocation is killed, never below zero."""
        return max(0, int((self.deadline_s - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Write to the function's log as it stands."""
        sys.stdout.write(str(message))


def client_context_from(document: Any) -> ClientContext | None:
    """The object the caller sent, in the members AWS's client gives it; None where none was sent."""
    if not isinstance(document, dict):
        return None
    return ClientContext(custom=document.get("custom"), env=document.get("env"), client=document.get("client"))


class _RequestIdFilter(logging.Filter):
    """Puts the request id of the running invocation on each record."""

    request_id = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id
        return True


_request_id_filter = _RequestIdFilter()


def install_root_log_handler() -> None:
    """Give the root logger Lambda's handler and line form, which handlers that only call `logging` rely on."""
    handler = logging.StreamHandler(sys.stdout)
    form = logging.Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    form.converter = time.gmtime
    handler.setFormatter(form)
    handler.addFilter(_request_id_filter)
    logging.getLogger().addHandler(handler)


def set_log_request_id(request_id: str) -> None:
    """Say which invocation the records from now on belong to."""
    _request_id_filter.request_id = request_id
