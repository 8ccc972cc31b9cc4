"""structlog, one JSON object a line, with the request id bound."""

import logging

import structlog

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.PrintLoggerFactory(),
    cache_logger_on_first_use=True,
)
log = structlog.get_logger()


def lambda_handler(event, context):
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=context.aws_request_id)
    log.debug("not shown")
    log.info("received", keys=sorted(event))
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
