"""Sample events of AWS services, for trying a function out: the shapes are those that the services send."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from peaker.errors import SampleEventError
from peaker.messages import JSONValue, Request
from peaker.section_reader import suggestion
from peaker.wire import alb, dynamodb, eventbridge, http_api, s3, sns, sqs
from peaker.wire.aws_event import time_ms

RECORDS_MAX = 10_000
_ACCOUNT = "123456789012"
_REGION = "us-east-1"
_NAMESPACE = uuid.UUID("0f9e6a54-3f0b-4f57-8f10-5a5c1a6f2c11")

Parameters = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One kind of event: what may be set in it, with defaults, and how it is made at an epoch second."""

    help: str
    defaults: dict[str, str]
    make: Callable[[Parameters, float], JSONValue]


def sample_event(name: str, given: Parameters, epoch_s: float) -> JSONValue:
    """The event called `name` (a key of SAMPLES) with what is `given` in place of the defaults.

    Raises:
        SampleEventError: there is no such event, it has no such parameter, or a value is of another form.
    """
    sample = SAMPLES.get(name)
    if sample is None:
        raise SampleEventError(f"there is no sample event {name!r}.{suggestion(name, list(SAMPLES))}")
    for key in given:
        if key not in sample.defaults:
            raise SampleEventError(f"{name} has no parameter {key!r}.{suggestion(key, list(sample.defaults))}")
    return sample.make({**sample.defaults, **given}, epoch_s)


def _number(parameters: Parameters, name: str, low: int, high: int) -> int:
    text = parameters[name]
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise SampleEventError(f"{name} = {text!r} is not allowed; allowed: {low:,} to {high:,}.")
    return int(text)


def _json(parameters: Parameters, name: str) -> JSONValue:
    try:
        return json.loads(parameters[name])
    except ValueError as error:
        raise SampleEventError(f"{name} = {parameters[name]!r} is not JSON: {error}.") from error


def _id(*parts: str) -> str:
    """The same id for the same sample: what is printed today can be compared with what is printed tomorrow."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


def _object_event(name: str) -> Callable[[Parameters, float], JSONValue]:
    is_new = name.startswith(s3.CREATED)

    def make(parameters: Parameters, epoch_s: float) -> JSONValue:
        change = s3.ObjectChange(
            name=name,
            bucket=parameters["bucket"],
            key=parameters["key"],
            epoch_s=epoch_s,
            sequencer="0062E99A88DC407460",
            size=_number(parameters, "size", 0, 5 * 1024**4) if is_new else None,
            etag=sqs.md5_of(parameters["key"]) if is_new else "",
            region=parameters["region"],
            request_id="C3D13FE58DE4C810",
            principal="EXAMPLE",
            configuration_id="sample",
        )
        return s3.event([change])

    return make


_OBJECT = {"bucket": "uploads", "key": "photo.jpg"}


def _sqs(parameters: Parameters, epoch_s: float) -> JSONValue:
    queue = parameters["queue"]
    sent_ms = int(epoch_s * 1000)
    records = []
    for number in range(_number(parameters, "count", 1, RECORDS_MAX)):
        attributes = {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(sent_ms),
            "SenderId": "AIDAEXAMPLE",
            "ApproximateFirstReceiveTimestamp": str(sent_ms + 1),
        }
        if "group" in parameters:
            attributes["SequenceNumber"] = f"{18_849_496_460_467_696_128 + number * 256}"
            attributes["MessageGroupId"] = parameters["group"]
            attributes["MessageDeduplicationId"] = _id(queue, "dedup", str(number))
        message = {
            "MessageId": _id(queue, str(number)),
            "ReceiptHandle": "MessageReceiptHandle",
            "Body": parameters["body"],
            "Attributes": attributes,
        }
        records.append(sqs.record_of(message, f"arn:aws:sqs:{parameters['region']}:{_ACCOUNT}:{queue}"))
    return sqs.event(records)


def _sns(parameters: Parameters, epoch_s: float) -> JSONValue:
    topic = f"arn:aws:sns:{parameters['region']}:{_ACCOUNT}:{parameters['topic']}"
    host = f"https://sns.{parameters['region']}.amazonaws.com"
    notification: dict[str, Any] = {
        "MessageId": _id(topic, parameters["message"]),
        "TopicArn": topic,
        "Subject": parameters["subject"] or None,
        "Message": parameters["message"],
        "Timestamp": time_ms(epoch_s),
        "Signature": "EXAMPLE",
        "SigningCertURL": f"{host}/SimpleNotificationService-EXAMPLE.pem",
        "UnsubscribeURL": f"{host}/?Action=Unsubscribe&SubscriptionArn={topic}:EXAMPLE",
        "MessageAttributes": {
            "Test": {"Type": "String", "Value": "TestString"},
            "TestBinary": {"Type": "Binary", "Value": "VGVzdEJpbmFyeQ=="},
        },
    }
    return sns.event([sns.record_of(notification, f"{topic}:{_id(topic)}")])


def _dynamodb(parameters: Parameters, epoch_s: float) -> JSONValue:
    """An item put in, changed and taken away."""
    key = {parameters["key"]: {"S": parameters["value"]}}
    old = {**key, "message": {"S": "New item!"}}
    new = {**key, "message": {"S": "This item has changed"}}
    changes: list[tuple[str, dict[str, Any]]] = [
        ("INSERT", {"NewImage": old}),
        ("MODIFY", {"NewImage": new, "OldImage": old}),
        ("REMOVE", {"OldImage": new}),
    ]
    arn = (
        f"arn:aws:dynamodb:{parameters['region']}:{_ACCOUNT}:table/{parameters['table']}/stream/2030-01-01T00:00:00.000"
    )
    records = []
    for number, (name, images) in enumerate(changes):
        described = {
            "ApproximateCreationDateTime": epoch_s,
            "Keys": key,
            **images,
            "SequenceNumber": f"{4_421_584_500_000_000_017_450_439_091 + number}",
            "SizeBytes": len(json.dumps(images)),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        event_id = uuid.UUID(_id(arn, str(number))).hex
        records.append(dynamodb.record_of({"eventID": event_id, "eventName": name, "dynamodb": described}, arn))
    return dynamodb.event(records)


def _scheduled(parameters: Parameters, epoch_s: float) -> JSONValue:
    rule, region = parameters["rule"], parameters["region"]
    return eventbridge.scheduled(rule, event_id=_id(rule), epoch_s=epoch_s, account=_ACCOUNT, region=region)


def _bus_event(parameters: Parameters, epoch_s: float) -> JSONValue:
    return eventbridge.event(
        parameters["detail-type"],
        parameters["source"],
        _json(parameters, "detail"),
        event_id=_id(parameters["source"], parameters["detail-type"]),
        epoch_s=epoch_s,
        account=_ACCOUNT,
        region=parameters["region"],
    )


def _web_event(make: Callable[..., bytes]) -> Callable[[Parameters, float], JSONValue]:
    def sample(parameters: Parameters, epoch_s: float) -> JSONValue:
        path, _, query = parameters["path"].partition("?")
        if not (path.startswith("/") and path.isascii()):
            raise SampleEventError(f"path = {parameters['path']!r} is not allowed; allowed: ASCII that begins with /.")
        body = parameters["body"].encode()
        headers = [
            (b"host", b"example.com"),
            (b"user-agent", b"peaker-sample"),
            (b"x-forwarded-for", b"203.0.113.9"),
            (b"x-forwarded-port", b"443"),
            (b"x-forwarded-proto", b"https"),
        ]
        if body:
            headers += [
                (b"content-type", parameters["content-type"].encode()),
                (b"content-length", str(len(body)).encode()),
            ]
        request = Request(
            method=parameters["method"].upper(),
            raw_path=path.encode(),
            query_string=query.encode(),
            headers=tuple(headers),
            body=body,
            scheme="https",
            client=("203.0.113.9", 50_000),
        )
        event = json.loads(make(request, request_id=_id(path), epoch_s=epoch_s))
        del event["requestContext"]["peaker"]  # a gateway of AWS has no such notes
        return event

    return sample


_REQUEST = {"method": "GET", "path": "/", "body": "", "content-type": "application/json"}

SAMPLES: dict[str, Sample] = {
    "s3-put": Sample(
        "an object was put into a bucket",
        {**_OBJECT, "size": "1024", "region": _REGION},
        _object_event(f"{s3.CREATED}:Put"),
    ),
    "s3-delete": Sample(
        "an object was taken away", {**_OBJECT, "region": _REGION}, _object_event(f"{s3.REMOVED}:Delete")
    ),
    "sqs": Sample(
        "a batch of messages of a queue",
        {"body": "Hello from SQS!", "queue": "my-queue", "count": "1", "region": _REGION},
        _sqs,
    ),
    "sqs-fifo": Sample(
        "a batch of messages of a FIFO queue",
        {"body": "Hello from SQS!", "queue": "my-queue.fifo", "group": "group-1", "count": "1", "region": _REGION},
        _sqs,
    ),
    "sns": Sample(
        "a message to a topic",
        {"message": "Hello from SNS!", "subject": "TestInvoke", "topic": "my-topic", "region": _REGION},
        _sns,
    ),
    "dynamodb-update": Sample(
        "an item was put into a table, changed and taken away",
        {"table": "my-table", "key": "id", "value": "101", "region": _REGION},
        _dynamodb,
    ),
    "eventbridge-scheduled": Sample("a schedule is due", {"rule": "my-rule", "region": _REGION}, _scheduled),
    "eventbridge": Sample(
        "an event of a bus",
        {"source": "my.app", "detail-type": "Something Happened", "detail": "{}", "region": _REGION},
        _bus_event,
    ),
    "http-api": Sample("a request through an HTTP API, payload 2.0", _REQUEST, _web_event(http_api.request_to_event)),
    "alb": Sample("a request through a load balancer", _REQUEST, _web_event(alb.request_to_event)),
}
