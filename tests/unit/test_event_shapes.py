"""Events of AWS services have AWS's fields, each of AWS's type; `golden/event_shapes.json` says which those are.

The shapes hold facts alone: which fields the samples of AWS's own tools (sam local generate-event, aws-lambda-go) and
of Powertools have always, and which sometimes. A name that is the user's (an attribute, a column) is `*`.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from aws_lambda_powertools.utilities.data_classes import (
    ALBEvent,
    APIGatewayProxyEventV2,
    DynamoDBStreamEvent,
    EventBridgeEvent,
    S3Event,
    SNSEvent,
    SQSEvent,
)
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from peaker.cli.invoke import command
from peaker.errors import SampleEventError
from peaker.functions.context import ACCOUNT_ID
from peaker.wire import dynamodb, eventbridge, s3, sns, sqs
from peaker.wire.aws_event import to_payload
from peaker.wire.samples import SAMPLES, sample_event

GOLDEN = Path(__file__).parents[1] / "golden"
SHAPES: dict[str, dict[str, dict[str, str]]] = json.loads((GOLDEN / "event_shapes.json").read_text(encoding="utf-8"))
MOMENT_S = datetime(2030, 1, 31, 9, tzinfo=UTC).timestamp() + 0.25
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"

_TYPES = {str: "text", int: "number", float: "number", bool: "true or false", type(None): "null"}


def fields_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from fields_of(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from fields_of(inner, f"{path}[]")
    else:
        kind = {dict: "empty object", list: "empty list"}.get(type(value)) or _TYPES[type(value)]
        yield (f"{path}[]" if value == [] else path), kind


def shape_of(event: Any) -> dict[str, str]:
    shape = {}
    for field, kind in fields_of(event):
        plain = re.sub(r"\.(Keys|NewImage|OldImage)\..*", r".\1.*", field)
        plain = re.sub(r"\.(messageAttributes|MessageAttributes)\.[^.]+\.", r".\1.*.", plain)
        shape[plain] = kind
    return shape


def assert_is_aws(event: Any, name: str, *, may_lack: tuple[str, ...] = ()) -> None:
    shape, aws = shape_of(event), SHAPES[name]
    always = {field: kind for field, kind in aws["always"].items() if not field.startswith(may_lack or "\0")}
    assert {field: shape.get(field) for field in always} == always
    extra = {field: kind for field, kind in shape.items() if field not in always}
    assert extra.items() <= (aws["sometimes"] | aws["always"]).items()


@pytest.mark.parametrize("name", SHAPES)
def test_a_sample_event_has_awss_fields_each_of_awss_type(name: str) -> None:
    assert_is_aws(sample_event(name, {}, MOMENT_S), name)


def test_sample_events_are_the_golden_ones() -> None:
    golden = json.loads((GOLDEN / "sample_events.json").read_text(encoding="utf-8"))

    assert {name: sample_event(name, {}, MOMENT_S) for name in SAMPLES} == golden


def test_powertools_reads_every_sample() -> None:
    def made(name: str, **given: str) -> Any:
        return json.loads(to_payload(sample_event(name, given, MOMENT_S)))

    assert S3Event(made("s3-put", key="a b/ü.jpg", size="7")).object_key == "a b/ü.jpg"
    assert S3Event(made("s3-delete", bucket="other")).bucket_name == "other"
    assert [record.body for record in SQSEvent(made("sqs", body="x", count="3")).records] == ["x"] * 3
    assert next(SQSEvent(made("sqs-fifo", group="g")).records).attributes.message_group_id == "g"
    assert SNSEvent(made("sns", message="hi")).sns_message == "hi"
    names = [record.event_name.name for record in DynamoDBStreamEvent(made("dynamodb-update")).records]  # type: ignore[union-attr]
    assert names == ["INSERT", "MODIFY", "REMOVE"]
    assert EventBridgeEvent(made("eventbridge-scheduled", rule="r")).resources[0].endswith("rule/r")
    assert EventBridgeEvent(made("eventbridge", detail='{"a": 1}')).detail == {"a": 1}
    assert APIGatewayProxyEventV2(made("http-api", path="/a?b=1")).query_string_parameters == {"b": "1"}
    assert ALBEvent(made("alb", method="POST", body="{}")).http_method == "POST"


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("s3", {}, "there is no sample event 's3'"),
        ("sqs", {"que": "a"}, "sqs has no parameter 'que'. Did you mean 'queue'?"),
        ("sqs", {"count": "0"}, "count = '0' is not allowed; allowed: 1 to 10,000."),
        ("s3-put", {"size": "big"}, "size = 'big' is not allowed; allowed: 0 to"),
        ("eventbridge", {"detail": "{"}, "detail = '{' is not JSON"),
        ("http-api", {"path": "x"}, "path = 'x' is not allowed; allowed: ASCII that begins with /."),
    ],
)
def test_what_no_sample_has_is_refused_by_name(name: str, given: dict[str, str], told: str) -> None:
    with pytest.raises(SampleEventError) as refused:
        sample_event(name, given, MOMENT_S)

    assert told in str(refused.value)


def test_the_command_lists_and_prints_samples() -> None:
    def run(*arguments: str) -> str:
        return CliRunner().invoke(command, list(arguments), catch_exceptions=False, standalone_mode=False).output

    assert set(json.loads(run("--event", "list", "--json"))) == set(SAMPLES)
    assert "s3-put" in run("--event", "list")
    printed = json.loads(run("--event", "s3-put", "--set", "bucket=mine", "--set", "key=a=b.jpg", "--print"))
    assert printed["Records"][0]["s3"]["bucket"]["name"] == "mine"
    assert printed["Records"][0]["s3"]["object"]["key"] == "a%3Db.jpg"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["f", "{}", "--event", "sqs"], "there are two events"),
        (["f", "--set", "a=b"], "--set is for a sample event"),
        (["f", "--event", "sqs", "--set", "body"], "'body' is not of the form NAME=VALUE"),
        (["--event", "sqs"], "Missing argument 'FUNCTION'"),
        ([], "Missing argument 'FUNCTION'"),
    ],
)
def test_a_wrong_command_line_is_told(arguments: list[str], told: str) -> None:
    ran = CliRunner().invoke(command, arguments)

    assert ran.exit_code == 2
    assert told in ran.output


@given(key=st.text(min_size=1).filter(lambda key: key.isprintable()))
def test_a_handler_gets_any_key_back_by_unquote_plus(key: str) -> None:
    change = s3.ObjectChange(name="ObjectCreated:Put", bucket="b-1", key=key, epoch_s=0, sequencer="0A", size=0)
    record = s3.event([change])["Records"][0]

    assert unquote_plus(record["s3"]["object"]["key"]) == key
    assert record["s3"]["object"]["key"].isascii()


def test_a_record_of_s3_tells_version_time_and_removal() -> None:
    put = s3.ObjectChange(
        name="ObjectCreated:Put",
        bucket="b-1",
        key="a",
        epoch_s=MOMENT_S,
        sequencer="0A",
        size=5,
        etag="e",
        version_id="v",
    )
    gone = s3.ObjectChange(name="ObjectRemoved:Delete", bucket="b-1", key="a", epoch_s=MOMENT_S, sequencer="0B")

    assert_is_aws(s3.event([put]), "s3-put")
    assert_is_aws(s3.event([gone]), "s3-delete")
    assert s3.event([put])["Records"][0]["eventTime"] == "2030-01-31T09:00:00.250Z"


def test_a_message_as_boto3_gives_it_becomes_awss_record() -> None:
    record = sqs.record_of(
        {
            "MessageId": "m",
            "ReceiptHandle": "r",
            "Body": "ü",
            "MD5OfMessageAttributes": "0" * 32,
            "Attributes": {
                "ApproximateReceiveCount": "2",
                "SentTimestamp": "1",
                "SenderId": "s",
                "ApproximateFirstReceiveTimestamp": "2",
            },
            "MessageAttributes": {
                "text": {"StringValue": "1", "DataType": "Number"},
                "bytes": {"BinaryValue": b"\x00\xff", "DataType": "Binary"},
            },
        },
        QUEUE,
    )

    assert_is_aws(sqs.event([record]), "sqs-fifo", may_lack=("Records[].attributes", "Records[].messageAttributes"))
    assert record["messageAttributes"]["text"]["stringValue"] == "1"
    assert b64decode(record["messageAttributes"]["bytes"]["binaryValue"]) == b"\x00\xff"
    assert (record["awsRegion"], record["eventSourceARN"]) == ("eu-west-1", QUEUE)
    assert record["md5OfBody"] == "c03410a5204b21cd8229ff754688d743"  # md5sum of its two UTF-8 bytes
    with pytest.raises(KeyError):
        sqs.record_of({"MessageId": "m"}, QUEUE)


def test_a_notification_as_an_endpoint_gets_it_becomes_awss_record() -> None:
    record = sns.record_of(
        {
            "Type": "Notification",
            "MessageId": "m",
            "TopicArn": "arn:aws:sns:eu-west-1:123456789012:t",
            "Subject": "s",
            "Message": "hello",
            "Timestamp": "2030-01-31T09:00:00.250Z",
            "SignatureVersion": "1",
            "Signature": "x",
            "SigningCertURL": "https://a",
            "UnsubscribeURL": "https://b",
            "MessageAttributes": {"kind": {"Type": "String", "Value": "order"}},
        },
        "arn:aws:sns:eu-west-1:123456789012:t:1",
    )

    assert_is_aws(sns.event([record]), "sns")
    assert (record["Sns"]["SigningCertUrl"], record["Sns"]["UnsubscribeUrl"]) == ("https://a", "https://b")


def test_a_change_as_boto3_gives_it_becomes_awss_record() -> None:
    record = dynamodb.record_of(
        {
            "eventID": "1",
            "eventName": "REMOVE",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"},
            "dynamodb": {
                "ApproximateCreationDateTime": datetime.fromtimestamp(MOMENT_S, UTC),
                "Keys": {"id": {"B": b"\x01"}},
                "NewImage": {"all": {"L": [{"BS": [b"\x01", b"\x02"]}, {"M": {"n": {"NULL": True}}}]}},
                "OldImage": {"id": {"S": "x"}},
                "SequenceNumber": "5",
                "SizeBytes": 9,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        },
        "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/1",
    )

    assert record["dynamodb"]["Keys"] == {"id": {"B": "AQ=="}}
    assert record["dynamodb"]["NewImage"]["all"]["L"] == [{"BS": ["AQ==", "Ag=="]}, {"M": {"n": {"NULL": True}}}]
    record["dynamodb"]["NewImage"] = {"id": {"S": "x"}}
    assert_is_aws(dynamodb.event([record]), "dynamodb-update")


def test_a_schedules_event_is_eventbridges() -> None:
    event = eventbridge.scheduled("nightly", event_id="1", epoch_s=MOMENT_S, account=ACCOUNT_ID, region="eu-west-1")

    assert_is_aws(event, "eventbridge-scheduled")
    assert (event["time"], event["version"], event["source"]) == ("2030-01-31T09:00:00Z", "0", "aws.events")


BATCH = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("answer", "of_queue", "of_table"),
    [
        (None, [], []),
        ({}, [], []),
        ("fine", [], []),
        ({"batchItemFailures": None}, [], []),
        ({"batchItemFailures": []}, [], []),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, ["b"], ["b", "c"]),
        ({"batchItemFailures": [{"itemIdentifier": "c"}, {"itemIdentifier": "a"}]}, ["a", "c"], BATCH),
        ({"batchItemFailures": [{"itemIdentifier": "z"}]}, BATCH, BATCH),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, BATCH, BATCH),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, BATCH, BATCH),
        ({"batchItemFailures": [{"itemIdentifier": ["a"]}]}, BATCH, BATCH),
        ({"batchItemFailures": [{"id": "a"}]}, BATCH, BATCH),
        ({"batchItemFailures": ["a"]}, BATCH, BATCH),
        ({"batchItemFailures": "a"}, BATCH, BATCH),
    ],
)
def test_partial_failures_are_read_as_lambda_reads_them(answer: Any, of_queue: list[str], of_table: list[str]) -> None:
    assert sorted(sqs.failed_ids(answer, BATCH)) == of_queue
    assert dynamodb.failed_ids(answer, BATCH) == of_table
