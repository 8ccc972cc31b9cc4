"""Handlers that call functions, themselves among them, through boto3 as they would on AWS."""

from __future__ import annotations

import json
import os
from typing import Any

import botocore.config
import botocore.session
from botocore.exceptions import ClientError

_SESSION = botocore.session.get_session()
_ONCE = botocore.config.Config(retries={"max_attempts": 0})


def _client(where: dict[str, str]) -> Any:
    return _SESSION.create_client(
        "lambda",
        region_name="us-east-1",
        endpoint_url=where["url"],
        aws_access_key_id=where["key"],
        aws_secret_access_key=where["secret"],
        config=_ONCE,
    )


_client({"url": "http://127.0.0.1:1", "key": "x", "secret": "x"})  # Reads the service's model once, before any fork.


_OF_THE_PROFILE = _SESSION.create_client("lambda", config=_ONCE) if os.environ.get("AWS_PROFILE") else None
"""As handlers on AWS have it: made while the module is imported, with nothing said about where Lambda is."""


def pass_on(event: dict[str, Any], _: Any) -> Any:
    """Call the function `event["name"]` with `event["event"]`; returns its result."""
    assert _OF_THE_PROFILE is not None
    reply = _OF_THE_PROFILE.invoke(FunctionName=event["name"], Payload=json.dumps(event["event"]))
    return json.loads(reply["Payload"].read())


def call(event: dict[str, Any], context: Any) -> Any:
    """Call the function named by `event["next"]` (itself, if none is) with the same event, one deeper."""
    deeper = {**event, "depth": event.get("depth", 0) + 1}
    name = event.get("next", {}).get(context.function_name, context.function_name)
    try:
        reply = _client(event["where"]).invoke(
            FunctionName=name, InvocationType=event.get("type", "RequestResponse"), Payload=json.dumps(deeper)
        )
    except ClientError as error:
        told = error.response
        return {"depth": deeper["depth"], "stopped": told["Error"]["Code"], "reason": told.get("Reason", "")}
    return json.loads(reply["Payload"].read() or b"null")
