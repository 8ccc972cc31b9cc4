"""Powertools: event handler, logger, tracer and metrics together, as its documentation shows them."""

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit

tracer = Tracer(service="shop")
logger = Logger(service="shop")
metrics = Metrics(namespace="Shop", service="shop")
app = APIGatewayHttpResolver()
items = {"1": {"id": "1", "name": "seat"}}


@app.get("/items/<item_id>")
@tracer.capture_method
def get_item(item_id: str):
    metrics.add_metric(name="ItemRead", unit=MetricUnit.Count, value=1)
    logger.info("reading", extra={"item_id": item_id})
    if item_id not in items:
        raise NotFoundError(f"no item {item_id}")
    return items[item_id]


@app.post("/items")
def create_item():
    item = app.current_event.json_body
    items[item["id"]] = item
    return Response(status_code=201, content_type="application/json", body=app._serializer(item))


@app.exception_handler(ValueError)
def wrong(error: ValueError):
    return Response(status_code=400, content_type="text/plain", body=str(error))


@app.get("/fails")
def fails():
    raise ValueError("as planned")


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP, clear_state=True)
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event, context):
    return app.resolve(event, context)
