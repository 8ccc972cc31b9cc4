"""Handlers as people write them, with boto3 and Powertools, unchanged."""

import json
import os
from urllib.parse import unquote_plus

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
)
from local_aws_light import note

s3 = boto3.client("s3")
processor = BatchProcessor(event_type=EventType.SQS)
persistence = DynamoDBPersistenceLayer(table_name="idempotency")


def copy(event, context):
    """What was uploaded, in capitals, beside the names of the variables that lead to AWS."""
    described = event["Records"][0]["s3"]
    key = unquote_plus(described["object"]["key"])
    body = s3.get_object(Bucket=described["bucket"]["name"], Key=key)["Body"].read()
    s3.put_object(Bucket="capitals", Key=key, Body=body.upper())
    named = {name: os.environ[name] for name in os.environ if name.startswith("AWS_") and "SECRET" not in name}
    note("copied", key=key, named=named)


def one(record):
    payload = json.loads(record.body)
    note("powertools", payload=payload)
    if payload.get("bad"):
        raise ValueError("bad")


def batch(event, context):
    return process_partial_response(event=event, record_handler=one, processor=processor, context=context)


@idempotent(persistence_store=persistence, config=IdempotencyConfig(event_key_jmespath="order"))
def charge(event, context):
    note("charged", order=event["order"])
    return {"charged": event["order"]}


def call(event, context):
    """One function calls another by boto3."""
    answer = boto3.client("lambda").invoke(FunctionName="charge", Payload=json.dumps({"order": event["order"]}))
    return json.loads(answer["Payload"].read())
