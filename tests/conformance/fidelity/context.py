"""What a handler is told by its context object."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from fidelity.registry import Endpoint, behaviour, invoke, result
from fidelity.sources import CONTEXT, CONTEXT_CODE

AREA = "Context"


def told(endpoint: Endpoint) -> Any:
    return result(endpoint, do="context")


@behaviour(AREA, "`function_name` is the name of the function.", source=CONTEXT)
def context_function_name(endpoint: Endpoint) -> None:
    assert told(endpoint)["function_name"] == "deeds"


@behaviour(AREA, "`function_version` is `$LATEST` for an unqualified call.", source=CONTEXT)
def context_function_version(endpoint: Endpoint) -> None:
    assert told(endpoint)["function_version"] == "$LATEST"


@behaviour(AREA, "`invoked_function_arn` is the ARN of the function that was called.", source=CONTEXT)
def context_arn(endpoint: Endpoint) -> None:
    found = told(endpoint)["invoked_function_arn"]
    assert re.fullmatch(r"arn:aws:lambda:[a-z]{2}-[a-z]+-\d:\d{12}:function:deeds", found), found


@behaviour(AREA, "`memory_limit_in_mb` is text, and the configured memory.", source=CONTEXT_CODE)
def context_memory_limit(endpoint: Endpoint) -> None:
    assert told(endpoint)["memory_limit_in_mb"] == "1769"


@behaviour(AREA, "`aws_request_id` is a UUID and the same as `x-amzn-RequestId` of the answer.", source=CONTEXT)
def context_request_id(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="context")
    found = answer.value["aws_request_id"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found), found
    assert found == answer.request_id, (found, answer.request_id)


@behaviour(AREA, "`log_group_name` is `/aws/lambda/` and the function's name.", source=CONTEXT)
def context_log_group(endpoint: Endpoint) -> None:
    assert told(endpoint)["log_group_name"] == "/aws/lambda/deeds"


@behaviour(AREA, "`log_stream_name` is the day, the version in brackets and 32 digits of the instance.", source=CONTEXT)
def context_log_stream(endpoint: Endpoint) -> None:
    found = told(endpoint)["log_stream_name"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", found), found


@behaviour(AREA, "`identity` is there, with no Cognito ids, when no Cognito user called.", source=CONTEXT)
def context_identity(endpoint: Endpoint) -> None:
    assert told(endpoint)["identity"] == [None, None]


@behaviour(AREA, "`client_context` is None when the caller sent none.", source=CONTEXT)
def context_without_client_context(endpoint: Endpoint) -> None:
    assert told(endpoint)["client_context"] is None


@behaviour(AREA, "`client_context` has `custom`, `env` and `client` as the caller sent them.", source=CONTEXT)
def context_client_context(endpoint: Endpoint) -> None:
    sent = {"custom": {"seat": "A1"}, "env": {"locale": "de_CH"}, "client": {"app_title": "shop"}}
    encoded = base64.b64encode(json.dumps(sent).encode()).decode()
    found = result(endpoint, do="context", ClientContext=encoded)["client_context"]
    assert found == {"custom": {"seat": "A1"}, "env": {"locale": "de_CH"}, "app_title": "shop"}, found


@behaviour(AREA, "`get_remaining_time_in_millis()` counts down from the time limit.", source=CONTEXT)
def context_remaining_time(endpoint: Endpoint) -> None:
    before, after = result(endpoint, do="remaining", s=0.1)
    assert 15_000 < before <= 20_000, before
    assert 90 <= before - after < 3_000, before - after


@behaviour(AREA, "`tenant_id` is None for a function without tenant isolation.", source=CONTEXT_CODE)
def context_tenant(endpoint: Endpoint) -> None:
    assert told(endpoint)["tenant_id"] is None
