"""What the payment provider tells: handlers as they would stand on AWS Lambda behind API Gateway.

The signature was checked before the event was accepted, so a handler does not have to.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import orders


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda gives it
    """A delivery, as payload 2.0. An error here has it tried again; after the last attempt it is a dead letter."""
    body = event["body"]
    if event["isBase64Encoded"]:
        body = base64.b64decode(body).decode()
    told = json.loads(body)
    if told["type"] != "payment.succeeded":
        return {"ignored": told["type"]}
    payment = told["data"]
    is_new = orders.note_payment(told["id"], payment["order"], payment["cents"])
    return {"order": payment["order"], "is_new": is_new}


def report(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda gives it
    """What was paid so far; `event["time"]` is when the schedule was due."""
    paid = orders.paid()
    return {"at": event["time"], "orders": len(paid), "cents": sum(paid.values())}
