"""Powertools: the batch utility with partial failures."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

processor = BatchProcessor(event_type=EventType.SQS)
logger = Logger(service="orders")


def record_handler(record: SQSRecord):
    order = record.json_body
    if order.get("fail"):
        raise RuntimeError("cannot be processed")
    logger.info("processed", extra={"order": order["id"]})


def lambda_handler(event, context):
    return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
