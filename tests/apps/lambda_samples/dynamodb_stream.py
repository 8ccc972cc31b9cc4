"""A DynamoDB stream: what has changed, as Python values; the answer holds their Decimals."""

from boto3.dynamodb.types import TypeDeserializer

deserializer = TypeDeserializer()


def plain(image):
    return {name: deserializer.deserialize(value) for name, value in image.items()}


def lambda_handler(event, context):
    changes = {"INSERT": [], "MODIFY": [], "REMOVE": []}
    for record in event["Records"]:
        image = record["dynamodb"].get("NewImage") or record["dynamodb"]["OldImage"]
        changes[record["eventName"]].append(plain(image))
    return changes
