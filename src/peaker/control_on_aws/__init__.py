"""Control on AWS: a function that a schedule starts every minute, `peaker.control_on_aws.handler`.

It steers an app's servers with the policy that steers them on one machine. boto3 is the runtime's own; it is imported
when the first event comes, and kept with its clients for the next.
"""

from __future__ import annotations

import os
import time
from typing import Any

_clients: dict[str, Any] = {}


def client(service: str) -> Any:
    """boto3's client of a service, made once."""
    if service not in _clients:
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 3})
        _clients[service] = boto3.client(service, config=config)
    return _clients[service]


def handler(event: Any, context: Any) -> dict[str, Any] | None:
    """One step; what was done is in the journal, and in the function's log."""
    del event, context  # A schedule tells nothing but the time.
    from peaker.control_on_aws.fleet import AwsFleet
    from peaker.control_on_aws.memory import Memory
    from peaker.control_on_aws.step import take_step
    from peaker.control_on_aws.task import Task

    task = Task.from_json(os.environ.get("PEAKER_CONTROL", ""))
    return take_step(
        task,
        cloudwatch=client("cloudwatch"),
        fleet=AwsFleet(client, task),
        memory=Memory(client("dynamodb"), task.table),
        now_s=time.time(),
    )
