"""The trace of a run goes with what it writes: to objects, notifications and messages, and to whom they start."""

from __future__ import annotations

import json
from typing import Any

from peaker.events.sources.inbox import hops_of, led_to_by
from peaker.events.sources.queue import trace_of
from peaker.local_aws.traces import REMEMBERED_MAX, Traces
from peaker.messages import Event

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a87bd80c:1|68fd508a:5"
SENT_ON = {"x-amzn-trace-id": TRACE.replace("=", "%3D").replace(";", "%3B")}


def received(**message: Any) -> bytes:
    return json.dumps({"Messages": [{"MessageId": "m-1", "Body": "", **message}]}).encode()


def given_on(traces: Traces, answer: bytes) -> str:
    [message] = json.loads(traces.put_into(answer))["Messages"]
    return str(message.get("Attributes", {}).get("AWSTraceHeader", ""))


def test_a_message_carries_the_trace_it_was_sent_in() -> None:
    traces = Traces()
    traces.remember("/", {"x-amzn-trace-id": TRACE}, b'{"MessageId": "m-1", "MD5OfMessageBody": "..."}')
    assert given_on(traces, received()) == TRACE
    assert given_on(traces, received(MessageId="m-2")) == ""


def test_a_notification_carries_the_trace_it_was_published_in() -> None:
    traces = Traces()
    traces.remember("/", {"x-amzn-trace-id": TRACE}, b"<PublishResult><MessageId>n-1</MessageId></PublishResult>")
    body = json.dumps({"Type": "Notification", "MessageId": "n-1", "Message": "hello"})
    assert given_on(traces, received(Body=body)) == TRACE


def test_what_tells_of_an_object_carries_the_trace_it_was_put_in() -> None:
    traces = Traces()
    traces.remember("/uploads/a b/ü.jpg", SENT_ON, b"")
    told = {"bucket": {"name": "uploads"}, "object": {"key": "a+b/%C3%BC.jpg"}}
    assert given_on(traces, received(Body=json.dumps({"Records": [{"s3": told}]}))) == SENT_ON["x-amzn-trace-id"]
    told["object"]["key"] = "another"
    assert given_on(traces, received(Body=json.dumps({"Records": [{"s3": told}]}))) == ""


def test_messages_of_any_form_are_left_as_they_are() -> None:
    traces = Traces()
    answer = received(Body="[1, 2]")
    assert traces.put_into(answer) is answer
    traces.remember("/", {"x-amzn-trace-id": TRACE}, b'{"MessageId": "other"}')
    for body in ("[1, 2]", "no json", '{"Records": []}', '{"Records": [{"s3": 1}]}', "7"):
        assert given_on(traces, received(Body=body)) == ""


def test_only_chains_of_runs_are_remembered_and_not_too_many() -> None:
    traces = Traces()
    traces.remember("/", {"x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793"}, b'{"MessageId": "m-1"}')
    traces.remember("/", {}, b'{"MessageId": "m-1"}')
    assert given_on(traces, received()) == ""
    for number in range(REMEMBERED_MAX + 1):
        traces.remember("/", {"x-amzn-trace-id": TRACE}, b'{"MessageId": "m-%d"}' % number)
    assert given_on(traces, received(MessageId="m-0")) == ""
    assert given_on(traces, received(MessageId="m-1")) == TRACE


def test_the_event_knows_how_many_runs_led_to_it() -> None:
    event = Event(id="1", function="f", payload=b"{}")
    assert led_to_by({"Attributes": {}}, event) is event
    led = led_to_by({"Attributes": {"AWSTraceHeader": TRACE}}, event)
    assert (led.hops, led.headers) == (6, (("x-amzn-trace-id", TRACE),))
    assert hops_of(SENT_ON["x-amzn-trace-id"]) == 6


def test_a_batch_belongs_to_the_longest_chain_among_its_messages() -> None:
    short = TRACE.replace(":5", ":1")
    batch = [{"Attributes": {"AWSTraceHeader": short}}, {"Attributes": {"AWSTraceHeader": TRACE}}, {"Attributes": {}}]
    assert trace_of(batch) == [("x-amzn-trace-id", TRACE)]
    assert trace_of([{}]) == []
