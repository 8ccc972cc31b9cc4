"""The gate's one client of the Invoke API, against a real server that misbehaves in every way there is."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import pytest

from peaker import http1
from peaker.errors import (
    DeadlineExceeded,
    FunctionCrashed,
    InvocationRefused,
    InvokeError,
    Throttled,
    Unavailable,
)
from peaker.gate.spill import InvokeClient
from peaker.messages import Invocation, Reply

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CALL = Invocation(
    function="shop-web",
    payload=b'{"version": "2.0"}',
    request_id="order-17",
    timeout_s=5.0,
    headers=((b"traceparent", b"00-aa-bb-01"),),
)


class InvokeServer:
    """A server on a unix socket whose answers are written by hand."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._answer = answer

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = next(line for line in head.split("\r\n") if line.startswith("content-length: "))
                self.bodies.append(await reader.readexactly(int(length.partition(": ")[2])))
                await self._answer(reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def answering(status: int, body: bytes = b"{}", **headers: str) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
    raise ConnectionResetError


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    raise ConnectionResetError


async def cut_short(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    writer.close()
    raise ConnectionResetError


async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")


def invoke(tmp_path: Path, answer: Answer, call: Invocation = CALL) -> tuple[Reply, InvokeServer]:
    async def main() -> tuple[Reply, InvokeServer]:
        async with InvokeServer(tmp_path / "invoke.sock", answer) as server:
            client = InvokeClient(http1.Address(unix=server.path))
            try:
                return await client.invoke(call), server
            finally:
                client.close()

    return asyncio.run(main())


def test_a_call_is_lambdas_own(tmp_path: Path) -> None:
    reply, server = invoke(tmp_path, answering(200, b'{"statusCode": 200}', x_amz_executed_version="$LATEST"))
    assert reply.payload == b'{"statusCode": 200}'
    assert reply.function_error == ""
    assert reply.headers["x-amz-executed-version"] == "$LATEST"
    lines = server.heads[0].split("\r\n")
    assert lines[0] == "POST /2015-03-31/functions/shop-web/invocations HTTP/1.1"
    assert "x-request-id: order-17" in lines
    assert "x-peaker-deadline-ms: 5000" in lines
    assert "traceparent: 00-aa-bb-01" in lines
    assert server.bodies == [CALL.payload]


def test_an_arn_and_a_qualifier_are_quoted(tmp_path: Path) -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:shop"
    call = Invocation(function=arn, qualifier="live", payload=b"{}", request_id="r", timeout_s=5.0)
    _, server = invoke(tmp_path, answering(200), call)
    target = server.heads[0].split(" ")[1]
    assert target == (
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ashop/invocations?Qualifier=live"
    )


def test_what_a_handler_raised_is_a_reply(tmp_path: Path) -> None:
    body = json.dumps({"errorType": "ValueError", "errorMessage": "no such film"}).encode()
    reply, _ = invoke(tmp_path, answering(200, body, x_amz_function_error="Unhandled"))
    assert reply.function_error == "Unhandled"
    assert reply.payload == body


def failure(kind: str, message: str = "") -> Answer:
    body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return answering(200, body, x_amz_function_error="Unhandled")


@pytest.mark.parametrize(
    ("answer", "error", "started"),
    [
        (answering(429, x_amzn_errortype="TooManyRequestsException"), Throttled, False),
        (answering(404, x_amzn_errortype="ResourceNotFoundException"), InvocationRefused, False),
        (answering(413, x_amzn_errortype="RequestTooLargeException"), InvocationRefused, False),
        (answering(403, x_amzn_errortype="AccessDeniedException"), InvocationRefused, False),
        (answering(400, x_amzn_errortype="InvalidRequestContentException:"), InvocationRefused, False),
        (answering(500, x_amzn_errortype="ServiceException"), FunctionCrashed, None),
        (answering(503), FunctionCrashed, None),
        (failure("Sandbox.Timedout", "Task timed out after 3.00 seconds"), DeadlineExceeded, None),
        (failure("Runtime.ExitError"), FunctionCrashed, None),
        (failure("Runtime.OutOfMemory"), FunctionCrashed, None),
        (hang_up, FunctionCrashed, None),
        (reset, FunctionCrashed, None),
        (cut_short, FunctionCrashed, None),
        (babble, FunctionCrashed, None),
    ],
)
def test_each_failure_says_whether_the_function_may_have_run(
    tmp_path: Path, answer: Answer, error: type[InvokeError], *, started: bool | None
) -> None:
    with pytest.raises(error) as caught:
        invoke(tmp_path, answer)
    assert type(caught.value) is error
    assert caught.value.started is started


def test_no_answer_in_time_is_a_deadline_and_the_connection_is_not_used_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with InvokeServer(tmp_path / "invoke.sock", hang) as server:
            client = InvokeClient(http1.Address(unix=server.path))
            short = Invocation(function="f", payload=b"{}", request_id="r", timeout_s=0.05)
            for _ in range(2):
                with pytest.raises(DeadlineExceeded):
                    await client.invoke(short)
            assert server.connections == 2
            client.close()

    asyncio.run(main())


def test_nobody_there_is_unavailable_at_once_and_found_again_when_it_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        client = InvokeClient(http1.Address(unix=tmp_path / "invoke.sock"))
        with pytest.raises(Unavailable) as caught:
            await client.invoke(CALL)
        assert caught.value.started is False
        with pytest.raises(Unavailable):
            await client.warm(1)
        async with InvokeServer(tmp_path / "invoke.sock", answering(200)):
            assert (await client.invoke(CALL)).payload == b"{}"
            client.close()

    asyncio.run(main())


def test_nothing_listening_on_the_port_is_unavailable() -> None:
    async def main() -> None:
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        client = InvokeClient(http1.Address(host="127.0.0.1", port=port))
        with pytest.raises(Unavailable):
            await client.invoke(CALL)

    asyncio.run(main())


def test_all_connections_in_use_is_a_throttle_not_a_failure(tmp_path: Path) -> None:
    async def main() -> None:
        async with InvokeServer(tmp_path / "invoke.sock", hang) as server:
            client = InvokeClient(http1.Address(unix=server.path), connections_max=1)
            first = asyncio.create_task(client.invoke(CALL))
            await asyncio.sleep(0)
            second = Invocation(function="f", payload=b"{}", request_id="r", timeout_s=0.05)
            with pytest.raises(Throttled):
                await client.invoke(second)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            client.close()

    asyncio.run(main())


def test_calls_one_after_another_share_a_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with InvokeServer(tmp_path / "invoke.sock", answering(200)) as server:
            client = InvokeClient(http1.Address(unix=server.path))
            for _ in range(5):
                await client.invoke(CALL)
            assert server.connections == 1
            await asyncio.gather(*(client.invoke(CALL) for _ in range(5)))
            assert server.connections == 5
            client.close()

    asyncio.run(main())


def test_a_signature_is_made_over_what_is_sent(tmp_path: Path) -> None:
    signed: list[tuple[str, str, bytes]] = []

    def sign(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
        signed.append((method, target, body))
        return [*headers, ("authorization", "AWS4-HMAC-SHA256 Credential=k")]

    async def main() -> None:
        async with InvokeServer(tmp_path / "invoke.sock", answering(200)) as server:
            client = InvokeClient(http1.Address(unix=server.path), host="lambda.eu-west-1.amazonaws.com", sign=sign)
            await client.invoke(CALL)
            assert "authorization: AWS4-HMAC-SHA256 Credential=k" in server.heads[0]
            assert "host: lambda.eu-west-1.amazonaws.com" in server.heads[0]
            client.close()

    asyncio.run(main())
    assert signed == [("POST", "/2015-03-31/functions/shop-web/invocations", CALL.payload)]
