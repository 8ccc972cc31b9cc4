"""Sends one welcome mail to whoever signs up, however often the event comes: Powertools remembers in a table."""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent

FROM = "hello@photos.example"

ses = boto3.client("ses")
welcomed = DynamoDBPersistenceLayer(table_name="welcomed")
by_email = IdempotencyConfig(event_key_jmespath="powertools_json(Records[0].Sns.Message).email")


@idempotent(persistence_store=welcomed, config=by_email)
def welcome(event: dict[str, Any], context: Any) -> dict[str, str]:  # noqa: ARG001 - Powertools takes it from here
    email = json.loads(event["Records"][0]["Sns"]["Message"])["email"]
    if "AWS_ENDPOINT_URL" in os.environ:  # a stand-in begins without the sender that AWS has verified
        ses.verify_email_identity(EmailAddress=FROM)
    sent = ses.send_email(
        Source=FROM,
        Destination={"ToAddresses": [email]},
        Message={
            "Subject": {"Data": "Welcome"},
            "Body": {"Text": {"Data": "Good to have you. Upload your first photo!"}},
        },
    )
    return {"mail": sent["MessageId"]}
