"""SNS: messages to a topic, as the event of a function.

Source: AWS Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS notifications", and Amazon SNS Developer
Guide, "Parsing message formats" (what a subscribed endpoint or queue gets).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from peaker.messages import JSONValue


def event(records: Iterable[JSONValue]) -> JSONValue:
    """The event; SNS sends one record each."""
    return {"Records": list(records)}


def record_of(notification: Mapping[str, Any], subscription_arn: str) -> JSONValue:
    """The record of a notification as an endpoint or queue gets it (JSON with Type, MessageId, TopicArn, Message, ...).

    Raises:
        KeyError: it has no MessageId, TopicArn, Message or Timestamp, and so is no notification.
    """
    return {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription_arn,
        "Sns": {
            "Type": notification.get("Type", "Notification"),
            "MessageId": notification["MessageId"],
            "TopicArn": notification["TopicArn"],
            "Subject": notification.get("Subject"),
            "Message": notification["Message"],
            "Timestamp": notification["Timestamp"],
            "SignatureVersion": notification.get("SignatureVersion", "1"),
            "Signature": notification.get("Signature", ""),
            # An endpoint gets ...URL, a function ...Url.
            "SigningCertUrl": notification.get("SigningCertURL", ""),
            "UnsubscribeUrl": notification.get("UnsubscribeURL", ""),
            "MessageAttributes": {
                name: {"Type": value["Type"], "Value": value["Value"]}
                for name, value in notification.get("MessageAttributes", {}).items()
            },
        },
    }
