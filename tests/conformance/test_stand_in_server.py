"""moto's server as Peaker serves it: many clients at once, receivers that wait, and who may call."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config

from peaker.aws_calls.client import AwsClient, AwsRefused, AwsUnreachable
from peaker.aws_calls.declared import make_declared
from peaker.aws_calls.messages import delete, give_back, receive
from peaker.aws_calls.resources import find_queue, make_queue, notify_queue, stream_of
from peaker.clock import SystemClock
from peaker.local_aws.server import StandIn, drop_old_iterators
from peaker.local_aws_section import LocalAwsSection
from peaker.settings import Settings
from peaker.wire.sigv4 import SigningKey

KEY = SigningKey("any", "any")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stand_in = StandIn(listener)
        stand_in.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stand_in.stop()


def boto(url: str, service: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
    return boto3.client(
        service, endpoint_url=url, region_name="us-east-1", config=config,
        aws_access_key_id="any", aws_secret_access_key="any",
    )  # fmt: skip


def client(url: str) -> AwsClient:
    return AwsClient(url, region="us-east-1", key=KEY, clock=SystemClock())


def test_four_senders_and_four_receivers_lose_nothing_and_no_message_is_given_twice(url: str) -> None:
    sqs = boto(url, "sqs")
    queue = sqs.create_queue(QueueName="busy", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    wanted = 4 * 10
    got: list[str] = []
    all_there = threading.Event()

    def send(sender: int) -> None:
        for number in range(10):
            sqs.send_message(QueueUrl=queue, MessageBody=f"{sender}-{number}")

    def take() -> None:
        deadline_s = time.monotonic() + 60
        while not all_there.is_set() and time.monotonic() < deadline_s:
            for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
                got.append(message["Body"])
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            if len(got) >= wanted:
                all_there.set()

    with ThreadPoolExecutor(8) as threads:
        for done in [*(threads.submit(send, sender) for sender in range(4)), *(threads.submit(take) for _ in range(4))]:
            done.result()
    assert sorted(got) == sorted(f"{sender}-{number}" for sender in range(4) for number in range(10))


def test_a_receiver_that_waits_hears_at_once_and_holds_up_nobody(url: str) -> None:
    sqs = boto(url, "sqs")
    queue = sqs.create_queue(QueueName="waited-for")["QueueUrl"]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=20)
        began_s = time.monotonic()
        for number in range(5):  # answered while it waits
            sqs.create_queue(QueueName=f"beside-{number}")
        sqs.send_message(QueueUrl=queue, MessageBody="there")
        assert waiting.result(timeout=15)["Messages"][0]["Body"] == "there"
    assert time.monotonic() - began_s < 15


def test_a_queue_may_say_itself_how_long_receivers_wait(url: str) -> None:
    sqs = boto(url, "sqs")
    attributes = {"ReceiveMessageWaitTimeSeconds": "1"}
    queue = sqs.create_queue(QueueName="patient", Attributes=attributes)["QueueUrl"]
    began_s = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert time.monotonic() - began_s >= 0.9


def test_a_receiver_that_has_hung_up_is_given_no_message(url: str) -> None:
    sqs = boto(url, "sqs")
    queue = sqs.create_queue(QueueName="left", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20}).encode()
    with socket.create_connection((host, int(port))) as gone:
        head = (
            f"POST / HTTP/1.1\r\nhost: {host}:{port}\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\n"
            "content-type: application/x-amz-json-1.0\r\n"
            "authorization: AWS4-HMAC-SHA256 Credential=any/20300101/us-east-1/sqs/aws4_request, SignedHeaders=host, "
            f"Signature=0\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        gone.sendall(head.encode() + body)
        sqs.list_queues()  # It has been read by now, or will find the socket at its end.
    sqs.send_message(QueueUrl=queue, MessageBody="for those who stay")
    assert sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"][0]["Body"] == "for those who stay"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "rebound.example:80"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({}, 200),
    ],
)
def test_web_pages_of_others_are_kept_out(url: str, headers: dict[str, str], status: int) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == status


def test_what_settings_declare_is_made_and_made_again_without_harm(url: str) -> None:
    declared = LocalAwsSection(
        buckets=["declared-bucket"],
        queues=["declared", "declared.fifo"],
        topics=["declared"],
        tables={"declared-one": "id", "declared-two": "customer, at:N"},
        folders={"declared-folder": "somewhere"},
    )

    async def main() -> None:
        calls = client(url)
        for _ in range(2):
            await make_declared(calls, Settings(local_aws=declared))
        calls.close()

    asyncio.run(main())
    names = {bucket["Name"] for bucket in boto(url, "s3").list_buckets()["Buckets"]}
    assert {"declared-bucket", "declared-folder"} <= names
    table = boto(url, "dynamodb").describe_table(TableName="declared-two")["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["customer", "at"]
    assert table["AttributeDefinitions"][1] == {"AttributeName": "at", "AttributeType": "N"}
    queues = [
        found.rpartition("/")[2] for found in boto(url, "sqs").list_queues(QueueNamePrefix="declared")["QueueUrls"]
    ]
    assert sorted(queues) == ["declared", "declared.fifo"]


def test_a_bucket_goes_on_telling_whom_its_owner_has_told_it_to(url: str) -> None:
    s3, sqs = boto(url, "s3"), boto(url, "sqs")
    s3.create_bucket(Bucket="owned-by-user")
    own = sqs.create_queue(QueueName="own-queue")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=own, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueConfigurations": [{"Id": "mine", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="owned-by-user", NotificationConfiguration=told)

    async def main() -> None:
        calls = client(url)
        ours = await make_queue(calls, "peakers-queue")
        for _ in range(2):
            await notify_queue(calls, "owned-by-user", ours.arn)
        calls.close()

    asyncio.run(main())
    found = s3.get_bucket_notification_configuration(Bucket="owned-by-user")["QueueConfigurations"]
    assert sorted(one["QueueArn"].rpartition(":")[2] for one in found) == ["own-queue", "peakers-queue"]


def test_messages_are_received_as_boto3_gives_them_taken_away_and_given_back(url: str) -> None:
    sqs = boto(url, "sqs")

    async def main() -> list[dict[str, Any]]:
        calls = client(url)
        assert await find_queue(calls, "no-such-queue") is None
        queue = await make_queue(calls, "received", {"VisibilityTimeout": "77"})
        assert queue.visibility_timeout_s == 77
        attributes = {
            "text": {"DataType": "String", "StringValue": "a"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\0\xff"},
        }
        sqs.send_message(QueueUrl=queue.url, MessageBody="hello", MessageAttributes=attributes)
        [first] = await receive(calls, queue.url, at_most=10, wait_s=5)
        await give_back(calls, queue.url, [first["ReceiptHandle"]])
        [again] = await receive(calls, queue.url, at_most=10, wait_s=5)
        await delete(calls, queue.url, [again["ReceiptHandle"]])
        assert await receive(calls, queue.url, at_most=10, wait_s=0) == []
        calls.close()
        return [first, again]

    first, again = asyncio.run(main())
    assert first["MessageId"] == again["MessageId"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    assert again["MessageAttributes"]["bytes"]["BinaryValue"] == b"\0\xff"


def test_a_table_gets_its_stream_switched_on_and_old_iterators_are_dropped(url: str) -> None:
    keys = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    boto(url, "dynamodb").create_table(TableName="without-stream", BillingMode="PAY_PER_REQUEST", **keys)

    async def main() -> None:
        calls = client(url)
        assert await stream_of(calls, "no-such-table") == ""
        arn = await stream_of(calls, "without-stream")
        assert arn.startswith("arn:aws:dynamodb:us-east-1:")
        [shard] = (await calls.json("streams", "DescribeStream", {"StreamArn": arn}))["StreamDescription"]["Shards"]
        asked = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterators = [(await calls.json("streams", "GetShardIterator", asked))["ShardIterator"] for _ in range(9)]
        drop_old_iterators(kept=4)
        answer = await calls.json("streams", "GetRecords", {"ShardIterator": iterators[-1]})
        assert answer["Records"] == []
        with pytest.raises((AwsRefused, AwsUnreachable)):
            await calls.json("streams", "GetRecords", {"ShardIterator": iterators[0]})
        calls.close()

    asyncio.run(main())


def test_errors_of_the_services_have_their_names(url: str) -> None:
    async def main() -> None:
        calls = client(url)
        with pytest.raises(AwsRefused, match="NoSuchBucket") as of_s3:
            await calls.s3("GET", "/no-such-bucket?notification")
        with pytest.raises(AwsRefused, match="QueueDoesNotExist") as of_sqs:
            await calls.json("sqs", "GetQueueUrl", {"QueueName": "no-such-queue"})
        with pytest.raises(AwsRefused, match="NotFound"):
            await calls.sns("Subscribe", {"TopicArn": "arn:aws:sns:us-east-1:123456789012:none"}, wanted="Any")
        calls.close()
        assert (of_s3.value.status, of_s3.value.code) == (404, "NoSuchBucket")
        assert of_sqs.value.code == "QueueDoesNotExist"
        nobody = client("http://127.0.0.1:1")
        with pytest.raises(AwsUnreachable, match="GetQueueUrl"):
            await nobody.json("sqs", "GetQueueUrl", {"QueueName": "any"})

    asyncio.run(main())
