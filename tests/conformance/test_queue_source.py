"""An SQS queue as a source, against moto: windows, throttles, drains, and what Lambda would refuse."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peaker.app import functions
from peaker.aws_calls.client import AwsClient
from peaker.aws_calls.messages import receive
from peaker.aws_calls.resources import find_queue, make_queue
from peaker.clock import SystemClock
from peaker.events.invoking import Call, Ran
from peaker.events.sources.queue import QueueSource
from peaker.events.sources.source import Condition, Surroundings
from peaker.local_aws.server import StandIn
from peaker.messages import Event
from peaker.policy.retry import Ending
from peaker.settings import FunctionSection, Settings
from peaker.triggers import TriggerSection
from peaker.wire.sigv4 import SigningKey

WITHIN_S = 30.0
SUCCEEDED = Ran(ending=Ending.SUCCEEDED, answer=b"null")
Run = Callable[[list[str]], Awaitable[Ran]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stand_in = StandIn(listener)
        stand_in.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stand_in.stop()


class Runs:
    """Runs batches by a function of their bodies, and notes them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.batches: list[list[str]] = []

    async def run(self, call: Call) -> Ran:
        bodies = [record["body"] for record in json.loads(call.payload)["Records"]]
        self.batches.append(bodies)
        return await self._run(bodies)

    def is_there(self) -> bool:
        return True


async def no_events(event: Event) -> str:
    raise AssertionError(event)


def source(client: AwsClient, runs: Runs, positions: Path, *, timeout_s: float = 1.0, **trigger: Any) -> QueueSource:
    on = TriggerSection(**trigger)
    settings = Settings(function=(FunctionSection(name="f", handler="m:f", timeout_s=timeout_s, on=(on,)),))
    around = Surroundings(
        settings=settings, put=no_events, invoke=runs, client=client, clock=SystemClock(), positions=positions
    )
    return QueueSource(on, functions(settings)[0], around)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - nothing tells when a list grows
            await asyncio.sleep(0.01)


async def send(client: AwsClient, name: str, bodies: list[str]) -> None:
    found = await find_queue(client, name)
    assert found is not None
    entries = [{"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies)]
    await client.json("sqs", "SendMessageBatch", {"QueueUrl": found.url, "Entries": entries})


async def left(client: AwsClient, name: str) -> list[str]:
    """What can be received at once."""
    found = await find_queue(client, name)
    assert found is not None
    return [message["Body"] for message in await receive(client, found.url, at_most=10, wait_s=0)]


def play(url: str, script: Callable[[AwsClient], Awaitable[None]]) -> None:
    async def main() -> None:
        client = AwsClient(url, region="us-east-1", key=SigningKey("any", "any"), clock=SystemClock())
        try:
            await script(client)
        finally:
            client.close()

    asyncio.run(main())


async def succeed(_: list[str]) -> Ran:
    return SUCCEEDED


def test_a_window_gathers_what_comes_within_it(url: str, tmp_path: Path) -> None:
    async def script(client: AwsClient) -> None:
        runs = Runs(succeed)
        running = source(client, runs, tmp_path / "p", queue="windowed", window_s=1, batch_size=20)
        running.start()
        await until(lambda: running.condition is Condition.LISTENING)
        await send(client, "windowed", ["1"])
        await send(client, "windowed", ["2", "3"])
        await until(lambda: runs.batches)
        assert [sorted(batch) for batch in runs.batches] == [["1", "2", "3"]]
        await running.stop(5)
        assert running.describe()["taken"] == 3

    play(url, script)


def test_a_full_batch_does_not_wait_for_its_window(url: str, tmp_path: Path) -> None:
    async def script(client: AwsClient) -> None:
        runs = Runs(succeed)
        running = source(client, runs, tmp_path / "p", queue="filled", window_s=300, batch_size=3)
        running.start()
        await until(lambda: running.condition is Condition.LISTENING)
        await send(client, "filled", ["1", "2", "3"])
        await until(lambda: runs.batches)
        assert sorted(runs.batches[0]) == ["1", "2", "3"]
        await running.stop(5)

    play(url, script)


def test_a_throttled_batch_is_tried_again_while_its_messages_are_invisible(url: str, tmp_path: Path) -> None:
    async def script(client: AwsClient) -> None:
        async def throttle_twice(_: list[str]) -> Ran:
            if len(runs.batches) < 3:
                return Ran(ending=Ending.NOT_STARTED, was_throttled=True)
            return SUCCEEDED

        runs = Runs(throttle_twice)
        running = source(client, runs, tmp_path / "p", queue="throttled", visibility_timeout_s=60)
        running.start()
        await until(lambda: running.condition is Condition.LISTENING)
        await send(client, "throttled", ["1"])
        await until(lambda: running.taken == 1)
        await running.stop(5)
        assert runs.batches == [["1"]] * 3

    play(url, script)


def test_a_drain_lets_batches_end_and_gives_back_what_was_not_begun(url: str, tmp_path: Path) -> None:
    async def script(client: AwsClient) -> None:
        may_end = asyncio.Event()

        async def run(_: list[str]) -> Ran:
            await may_end.wait()
            return SUCCEEDED

        runs = Runs(run)
        running = source(
            client, runs, tmp_path / "p", queue="drained", batch_size=2, window_s=300, visibility_timeout_s=600
        )
        running.start()
        await until(lambda: running.condition is Condition.LISTENING)
        await send(client, "drained", ["1", "2", "3"])
        await until(lambda: runs.batches and running.describe()["held"] == 1)
        stopping = asyncio.create_task(running.stop(20))
        may_end.set()
        await stopping
        assert running.describe()["condition"] == "stopped"
        [begun] = runs.batches
        async with asyncio.timeout(WITHIN_S):
            remaining: list[str] = []
            while not remaining:
                remaining = await left(client, "drained")
        assert sorted(begun + remaining) == ["1", "2", "3"]

    play(url, script)


def test_an_answer_nobody_can_read_fails_the_whole_batch(url: str, tmp_path: Path) -> None:
    async def script(client: AwsClient) -> None:
        async def run(_: list[str]) -> Ran:
            return Ran(ending=Ending.SUCCEEDED, answer=b"no json") if len(runs.batches) < 2 else SUCCEEDED

        runs = Runs(run)
        running = source(client, runs, tmp_path / "p", queue="unreadable", visibility_timeout_s=1)
        running.start()
        await until(lambda: running.condition is Condition.LISTENING)
        await send(client, "unreadable", ["1"])
        await until(lambda: running.taken == 1)
        await running.stop(5)
        assert runs.batches == [["1"]] * 2

    play(url, script)


def test_a_queue_whose_messages_would_come_back_too_early_is_refused_as_lambda_does(url: str, tmp_path: Path) -> None:
    async def script(client: AwsClient) -> None:
        await make_queue(client, "hasty", {"VisibilityTimeout": "1"})
        running = source(client, Runs(succeed), tmp_path / "p", queue="hasty", timeout_s=5)
        running.start()
        await until(lambda: running.condition is Condition.FAILING)
        assert "1 s is shorter than the 5 s" in running.describe()["error"]
        await running.stop(1)

    play(url, script)


def test_a_queue_that_is_taken_away_is_made_again(url: str, tmp_path: Path) -> None:
    async def script(client: AwsClient) -> None:
        runs = Runs(succeed)
        running = source(client, runs, tmp_path / "p", queue="taken-away")
        running.start()
        await until(lambda: running.condition is Condition.LISTENING)
        found = await find_queue(client, "taken-away")
        assert found is not None
        await client.json("sqs", "DeleteQueue", {"QueueUrl": found.url})
        await until(lambda: running.condition is Condition.FAILING)
        await until(lambda: running.condition is Condition.LISTENING)
        await send(client, "taken-away", ["1"])
        await until(lambda: running.taken == 1)
        await running.stop(5)

    play(url, script)
