"""An EventBridge schedule; keeps what is dear in the instance."""

import datetime
import os

started = datetime.datetime.now(datetime.timezone.utc)
runs = 0


def lambda_handler(event, context):
    global runs
    runs += 1
    when = datetime.datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
    rule = event["resources"][0].split("/")[-1]
    return {"rule": rule, "hour": when.hour, "runs": runs, "stage": os.environ["STAGE"]}
