"""An SNS trigger that logs each message."""

import logging

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def lambda_handler(event, context):
    for record in event["Records"]:
        message = record["Sns"]["Message"]
        logger.info("Processed message %s: %s", record["Sns"]["MessageId"], message)
