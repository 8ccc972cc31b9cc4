"""Functions that call themselves: through boto3, which sends the trace on, on real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest

from peaker.settings import FunctionSection, FunctionsSection, ResourceSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost
from peaker.testing.running import until

APPS = Path(__file__).parents[1] / "apps"
DEADLINE_S = 30.0
CALL = "calling_handlers:call"


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    settings = Settings(
        functions=FunctionsSection(timeout_s=DEADLINE_S, memory_mb=256),
        function=(
            FunctionSection(name="itself", handler=CALL, concurrency_max=40),
            FunctionSection(name="ping", handler=CALL, concurrency_max=40),
            FunctionSection(name="pong", handler=CALL, concurrency_max=40),
            FunctionSection(name="alone", handler=CALL, concurrency_max=1),
        ),
        directory=str(APPS),
    )
    with RunningHost(settings, with_events=True) as running:
        yield running


def invoke(host: RunningHost, name: str, **event: Any) -> Any:
    client = boto3.client(
        "lambda",
        endpoint_url=host.url,
        region_name="us-east-1",
        aws_access_key_id=host.key.access_key_id,
        aws_secret_access_key=host.key.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=DEADLINE_S),
    )
    where = {"url": host.url, "key": host.key.access_key_id, "secret": host.key.secret_access_key}
    reply = client.invoke(FunctionName=name, Payload=json.dumps({"where": where, **event}))
    return json.loads(reply["Payload"].read())


def test_a_function_that_calls_itself_without_end_is_stopped_after_sixteen_runs(host: RunningHost) -> None:
    assert invoke(host, "itself") == {"depth": 16, "stopped": "RecursiveInvocationException", "reason": ""}


def test_two_functions_that_call_each_other_are_stopped_when_one_has_run_sixteen_times(host: RunningHost) -> None:
    told = invoke(host, "ping", next={"ping": "pong", "pong": "ping"})
    assert told == {"depth": 32, "stopped": "RecursiveInvocationException", "reason": ""}


def test_a_chain_of_events_ends_as_a_dead_letter_after_sixteen_runs(host: RunningHost) -> None:
    before = host.function("itself")["totals"]["invocations"]
    dead = host.events()["totals"]["dead"]
    invoke(host, "itself", type="Event")
    until(lambda: host.events()["totals"]["dead"] == dead + 1, DEADLINE_S)
    # One call, and fifteen events that it led to; the sixteenth is kept for a person.
    assert host.function("itself")["totals"]["invocations"] == before + 16


def test_a_function_that_calls_itself_with_no_instance_left_is_throttled_and_does_not_hang(host: RunningHost) -> None:
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert invoke(host, "alone") == {"depth": 1, "stopped": "TooManyRequestsException", "reason": reason}


def test_a_call_from_a_function_does_not_wait_for_an_instance_that_a_resource_has_no_room_for() -> None:
    """The database takes three connections: one of the only worker, two of instances."""
    settings = Settings(
        servers=ServersSection(workers=1),
        functions=FunctionsSection(timeout_s=DEADLINE_S, memory_mb=256, concurrency_max=10),
        function=(FunctionSection(name="itself", handler=CALL),),
        resource=(ResourceSection(name="db", connections_max=3, per_worker=1, per_instance=1),),
        directory=str(APPS),
    )
    with RunningHost(settings) as host:
        begun_s = time.monotonic()
        told = invoke(host, "itself")
        assert told == {
            "depth": 2, "stopped": "TooManyRequestsException", "reason": "ConcurrentInvocationLimitExceeded",
        }  # fmt: skip
        assert time.monotonic() - begun_s < DEADLINE_S / 2
