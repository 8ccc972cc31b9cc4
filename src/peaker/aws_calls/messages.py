"""Messages of an SQS queue: received, taken away, given back."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from peaker.aws_calls.client import TIMEOUT_S, AwsClient

RECEIVED_MAX = 10
"""What SQS gives in one answer, and takes in one batch."""
WAIT_S_MAX = 20.0


async def receive(client: AwsClient, url: str, *, at_most: int, wait_s: float) -> list[dict[str, Any]]:
    """Messages as boto3 gives them: up to `at_most` (1 to 10), after at most `wait_s` (whole seconds) if none is there.

    Raises AwsUnreachable and AwsRefused, as every function here.
    """
    wait_s = int(min(wait_s, WAIT_S_MAX))
    asked = {
        "QueueUrl": url,
        "MaxNumberOfMessages": min(at_most, RECEIVED_MAX),
        "WaitTimeSeconds": wait_s,
        "AttributeNames": ["All"],
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
    answer = await client.json("sqs", "ReceiveMessage", asked, timeout_s=wait_s + TIMEOUT_S)
    return [_as_boto3_gives(message) for message in answer.get("Messages") or []]


async def delete(client: AwsClient, url: str, receipts: Sequence[str]) -> None:
    """Take messages away. One whose receipt has grown old since is left: it will be received again."""
    for first in range(0, len(receipts), RECEIVED_MAX):
        part = receipts[first : first + RECEIVED_MAX]
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(part)]
        await client.json("sqs", "DeleteMessageBatch", {"QueueUrl": url, "Entries": entries})


async def give_back(client: AwsClient, url: str, receipts: Sequence[str]) -> None:
    """Let messages be received again at once."""
    for first in range(0, len(receipts), RECEIVED_MAX):
        part = receipts[first : first + RECEIVED_MAX]
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0} for number, receipt in enumerate(part)
        ]
        await client.json("sqs", "ChangeMessageVisibilityBatch", {"QueueUrl": url, "Entries": entries})


def _as_boto3_gives(message: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes are base64 on the wire."""
    attributes = {
        name: {**value, "BinaryValue": b64decode(value["BinaryValue"])} if value.get("BinaryValue") else value
        for name, value in (message.get("MessageAttributes") or {}).items()
    }
    return {**message, "MessageAttributes": attributes}
