"""Queues, topics, buckets and tables of a stand-in: made where they are missing, and joined to each other.

What is there already is taken as it is: it is the user's. Every function may raise AwsUnreachable and AwsRefused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from peaker.aws_calls.client import AwsClient, AwsRefused
from peaker.local_aws_section import TableKey

NO_QUEUE = frozenset({"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"})
NO_TABLE = frozenset({"ResourceNotFoundException"})
FIFO = ".fifo"
_NOTIFICATIONS = re.compile(r"<NotificationConfiguration[^>]*>(.*)</NotificationConfiguration>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue that is there."""

    url: str
    arn: str
    visibility_timeout_s: float


async def find_queue(client: AwsClient, name: str) -> Queue | None:
    """A queue by its name, None where there is none."""
    try:
        url = (await client.json("sqs", "GetQueueUrl", {"QueueName": name}))["QueueUrl"]
    except AwsRefused as error:
        if error.code in NO_QUEUE:
            return None
        raise
    asked = {"QueueUrl": url, "AttributeNames": ["QueueArn", "VisibilityTimeout"]}
    attributes = (await client.json("sqs", "GetQueueAttributes", asked))["Attributes"]
    return Queue(url=url, arn=attributes["QueueArn"], visibility_timeout_s=float(attributes["VisibilityTimeout"]))


async def make_queue(client: AwsClient, name: str, attributes: Mapping[str, str] | None = None) -> Queue:
    """A queue of this name; one that is missing is made with these attributes."""
    if (found := await find_queue(client, name)) is not None:
        return found
    given = dict(attributes or {})
    if name.endswith(FIFO):
        given = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **given}
    await client.json("sqs", "CreateQueue", {"QueueName": name, "Attributes": given})
    made = await find_queue(client, name)
    if made is None:
        raise AwsRefused("QueueDoesNotExist", f"queue {name} is gone as soon as it was made.", status=400, where=name)
    return made


async def make_queue_with_dead_letters(
    client: AwsClient, name: str, *, dead_letters: str, receives_max: int, attributes: Mapping[str, str]
) -> Queue:
    """A queue whose messages go to the queue `dead_letters` after `receives_max` receives; that one is made too."""
    dead = await make_queue(client, dead_letters)
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": receives_max})
    return await make_queue(client, name, {**attributes, "RedrivePolicy": policy})


async def make_topic(client: AwsClient, name: str) -> str:
    """The ARN of a topic of this name."""
    fields = {"Name": name}
    if name.endswith(FIFO):
        fields |= {"Attributes.entry.1.key": "FifoTopic", "Attributes.entry.1.value": "true"}
    return await client.sns("CreateTopic", fields, wanted="TopicArn")


async def subscribe(client: AwsClient, topic_arn: str, queue_arn: str) -> str:
    """Let a topic's messages go to a queue as well; the ARN of the subscription, an old one where there is one."""
    fields = {"TopicArn": topic_arn, "Protocol": "sqs", "Endpoint": queue_arn, "ReturnSubscriptionArn": "true"}
    return await client.sns("Subscribe", fields, wanted="SubscriptionArn")


async def make_bucket(client: AwsClient, name: str) -> None:
    """A bucket of this name."""
    try:
        await client.s3("HEAD", f"/{quote(name)}")
    except AwsRefused as error:
        if error.status != 404:
            raise
    else:
        return
    body = b""
    if client.region != "us-east-1":
        place = f"<LocationConstraint>{escape(client.region)}</LocationConstraint>"
        body = f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()
    await client.s3("PUT", f"/{quote(name)}", body)


async def mark_bucket(client: AwsClient, name: str, mark: str) -> None:
    """Have a bucket carry a tag, by which it is known again as long as it has not been made anew."""
    body = f"<Tagging><TagSet><Tag><Key>{escape(mark)}</Key><Value>yes</Value></Tag></TagSet></Tagging>"
    await client.s3("PUT", f"/{quote(name)}?tagging", body.encode())


async def is_marked(client: AwsClient, name: str, mark: str) -> bool:
    """Whether the bucket is there and carries the tag."""
    try:
        told = await client.s3("GET", f"/{quote(name)}?tagging")
    except AwsRefused as error:
        if error.status != 404:
            raise
        return False
    return escape(mark) in told.body.decode("utf-8", "replace")


async def notify_queue(client: AwsClient, bucket: str, queue_arn: str) -> None:
    """Let a bucket tell a queue of every object that comes or goes, beside whomever else it tells."""
    told = (await client.s3("GET", f"/{quote(bucket)}?notification")).body.decode("utf-8", "replace")
    if escape(queue_arn) in told:
        return
    others = _NOTIFICATIONS.search(told)
    body = (
        f"<NotificationConfiguration>{others[1] if others is not None else ''}<QueueConfiguration><Id>peaker</Id>"
        f"<Queue>{escape(queue_arn)}</Queue><Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>"
        "</QueueConfiguration></NotificationConfiguration>"
    )
    await client.s3("PUT", f"/{quote(bucket)}?notification", body.encode())


async def make_table(client: AwsClient, name: str, keys: Sequence[TableKey]) -> None:
    """A table of this name; one that is missing is made, with a stream of its changes."""
    if await table_of(client, name) is not None:
        return
    kinds = ("HASH", "RANGE")
    await client.json(
        "dynamodb",
        "CreateTable",
        {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": key.name, "AttributeType": key.kind} for key in keys],
            "KeySchema": [{"AttributeName": key.name, "KeyType": kinds[at]} for at, key in enumerate(keys)],
            "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        },
    )


async def table_of(client: AwsClient, name: str) -> dict[str, Any] | None:
    """What DescribeTable says of a table, None where there is none."""
    try:
        return dict((await client.json("dynamodb", "DescribeTable", {"TableName": name}))["Table"])
    except AwsRefused as error:
        if error.code in NO_TABLE:
            return None
        raise


async def stream_of(client: AwsClient, name: str) -> str:
    """The ARN of a table's stream, which is switched on where it is off; "" where there is no such table."""
    table = await table_of(client, name)
    if table is not None and not table.get("StreamSpecification", {}).get("StreamEnabled"):
        view = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        await client.json("dynamodb", "UpdateTable", {"TableName": name, "StreamSpecification": view})
        table = await table_of(client, name)
    return str(table.get("LatestStreamArn", "")) if table is not None else ""
