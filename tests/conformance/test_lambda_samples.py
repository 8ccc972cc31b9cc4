"""Handlers in the styles AWS documents, with the libraries people use in them, run unmodified through boto3.

The samples stand in `tests/apps/lambda_samples` and know nothing of Peaker; events have the shapes AWS sends.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from stand_in_aws import StandInAws, stand_in_aws

from peaker.settings import FunctionSection, FunctionsSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost

SAMPLES = Path(__file__).parents[1] / "apps" / "lambda_samples"
HANDLERS = {path.stem: f"{path.stem}.lambda_handler" for path in SAMPLES.glob("*.py")} | {
    "asks_in_parallel": "asks_in_parallel.kept_loop",
    "asks_in_new_loop": "asks_in_parallel.new_loop",
}


@dataclass(frozen=True)
class Ran:
    """One invocation: its value, its error, its log."""

    value: Any
    error: str | None
    log: list[str]


class Samples:
    """A host with every sample."""

    def __init__(self, host: RunningHost, aws: StandInAws) -> None:
        self.host = host
        self.aws = aws
        self._client = boto3.client(
            "lambda",
            endpoint_url=host.url,
            region_name="eu-central-1",
            aws_access_key_id=host.key.access_key_id,
            aws_secret_access_key=host.key.secret_access_key,
            config=botocore.config.Config(retries={"max_attempts": 0}),
        )

    def run(self, name: str, event: Any) -> Ran:
        reply = self._client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
        log = base64.b64decode(reply["LogResult"]).decode().splitlines()
        return Ran(json.loads(reply["Payload"].read()), reply.get("FunctionError"), log)

    def value(self, name: str, event: Any) -> Any:
        ran = self.run(name, event)
        assert ran.error is None, ran
        return ran.value


@pytest.fixture(scope="module")
def samples() -> Iterator[Samples]:
    with stand_in_aws() as aws:
        settings = Settings(
            functions=FunctionsSection(memory_mb=512, timeout_s=20.0),
            servers=ServersSection(drain_s_max=5.0),
            function=tuple(FunctionSection(name=name, handler=handler) for name, handler in HANDLERS.items()),
            env={
                "AWS_ENDPOINT_URL": aws.url,
                "AWS_ACCESS_KEY_ID": "any",
                "AWS_SECRET_ACCESS_KEY": "any",
                "AWS_REGION": "eu-central-1",
                "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
                "POWERTOOLS_TRACE_DISABLED": "true",
                "STAGE": "test",
            },
            directory=str(SAMPLES),
        )
        with RunningHost(settings) as host:
            yield Samples(host, aws)


def test_an_s3_trigger_makes_a_smaller_picture(samples: Samples) -> None:
    pixels = bytes(range(4 * 4 * 3))
    samples.aws.objects["photos/in/a picture.ppm".replace(" ", "%20")] = b"P6\n4 4\n255\n" + pixels
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "photos", "arn": "arn:aws:s3:::photos"},
            "object": {"key": "in/a+picture.ppm", "size": 59, "sequencer": "0A1B2C3D4E5F678901"},
        },
    }
    assert samples.value("s3_thumbnail", {"Records": [record]}) == {"made": ["photos-resized/in/a picture.ppm"]}
    made = samples.aws.objects["photos-resized/in/a%20picture.ppm"]
    assert made == b"P6\n2 2\n255\n" + pixels[0:3] + pixels[6:9] + pixels[24:27] + pixels[30:33]


def sqs_event(*bodies: Any) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
                "body": json.dumps(body),
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"},
                "messageAttributes": {},
                "md5OfBody": "-",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:orders",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def test_an_sqs_batch_reports_its_failures(samples: Samples) -> None:
    event = sqs_event({"id": 1, "quantity": 2}, {"id": 2, "quantity": 0}, {"id": 3, "quantity": 1})
    ran = samples.run("sqs_batch", event)
    assert ran.value == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert "order 1 processed" in ran.log


def http_event(method: str, path: str, route: str = "", body: Any = None, **path_parameters: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "routeKey": route or "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "api.example"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.example",
            "domainPrefix": "api",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "t"},
            "requestId": "request-of-the-gateway",
            "routeKey": route or "$default",
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1767225600000,
        },
        "pathParameters": path_parameters,
        "body": json.dumps(body) if body is not None else None,
        "isBase64Encoded": False,
    }


def test_an_http_api_over_a_table_creates_reads_and_deletes(samples: Samples) -> None:
    item = {"id": "a1", "price": 12.5, "name": "seat"}

    def asked(method: str, route: str, body: Any = None, **path: str) -> tuple[int, Any]:
        answer = samples.value("api_crud", http_event(method, "/items", route, body, **path))
        return answer["statusCode"], json.loads(answer["body"])

    assert asked("PUT", "PUT /items", item) == (200, "Put item a1")
    assert samples.aws.items["a1"]["price"] == {"N": "12.5"}
    assert asked("GET", "GET /items/{id}", id="a1") == (200, item)
    assert asked("GET", "GET /items") == (200, [item])
    assert asked("DELETE", "DELETE /items/{id}", id="a1") == (200, "Deleted item a1")
    assert asked("GET", "GET /items/{id}", id="a1")[0] == 404


def test_a_dynamodb_stream_keeps_every_digit(samples: Samples) -> None:
    def record(name: str, image: str, price: str) -> dict[str, Any]:
        return {
            "eventID": "1",
            "eventName": name,
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "Keys": {"Id": {"N": "101"}},
                image: {"Id": {"N": "101"}, "Price": {"N": price}, "Tags": {"L": [{"S": "ü"}, {"NULL": True}]}},
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }

    event = {
        "Records": [record("INSERT", "NewImage", "0.1000000000000000000000000001"), record("REMOVE", "OldImage", "2")]
    }
    changes = samples.value("dynamodb_stream", event)
    assert changes["INSERT"] == [{"Id": 101, "Price": 0.1000000000000000000000000001, "Tags": ["ü", None]}]
    assert changes["REMOVE"][0]["Price"] == 2


def test_an_sns_trigger_logs_at_the_level_it_set(samples: Samples) -> None:
    sns = {"MessageId": "m-1", "Message": "grüße", "Subject": None, "TopicArn": "arn:aws:sns:eu-central-1:1:t"}
    ran = samples.run("sns_notify", {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns}]})
    assert ran.value is None
    assert any(re.fullmatch(r"\[INFO\]\t\S+Z\t\S+\tProcessed message m-1: grüße", line) for line in ran.log)


def test_a_schedule_finds_its_instance_again(samples: Samples) -> None:
    event = {
        "version": "0",
        "id": "cdc73f9d-aea9-11e3-9d5a-835b769c0d9c",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-01-01T06:00:00Z",
        "region": "eu-central-1",
        "resources": ["arn:aws:events:eu-central-1:123456789012:rule/every-hour"],
        "detail": {},
    }
    first, second = (samples.value("scheduled", event) for _ in range(2))
    assert first == {"rule": "every-hour", "hour": 6, "runs": 1, "stage": "test"}
    assert second["runs"] == 2


def test_a_kinesis_stream_stops_at_what_it_cannot_read(samples: Samples) -> None:
    def record(number: int, data: bytes) -> dict[str, Any]:
        kinesis = {
            "partitionKey": "p",
            "sequenceNumber": str(number),
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": 1767225600.0,
        }
        return {"kinesis": kinesis, "eventSource": "aws:kinesis", "eventName": "aws:kinesis:record"}

    good = {"Records": [record(1, b'{"amount": 2}'), record(2, b'{"amount": 3}')]}
    ran = samples.run("kinesis_stream", good)
    assert (ran.value, "total 5" in ran.log) == ({"batchItemFailures": []}, True)
    bad = {"Records": [record(1, b'{"amount": 2}'), record(7, b"\xff")]}
    assert samples.value("kinesis_stream", bad) == {"batchItemFailures": [{"itemIdentifier": "7"}]}


def test_an_authorizer_answers_by_policy_or_by_exception(samples: Samples) -> None:
    arn = "arn:aws:execute-api:eu-central-1:123456789012:api/prod/GET/items"
    event = {"type": "TOKEN", "authorizationToken": "allow", "methodArn": arn}
    allowed = samples.value("authorizer", event)
    assert allowed["policyDocument"]["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": arn}
    ]
    refused = samples.run("authorizer", event | {"authorizationToken": "unauthorized"})
    assert (refused.error, refused.value["errorMessage"]) == ("Unhandled", "Unauthorized")


def test_a_step_is_retried_by_the_name_of_its_error(samples: Samples) -> None:
    failed = samples.run("step_task", {"warehouse": "w1"})
    assert (failed.value["errorType"], failed.value["errorMessage"]) == (
        "InventoryUnavailable",
        "warehouse w1 does not answer",
    )
    done = samples.value("step_task", {"warehouse": "w1", "attempt": 1})
    assert done["reserved"]
    assert 15_000 < done["remaining_ms"] <= 20_000


def test_a_cognito_trigger_answers_with_its_event(samples: Samples) -> None:
    event = {
        "version": "1",
        "region": "eu-central-1",
        "userPoolId": "eu-central-1_pool",
        "triggerSource": "PreSignUp_SignUp",
        "request": {"userAttributes": {"email": "ada@example.com"}},
        "response": {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False},
    }
    answer = samples.value("cognito_trigger", event)
    assert answer["response"] == {"autoConfirmUser": True, "autoVerifyEmail": True, "autoVerifyPhone": False}
    assert answer["userPoolId"] == "eu-central-1_pool"


def test_a_loop_made_at_import_and_loops_made_each_time_both_run(samples: Samples) -> None:
    first, second = (samples.value("asks_in_parallel", [1, 2, 3]) for _ in range(2))
    assert (first["squares"], second["squares"], second["calls"]) == ([1, 4, 9], [1, 4, 9], 2)
    assert [samples.value("asks_in_new_loop", [4, 5]) for _ in range(2)] == [[16, 25]] * 2


def test_a_handler_may_be_an_object_of_a_class(samples: Samples) -> None:
    assert samples.value("inherited", {"name": "Ada"}) == "Hello Ada, call 1"
    ran = samples.run("inherited", {"name": "Ada"})
    assert ran.value == "Hello Ada, call 2"
    assert any(line.endswith("\tGreeter runs for the 2. time") for line in ran.log)


def test_powertools_routes_logs_and_counts(samples: Samples) -> None:
    ran = samples.run("powertools_api", http_event("GET", "/items/1"))
    assert (ran.value["statusCode"], json.loads(ran.value["body"])) == (200, {"id": "1", "name": "seat"})
    objects = [json.loads(line) for line in ran.log if line.startswith("{")]
    (record,) = [one for one in objects if one.get("message") == "reading"]
    assert (record["correlation_id"], record["function_name"]) == ("request-of-the-gateway", "powertools_api")
    assert (record["item_id"], record["service"], record["cold_start"]) == ("1", "shop", True)
    metrics = [one for one in objects if "_aws" in one]
    assert {name for one in metrics for name in ("ItemRead", "ColdStart") if name in one} == {"ItemRead", "ColdStart"}

    made = samples.value("powertools_api", http_event("POST", "/items", body={"id": "2", "name": "row"}))
    assert made["statusCode"] == 201
    assert json.loads(samples.value("powertools_api", http_event("GET", "/items/2"))["body"])["name"] == "row"
    assert samples.value("powertools_api", http_event("GET", "/items/9"))["statusCode"] == 404
    assert samples.value("powertools_api", http_event("GET", "/nowhere"))["statusCode"] == 404
    failed = samples.value("powertools_api", http_event("GET", "/fails"))
    assert (failed["statusCode"], failed["body"]) == (400, "as planned")


def test_powertools_reports_the_failures_of_a_batch(samples: Samples) -> None:
    event = sqs_event({"id": 1}, {"id": 2, "fail": True}, {"id": 3})
    assert samples.value("powertools_batch", event) == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    failed = samples.run("powertools_batch", sqs_event({"id": 1, "fail": True}))
    assert failed.value["errorType"] == "BatchProcessingError"


def test_powertools_runs_the_same_order_once(samples: Samples) -> None:
    first = samples.value("powertools_idempotent", {"order_id": "o-1", "note": "first"})
    again = samples.value("powertools_idempotent", {"order_id": "o-1", "note": "second"})
    other = samples.value("powertools_idempotent", {"order_id": "o-2"})
    assert (first["payment"], again, other["payment"]) == (1, first, 2)
    failed = samples.run("powertools_idempotent", {"order_id": "o-3", "fail": True})
    assert failed.value["errorType"] == "RuntimeError"
    # A failed one is forgotten, and may be tried again.
    assert samples.value("powertools_idempotent", {"order_id": "o-3"})["payment"] == 4
    assert samples.run("powertools_idempotent", {}).value["errorType"] == "IdempotencyKeyError"


def test_the_x_ray_sdk_traces_nothing_and_breaks_nothing(samples: Samples) -> None:
    ran = samples.run("xray_traced", [1, 2, 3])
    assert (ran.error, ran.value["sum"], ran.value["sampled"]) == (None, 6, False)
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", ran.value["trace"])
    assert samples.value("xray_traced", [4])["trace"] != ran.value["trace"]
    assert not any("annot find the current segment" in line for line in ran.log)


def test_structlog_writes_one_object_a_line(samples: Samples) -> None:
    ran = samples.run("structlog_json", {"b": 1, "a": 2})
    received, failed = (json.loads(line) for line in ran.log if line.startswith("{"))
    assert (received["event"], received["keys"], received["level"]) == ("received", ["a", "b"], "info")
    assert received["request_id"] in ran.log[0]
    assert "ZeroDivisionError" in failed["exception"]


def test_only_samples_with_a_loop_of_their_own_must_be_imported_by_each_instance(samples: Samples) -> None:
    reasons = {function["name"]: function["rung_reason"] for function in samples.host.hello().details["functions"]}
    found = {name: reason for name, reason in reasons.items() if reason}
    assert set(found) == {"asks_in_parallel", "asks_in_new_loop"}
    assert all("an event loop left open" in reason for reason in found.values())
