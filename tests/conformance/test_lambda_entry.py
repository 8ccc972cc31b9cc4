"""`peaker.aws.handler` under AWS's own runtime interface client: web apps, handlers, and what is wrong with them."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from provided_runtime import provided

from peaker.aws import make_handler
from peaker.errors import AppImportError
from peaker.functions.launcher import InstanceDied
from peaker.functions.outcome import InitFailed
from peaker.messages import Request
from peaker.wire import alb, http_api

RIC = (sys.executable, "-m", "awslambdaric", "peaker.aws.handler")

WEB = """
import contextlib
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
asked = []
@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"started": True}
async def tell(request: Request) -> Response:
    asked.append(request.url.path)
    return JSONResponse({"method": request.method, "query": request.url.query, "body": (await request.body()).decode(),
                         "started": request.state.started, "client": request.client.host, "asked": len(asked)})
async def picture(request: Request) -> Response:
    return Response(bytes(range(256)), media_type="image/png", headers={"set-cookie": "a=1"})
async def fails(request: Request) -> Response:
    raise ValueError("not this one")
app = Starlette(routes=[Route("/tell", tell, methods=["GET", "POST"]), Route("/picture", picture),
                        Route("/fails", fails)], lifespan=lifespan)
"""
HANDLER = """
def entry(event, context):
    return {"event": event, "id": context.aws_request_id}
"""


def request(method: str = "GET", path: str = "/tell", query: str = "", body: bytes = b"") -> Request:
    return Request(
        method=method,
        raw_path=path.encode(),
        query_string=query.encode(),
        headers=((b"host", b"shop.example"), (b"x-forwarded-for", b"203.0.113.9")),
        body=body,
        client=("203.0.113.9", 4711),
        server=("shop.example", 443),
    )


def event_of(asked: Request) -> Any:
    return json.loads(http_api.request_to_event(asked, request_id="r", epoch_s=1.8e9))


def test_a_web_app_answers_a_gate_a_load_balancer_and_survives_its_own_errors(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "shop.py").write_text(WEB)
        env = {"PEAKER_WEB": "shop:app", "PEAKER_WARM_UP": "/tell"}
        async with provided(tmp_path, command=RIC, env=env) as bench:
            instance = await bench.fork()
            asked = request("POST", query="a=1&a=2", body=b"a body")
            first = await bench.run(event_of(asked), instance)
            response, notes = http_api.result_to_response(first.payload)
            assert json.loads(response.body) == {
                "method": "POST",
                "query": "a=1&a=2",
                "body": "a body",
                "started": True,
                "client": "203.0.113.9",
                "asked": 2,
            }, "the first was the warm-up request"
            assert notes.cold
            assert notes.init_ms > 0
            balanced = json.loads(alb.request_to_event(request(path="/picture"), request_id="r", epoch_s=1.8e9))
            second = json.loads((await bench.run(balanced, instance)).payload)
            assert base64.b64decode(second["body"]) == bytes(range(256))
            assert second["multiValueHeaders"]["set-cookie"] == ["a=1"]
            failed, notes = http_api.result_to_response(
                (await bench.run(event_of(request(path="/fails")), instance)).payload
            )
            assert (failed.status, notes.cold) == (500, False)
            refused = await bench.run({"Records": []}, instance)
            assert json.loads(refused.payload)["errorType"] == "MalformedEvent"

    asyncio.run(scenario())


@pytest.mark.parametrize(("asked_for", "lines"), [("1", 1), ("", 0)])
def test_a_cold_start_is_one_line_of_metrics_where_it_is_asked_for(tmp_path: Path, asked_for: str, lines: int) -> None:
    (tmp_path / "shop.py").write_text(WEB)
    event = event_of(request())
    code = f"from peaker.aws import handler\nfor _ in range(3): handler({event!r}, None)\n"
    variables = {
        "PEAKER_WEB": "shop:app",
        "PEAKER_COLD_START_METRICS": asked_for,
        "AWS_LAMBDA_FUNCTION_NAME": "shop-web",
        "LAMBDA_TASK_ROOT": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | variables, timeout=60
    )
    said = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(said) == lines
    for line in said:
        (declared,) = line["_aws"]["CloudWatchMetrics"]
        named = {each["Name"] for each in declared["Metrics"]} | set(declared["Dimensions"][0])
        assert named <= line.keys()
        assert (line["FunctionName"], line["ColdStarts"]) == ("shop-web", 1)
        assert line["InitDuration"] > 0


def test_a_handler_is_called_as_it_stands(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "jobs.py").write_text(HANDLER)
        async with provided(tmp_path, command=RIC, env={"PEAKER_HANDLER": "jobs:entry"}) as bench:
            outcome = await bench.run({"n": 1}, request_id="one")
            assert json.loads(outcome.payload) == {"event": {"n": 1}, "id": "one"}

    asyncio.run(scenario())


def test_what_does_not_import_is_said_by_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provided(tmp_path, command=RIC, env={"PEAKER_WEB": "nowhere:app"}) as bench:
            with pytest.raises((InitFailed, InstanceDied)) as failed:
                await bench.fork()
            assert "nowhere" in str(failed.value) + str(bench.log)

    asyncio.run(scenario())


@pytest.mark.parametrize("variables", [{}, {"PEAKER_WEB": "a:b", "PEAKER_HANDLER": "c:d"}])
def test_one_target_and_only_one_must_be_named(variables: dict[str, str]) -> None:
    with pytest.raises(AppImportError, match="exactly one of them"):
        make_handler(variables, began_s=time.perf_counter())


def test_importing_the_entry_point_loads_nothing_that_starts_slowly() -> None:
    heavy = (
        "asyncio",
        "uvicorn",
        "boto3",
        "botocore",
        "numpy",
        "click",
        "rich",
        "ssl",
        "peaker.settings",
        "multiprocessing",
    )
    code = f"import peaker.aws, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=os.environ, timeout=60)
    assert done.stdout.decode().strip() == "[]"
