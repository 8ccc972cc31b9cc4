"""Records of ended events for queues and topics: sent over HTTP to whatever stands in for AWS."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from peaker.aws_calls.client import AwsClient
from peaker.clock import SystemClock
from peaker.events.destinations import Delivering, is_sent
from peaker.events.invoking import Call, Ran
from peaker.http1_exchange import HttpAnswer, HttpRequest
from peaker.http1_server import HttpServer
from peaker.policy.retry import Ending
from peaker.wire.sigv4 import SigningKey

RAN = Ran(ending=Ending.SUCCEEDED, answer=b"3")


class Functions:
    async def run(self, _: Call) -> Ran:
        return RAN

    def is_there(self) -> bool:
        return False


class Aws:
    """Knows the queue `orders` and any topic; keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        operation = request.headers.get("x-amz-target", "").partition(".")[2]
        if not operation:
            fields = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            if fields["Action"] == "CreateTopic":
                return self._said(f"<TopicArn>arn:aws:sns:x:0:{fields['Name']}</TopicArn>")
            self.sent.append((fields["TopicArn"], fields["Message"]))
            return self._said("<MessageId>m1</MessageId>")
        fields = json.loads(request.body)
        if operation == "GetQueueUrl" and fields["QueueName"] != "orders":
            error = {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no"}
            return HttpAnswer(status=400, headers=[], body=json.dumps(error).encode())
        if operation == "SendMessage":
            self.sent.append((fields["QueueUrl"], fields["MessageBody"]))
        said = {"QueueUrl": "u/orders", "Attributes": {"QueueArn": "arn", "VisibilityTimeout": "30"}}
        return self._said(json.dumps(said))

    @staticmethod
    def _said(text: str) -> HttpAnswer:
        return HttpAnswer(status=200, headers=[], body=text.encode())


def call(function: str) -> Call:
    return Call(function=function, payload=b'{"version":"1.0"}', request_id="r1", timeout_s=3.0)


def delivering(test: Callable[[Delivering, Aws], Awaitable[None]]) -> None:
    async def main() -> None:
        aws = Aws()
        server = HttpServer(aws.answer)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await server.listen(listener)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            client = AwsClient(url, region="us-east-1", key=SigningKey("a", "b"), clock=SystemClock())
            try:
                await test(Delivering(Functions(), client), aws)
            finally:
                client.close()
                await server.drain(1.0)

    asyncio.run(main())


def test_a_record_is_sent_to_a_queue_and_to_a_topic() -> None:
    async def test(deliver: Delivering, aws: Aws) -> None:
        assert (await deliver.run(call("queue:orders"))).ending is Ending.SUCCEEDED
        assert (await deliver.run(call("topic:alarms"))).ending is Ending.SUCCEEDED
        assert aws.sent == [("u/orders", '{"version":"1.0"}'), ("arn:aws:sns:x:0:alarms", '{"version":"1.0"}')]

    delivering(test)


def test_a_queue_that_is_not_there_is_tried_again_later_and_says_its_name() -> None:
    async def test(deliver: Delivering, aws: Aws) -> None:
        ran = await deliver.run(call("queue:absent"))
        assert (ran.ending, ran.host_is_away, ran.was_throttled) == (Ending.NOT_STARTED, False, False)
        assert "absent: There is no such queue." in ran.error
        assert aws.sent == []

    delivering(test)


def test_without_a_stand_in_a_record_becomes_a_dead_letter_that_says_why() -> None:
    ran = asyncio.run(Delivering(Functions(), None).run(call("queue:orders")))
    assert ran.ending is Ending.REFUSED
    assert "[aws] endpoint" in ran.error


def test_what_is_for_a_function_goes_there() -> None:
    deliver = Delivering(Functions(), None)
    assert asyncio.run(deliver.run(call("orders"))) is RAN
    assert not deliver.is_there()
    assert [is_sent(name) for name in ("queue:a", "topic:a", "queue", "function:a", "a", "")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
