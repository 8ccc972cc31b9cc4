"""InvokeWithResponseStream on a real function host, as boto3 sees it: what comes, when, and how a stream ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest

from peaker.errors import DeadlineExceeded, FunctionCrashed, InvocationRefused, Unavailable
from peaker.gate.spill import InvokeClient
from peaker.http1 import Address
from peaker.messages import Invocation, Request
from peaker.settings import AppSection, FunctionSection, FunctionsSection, RouteSection, Settings
from peaker.testing.hosts import RunningHost
from peaker.wire.http_api import request_to_event, result_to_response
from peaker.wire.response_stream import HTTP_INTEGRATION, PreludeReader

APPS = Path(__file__).parents[1] / "apps"
WEB = "shapes-web"
DEADLINE_S = 15.0


@pytest.fixture(scope="module")
def host() -> Iterator[RunningHost]:
    settings = Settings(
        app=AppSection(name="shapes", web="streaming_shapes:app", spill=True),
        functions=FunctionsSection(timeout_s=20.0, memory_mb=256),
        function=(
            FunctionSection(name="echo", handler="handlers:echo"),
            FunctionSection(name="bad", handler="handlers:misbehave", timeout_s=1.0),
            FunctionSection(name="one", handler="handlers:misbehave", concurrency_max=1, timeout_s=5.0),
        ),
        route=(RouteSection(path="/*", stream=True),),
        directory=str(APPS),
    )
    with RunningHost(settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=host.url,
        region_name="eu-central-1",
        aws_access_key_id=host.key.access_key_id,
        aws_secret_access_key=host.key.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=DEADLINE_S),
    )


def event(path: str, **query: str) -> bytes:
    request = Request(
        method="GET",
        raw_path=path.encode(),
        query_string=urllib.parse.urlencode(query).encode(),
        headers=((b"host", b"shapes"),),
    )
    return request_to_event(request, request_id="r", epoch_s=1.0)


class Streamed:
    """One streamed answer of the web function, read piece by piece."""

    def __init__(self, client: Any, path: str, **query: str) -> None:
        self.answer = client.invoke_with_response_stream(FunctionName=WEB, Payload=event(path, **query), LogType="Tail")
        self._stream = self.answer["EventStream"]
        self._events = iter(self._stream)
        self._prelude = PreludeReader()
        self.complete: dict[str, str] = {}

    def piece(self) -> bytes:
        """The next of the body; b"" once InvokeComplete has come."""
        for found in self._events:
            if "InvokeComplete" in found:
                self.complete = found["InvokeComplete"]
                assert list(self._events) == [], "InvokeComplete is the last"
                self.leave()
                return b""
            payload = found["PayloadChunk"]["Payload"]
            body: bytes = payload if self._prelude.head else self._prelude.feed(payload)
            if body:
                return body
        raise AssertionError("the stream ended without InvokeComplete")

    @property
    def head(self) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
        assert self._prelude.head is not None
        return self._prelude.head[:2]

    def body(self) -> bytes:
        return b"".join(iter(self.piece, b""))

    def leave(self) -> None:
        self._stream.close()


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it has not come to that in time"
        time.sleep(0.01)
    return found


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_streamed_response_has_its_head_its_body_and_an_end(client: Any) -> None:
    streamed = Streamed(client, "/shape", pieces="10,70000,0,5", status="201")
    body = streamed.body()
    status, headers = streamed.head
    assert streamed.answer["StatusCode"] == 200
    assert streamed.answer["ExecutedVersion"] == "$LATEST"
    assert streamed.answer["ResponseStreamContentType"] == HTTP_INTEGRATION
    assert status == 201
    assert headers == ((b"content-type", b"application/x-shape"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
    assert len(body) == 70015
    assert set(streamed.complete) == {"LogResult"}


def test_a_piece_arrives_while_the_function_waits_for_what_its_client_does_next(client: Any, tmp_path: Path) -> None:
    """The app sends the last piece only when a file is there, which is made once the first piece has come."""
    until = tmp_path / "first-has-come"
    streamed = Streamed(client, "/waits", until=str(until))
    assert streamed.piece() == b"first "
    until.touch()
    assert streamed.body() == b"last"
    assert "ErrorCode" not in streamed.complete


def test_a_buffered_invoke_of_a_streaming_app_gets_the_whole(client: Any) -> None:
    reply = client.invoke(FunctionName=WEB, Payload=event("/shape", pieces="10,70000,0,5"))
    response, _ = result_to_response(reply["Payload"].read())
    assert "FunctionError" not in reply
    assert response.body == Streamed(client, "/shape", pieces="10,70000,0,5").body()


def test_what_a_buffered_invoke_cannot_hold_is_streamed(client: Any) -> None:
    pieces = ",".join(["1000000"] * 9)
    reply = client.invoke(FunctionName=WEB, Payload=event("/shape", pieces=pieces))
    assert json.loads(reply["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"
    streamed = Streamed(client, "/shape", pieces=pieces)
    assert len(streamed.body()) == 9_000_000
    assert "ErrorCode" not in streamed.complete


def test_a_handler_answers_in_one_result(client: Any) -> None:
    """Lambda's Python runtime does not stream either."""
    answer = client.invoke_with_response_stream(FunctionName="echo", Payload=json.dumps({"x": "y" * 100_000}))
    events = list(answer["EventStream"])
    answer["EventStream"].close()
    payload = b"".join(found["PayloadChunk"]["Payload"] for found in events[:-1])
    assert json.loads(payload)["event"] == {"x": "y" * 100_000}
    assert events[-1] == {"InvokeComplete": {}}


@pytest.mark.parametrize(
    ("do", "code"),
    [("raise", "ValueError"), ("exit", "Runtime.ExitError"), ("sleep", "Sandbox.Timedout")],
)
def test_a_handler_that_fails_ends_its_stream_with_the_error(client: Any, do: str, code: str) -> None:
    payload = json.dumps({"do": do, "s": 60, "seconds": 60, "text": "no"})
    answer = client.invoke_with_response_stream(FunctionName="bad", Payload=payload)
    (end,) = list(answer["EventStream"])
    answer["EventStream"].close()
    details = json.loads(end["InvokeComplete"]["ErrorDetails"])
    assert end["InvokeComplete"]["ErrorCode"] == details["errorType"]
    assert details["errorType"] == code


def test_an_app_that_fails_before_its_response_answers_500_as_on_a_server(client: Any) -> None:
    streamed = Streamed(client, "/raises", when="before")
    assert streamed.body() == b"Internal Server Error"
    assert streamed.head[0] == 500


def test_an_app_that_fails_in_the_middle_says_so_at_the_end(client: Any) -> None:
    streamed = Streamed(client, "/raises", when="middle")
    assert streamed.body() == b"before"
    assert streamed.complete["ErrorCode"] == "ResponseBroken"
    assert "in the middle" in streamed.complete["ErrorDetails"]


@pytest.mark.parametrize("by", ["SIGKILL", "SIGSEGV"])
def test_an_instance_that_dies_in_the_middle_ends_the_stream_with_an_error(client: Any, by: str) -> None:
    streamed = Streamed(client, "/dies", by=by)
    assert streamed.body() == b"before"
    assert streamed.complete["ErrorCode"] == "Runtime.ExitError"
    assert Streamed(client, "/shape", pieces="3").body() == b"0:\x00", "the next has an instance of its own"


def test_a_stream_is_ended_at_the_functions_time_limit(tmp_path: Path) -> None:
    settings = Settings(
        app=AppSection(name="shapes", web="streaming_shapes:app", spill=True),
        functions=FunctionsSection(timeout_s=0.5),
        directory=str(APPS),
    )
    with RunningHost(settings) as host:
        client = boto3.client(
            "lambda",
            endpoint_url=host.url,
            region_name="eu-central-1",
            aws_access_key_id=host.key.access_key_id,
            aws_secret_access_key=host.key.secret_access_key,
        )
        streamed = Streamed(client, "/sleeps")
        assert streamed.body() == b"before"
        assert streamed.complete["ErrorCode"] == "Sandbox.Timedout"

        # Held back by its client it is late as well: what was on the way comes, then why there is no more.
        slow = Streamed(client, "/endless", notes=str(tmp_path / "notes"))
        pid = int(wait_for(lambda: text_of(tmp_path / "notes").split())[0])
        wait_for(lambda: not is_running(pid))
        assert len(slow.body()) < 16_000_000
        assert slow.complete["ErrorCode"] == "Sandbox.Timedout"


def test_a_client_that_leaves_is_told_to_the_app_whose_instance_serves_on(client: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    streamed = Streamed(client, "/endless", notes=str(notes))
    assert streamed.piece()
    streamed.leave()
    pid, last, _ = wait_for(lambda: (found := text_of(notes).split()) and "sending" not in found and found)
    assert last == "http.disconnect"
    os.kill(int(pid), 0)
    # Still usable, and in step: what it had sent for nobody does not come to the next.
    assert Streamed(client, "/shape", pieces="3").body() == b"0:\x00"


def test_a_client_that_does_not_read_holds_the_app_back(client: Any, tmp_path: Path) -> None:
    """The app would send 100 MB; what it got rid of stands still at what sockets and bounded buffers hold."""
    notes = tmp_path / "notes"
    streamed = Streamed(client, "/endless", notes=str(notes))
    assert streamed.piece()

    def taken() -> int:
        words = text_of(notes).split()
        return int(words[2]) if len(words) == 3 else 0

    def stands_still() -> bool:
        before = taken()
        return before > 0 and not any(time.sleep(0.05) or taken() != before for _ in range(6))

    wait_for(stands_still)
    assert taken() < 16_000_000, "sockets of 0.2 to 6 MB, and four buffers of 256 KB, between app and client"
    streamed.leave()
    wait_for(lambda: "http.disconnect" in text_of(notes))


def test_a_dry_run_and_a_refusal_come_before_any_stream(client: Any) -> None:
    dry = client.invoke_with_response_stream(FunctionName=WEB, InvocationType="DryRun", Payload=event("/shape"))
    assert dry["StatusCode"] == 204
    dry["EventStream"].close()
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke_with_response_stream(FunctionName="nobody", Payload=b"{}")
    with pytest.raises(botocore.exceptions.ClientError) as told:
        client.invoke_with_response_stream(FunctionName=WEB, InvocationType="Event", Payload=b"{}")
    assert told.value.response["Error"]["Code"] == "ValidationException"


def test_an_instance_killed_from_outside_in_the_middle_ends_the_stream_with_an_error(
    client: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    streamed = Streamed(client, "/endless", notes=str(notes))
    assert streamed.piece()
    os.kill(int(wait_for(lambda: text_of(notes).split())[0]), signal.SIGKILL)
    while streamed.piece():
        pass
    assert streamed.complete["ErrorCode"] == "Runtime.ExitError"


FRAMEWORKS = ["streaming_starlette:app", "streaming_flask:app"]


@pytest.mark.parametrize("target", FRAMEWORKS)
def test_what_frameworks_stream_comes_as_it_is_made_and_ends_when_the_client_leaves(
    target: str, tmp_path: Path
) -> None:
    """1. A piece comes while the app waits. 2. A client leaves while it waits in `send`. 3. The next is in step."""
    settings = Settings(app=AppSection(name="shapes", web=target, spill=True), directory=str(APPS))
    with RunningHost(settings) as host:
        client = boto3.client(
            "lambda",
            endpoint_url=host.url,
            region_name="eu-central-1",
            aws_access_key_id=host.key.access_key_id,
            aws_secret_access_key=host.key.secret_access_key,
        )
        until, notes = tmp_path / "until", tmp_path / "notes"
        waiting = Streamed(client, "/waits", until=str(until))
        assert waiting.piece() == b"first "
        until.touch()
        assert waiting.body() == b"last"
        assert dict(waiting.head[1])[b"content-type"].startswith(b"text/plain")

        leaving = Streamed(client, "/endless", notes=str(notes))
        assert leaving.piece()
        leaving.leave()
        wait_for(lambda: "ended" in text_of(notes))
        again = Streamed(client, "/waits", until=str(until))
        assert again.body() == b"first last"
        assert "ErrorCode" not in again.complete


def test_the_gates_client_tells_refusals_from_failures(host: RunningHost, tmp_path: Path) -> None:
    """Over the private socket, as a gate does it: what was not started may be sent again, all else may not."""

    async def scenario() -> None:
        client = InvokeClient(Address(unix=host.state.invoke_socket_of(1)))

        def call(path: str, function: str = WEB, timeout_s: float = 20.0, **query: str) -> Invocation:
            return Invocation(function=function, payload=event(path, **query), request_id="r", timeout_s=timeout_s)

        async def whole(invocation: Invocation) -> bytes:
            reply = await client.invoke_streaming(invocation)
            try:
                found = b""
                while part := await reply.read():
                    found += part
                assert reply.billed_ms >= 1
                return found
            finally:
                reply.close()

        assert (await whole(call("/shape", pieces="3"))).endswith(bytes(8) + b"0:\x00")
        with pytest.raises(InvocationRefused):
            await whole(call("/shape", function="nobody"))
        with pytest.raises(FunctionCrashed, match=r"Runtime\.ExitError"):
            await whole(call("/dies", by="SIGKILL"))
        with pytest.raises(DeadlineExceeded):
            await whole(call("/sleeps", timeout_s=0.3))
        client.close()

    asyncio.run(scenario())
    with pytest.raises(Unavailable):
        asyncio.run(unreachable(tmp_path / "nobody.sock"))


async def unreachable(path: Path) -> None:
    invocation = Invocation(function=WEB, payload=b"{}", request_id="r", timeout_s=1)
    await InvokeClient(Address(unix=path)).invoke_streaming(invocation)
