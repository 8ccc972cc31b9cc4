"""The second argument of a handler: Lambda's context object.

Members and types are those of AWS's Python runtime interface client (awslambdaric 4.2, `lambda_context.py`), down to
`memory_limit_in_mb` being text.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from peaker.functions import runtime_log

ACCOUNT_ID = "000000000000"
"""Stands where an AWS account would, as in other local tools."""

W3C_FIELDS = ("traceparent", "tracestate", "baggage")
"""What `w3c()` passes on of the caller's `w3c` object."""


def function_arn(name: str, region: str) -> str:
    """The ARN a function of this machine goes by."""
    return f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{name}"


@dataclass(slots=True)
class CognitoIdentity:
    """Who called through Cognito: nobody, here."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


@dataclass(slots=True)
class Client:
    """The mobile app that called, as the AWS Mobile SDK tells it."""

    installation_id: Any = None
    app_title: Any = None
    app_version_name: Any = None
    app_version_code: Any = None
    app_package_name: Any = None


@dataclass(slots=True)
class ClientContext:
    """What the caller sent in X-Amz-Client-Context."""

    custom: Any = None
    env: Any = None
    client: Client | None = None


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
    _w3c: dict[str, str] = field(default_factory=dict[str, str])

    def get_remaining_time_in_millis(self) -> int:
        """Time until the invocation is killed, never below zero."""
        return max(0, int((self.deadline_s - time.monotonic()) * 1000))

    def w3c(self) -> dict[str, str]:
        """The trace context (W3C) that came with the invocation."""
        return dict(self._w3c)

    def log(self, message: object) -> None:
        """Write to the function's log as it stands."""
        runtime_log.write(f"{message}\n")


def client_context_from(document: Any) -> ClientContext | None:
    """The object the caller sent, in the members AWS's client gives it; None where none was sent."""
    if not isinstance(document, dict):
        return None
    client = document.get("client")
    return ClientContext(
        custom=document.get("custom"),
        env=document.get("env"),
        client=Client(**{name: client.get(name) for name in Client.__slots__}) if isinstance(client, dict) else None,
    )


def w3c_from(document: Any) -> dict[str, str]:
    """The fields of a W3C trace context that the caller sent beside its client context."""
    found = document.get("w3c") if isinstance(document, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {name: found[name] for name in W3C_FIELDS if isinstance(found.get(name), str)}
