"""Work after the response, both ways: a background task of Starlette's, and an event for a function."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import boto3
from job_work import note
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

LONG = 77


@functools.cache
def functions() -> Any:
    """Made when it is first used: at the very first start there is no profile yet while this is imported."""
    return boto3.client("lambda")


def send(event: dict[str, Any], _context: Any = None) -> None:
    """The work: slow, and known by its number."""
    time.sleep(1.0 if event["number"] == LONG else 0.2)
    note(f"{event['by']} sent {event['number']}")


async def by_task(request: Request) -> Response:
    number = request.path_params["number"]
    return PlainTextResponse("thanks\n", background=BackgroundTask(send, {"by": "task", "number": number}))


async def by_event(request: Request) -> Response:
    payload = json.dumps({"by": "event", "number": request.path_params["number"]})
    await run_in_threadpool(lambda: functions().invoke(FunctionName="send", InvocationType="Event", Payload=payload))
    return PlainTextResponse("thanks\n")


app = Starlette(
    routes=[
        Route("/task/{number:int}", by_task, methods=["POST"]),
        Route("/event/{number:int}", by_event, methods=["POST"]),
    ]
)
