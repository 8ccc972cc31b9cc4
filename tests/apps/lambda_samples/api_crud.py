"""An HTTP API in front of a DynamoDB table, after the tutorial in the API Gateway developer guide."""

import json
import os

import boto3

dynamodb = boto3.resource("dynamodb")
table = dynamodb.Table(os.environ.get("TABLE_NAME", "http-crud-tutorial-items"))


def lambda_handler(event, context):
    status, headers = 200, {"Content-Type": "application/json"}
    route = event["routeKey"]
    try:
        if route == "DELETE /items/{id}":
            table.delete_item(Key={"id": event["pathParameters"]["id"]})
            body = f"Deleted item {event['pathParameters']['id']}"
        elif route == "GET /items/{id}":
            item = table.get_item(Key={"id": event["pathParameters"]["id"]})["Item"]
            body = {"price": float(item["price"]), "id": item["id"], "name": item["name"]}
        elif route == "GET /items":
            body = [{"price": float(i["price"]), "id": i["id"], "name": i["name"]} for i in table.scan()["Items"]]
        elif route == "PUT /items":
            request = json.loads(event["body"])
            from decimal import Decimal

            table.put_item(Item={"id": request["id"], "price": Decimal(str(request["price"])), "name": request["name"]})
            body = f"Put item {request['id']}"
        else:
            status, body = 400, f"Unsupported route: {route}"
    except KeyError:
        status, body = 404, "Not found"
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
