"""What the stand-in knows of a call, and that calls to moto go one at a time."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from peaker.local_aws.calls import EVERY_QUEUE, STREAMS, read_call
from peaker.local_aws.one_at_a_time import OneAtATime

URL = "http://127.0.0.1:1/123456789012/orders"
SQS_FORM = {"authorization": "AWS4-HMAC-SHA256 Credential=key/20300101/us-east-1/sqs/aws4_request, Signature=0"}


def receiving(**fields: Any) -> bytes:
    return json.dumps({"QueueUrl": URL, **fields}).encode()


def test_a_receiver_waits_here_and_not_in_moto() -> None:
    call = read_call("POST", "/", {"x-amz-target": "AmazonSQS.ReceiveMessage"}, receiving(WaitTimeSeconds=9))
    assert (call.watched, call.wait_s) == ("queue/orders", 9.0)
    assert json.loads(call.body) == {"QueueUrl": URL, "WaitTimeSeconds": 0}


def test_a_receiver_of_the_older_protocol_waits_here_too() -> None:
    call = read_call("POST", "/123456789012/orders", SQS_FORM, b"Action=ReceiveMessage&WaitTimeSeconds=30")
    assert (call.watched, call.wait_s) == ("queue/orders", 20.0)
    assert call.body == b"Action=ReceiveMessage&WaitTimeSeconds=0"


def test_how_long_is_the_queues_to_say_where_the_receiver_does_not() -> None:
    assert read_call("POST", "/", {"x-amz-target": "AmazonSQS.ReceiveMessage"}, receiving()).wait_s is None


@pytest.mark.parametrize("body", [b"no json", b"[]", receiving(WaitTimeSeconds="soon")])
def test_a_malformed_call_is_for_the_service_to_refuse(body: bytes) -> None:
    assert read_call("POST", "/", {"x-amz-target": "AmazonSQS.ReceiveMessage"}, body).watched.startswith("queue/")


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("AmazonSQS.SendMessage", {"queue/orders"}),
        ("AmazonSQS.GetQueueAttributes", set()),
        ("DynamoDB_20120810.PutItem", {STREAMS}),
        ("DynamoDB_20120810.Query", set()),
        ("AWSEvents.PutEvents", {EVERY_QUEUE}),
    ],
)
def test_what_a_call_may_have_changed(target: str, changes: set[str]) -> None:
    assert read_call("POST", "/", {"x-amz-target": target}, receiving()).changes == changes


def test_an_upload_may_have_told_any_queue_and_a_download_none() -> None:
    assert read_call("PUT", "/bucket/key", {}, b"").changes == {EVERY_QUEUE}
    assert read_call("GET", "/bucket/key", {}, b"").changes == frozenset()


def environ(body: bytes = b"", **more: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/", "HTTP_HOST": "127.0.0.1:1", "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body), **more,
    }  # fmt: skip


def test_no_two_calls_are_in_moto_at_once() -> None:
    inside, most = 0, 0
    entered = threading.Event()

    def inner(_: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        entered.wait(0.02)  # never set: long enough for another to come in, were it let
        inside -= 1
        start("200 OK", [])
        return [b"done"]

    application = OneAtATime(inner)
    answers: list[bytes] = []

    def call() -> None:
        answers.append(b"".join(application(environ(), lambda *_: None)))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, most) == ([b"done"] * 6, 1)


def test_a_body_of_unknown_length_is_read_before_its_turn() -> None:
    got: list[tuple[str, bytes]] = []

    def inner(given: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        got.append((given["CONTENT_LENGTH"], given["wsgi.input"].read()))
        start("200 OK", [])
        return []

    chunked = {**environ(), "wsgi.input": io.BytesIO(b"x" * 300_000), "wsgi.input_terminated": True}
    chunked |= {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    assert list(OneAtATime(inner)(chunked, lambda *_: None)) == [b""]
    assert got == [("300000", b"x" * 300_000)]


def test_a_body_above_the_limit_of_s3_is_refused() -> None:
    said: list[str] = []
    large = {**environ(), "CONTENT_LENGTH": str(6 * 1024**3)}
    list(OneAtATime(lambda *_: [])(large, lambda status, _: said.append(status)))
    assert said == ["413 Content Too Large"]
