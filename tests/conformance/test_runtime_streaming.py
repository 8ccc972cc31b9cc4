"""Streamed responses of runtimes of their own: piece by piece through the instance to who reads them."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from launched import is_running, until
from provided_runtime import needs_node, provided, write_bootstrap
from test_runtime_clients import node_client

from peaker.functions.launcher import InstanceDied
from peaker.functions.stream import HELD_BYTES_HIGH, ResponseStream

STREAM = r"""
    import socket
    host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
    class Stream:
        def __init__(self, request_id):
            self.connection = socket.create_connection((host, int(port)))
            head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nhost: x\r\n"
            head += "content-type: text/x\r\nlambda-runtime-function-response-mode: streaming\r\n"
            self.connection.sendall((head + "transfer-encoding: chunked\r\n\r\n").encode())
        def write(self, piece):
            self.connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        def end(self, trailers=""):
            self.connection.sendall(b"0\r\n" + trailers.encode() + b"\r\n")
            return int(self.connection.recv(1000).split()[1])
"""


def bootstrap(directory: Path, code: str) -> None:
    write_bootstrap(directory, STREAM + code)


async def read_all(stream: ResponseStream) -> bytes:
    pieces = []
    while piece := await stream.read():
        pieces.append(piece)
    return b"".join(pieces)


def test_the_first_piece_is_read_before_the_second_is_written(tmp_path: Path) -> None:
    code = """
    request_id, event = take()
    stream = Stream(request_id)
    stream.write(b"first ")
    while not os.path.exists(event): time.sleep(0.005)
    stream.write(b"second")
    print(stream.end(), flush=True)
    take()
    """

    async def scenario() -> None:
        bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            stream = ResponseStream()
            go_on = tmp_path / "go on"
            running = asyncio.ensure_future(bench.run(str(go_on), stream=stream))
            async with asyncio.timeout(10):
                await stream.wait_begun()
                assert stream.content_type == "text/x"
                assert await stream.read() == b"first "
                assert not running.done()
                go_on.touch()
                assert await stream.read() == b"second"
            outcome = await running
            assert (outcome.payload, outcome.function_error) == (b"", "")
            await until(lambda: "202" in bench.lines("r-1"))

    asyncio.run(scenario())


def test_one_who_does_not_read_streams_gets_it_whole(tmp_path: Path) -> None:
    code = """
    request_id, event = take()
    stream = Stream(request_id); stream.write(b"whole "); stream.write(b"again"); stream.end()
    take()
    """

    async def scenario() -> None:
        bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            assert (await bench.run({})).payload == b"whole again"

    asyncio.run(scenario())


def test_a_runtime_that_streams_to_a_slow_reader_waits(tmp_path: Path) -> None:
    code = """
    request_id, event = take()
    stream = Stream(request_id)
    for number in range(64): stream.write(b"x" * 262144)
    print("written", flush=True)
    stream.end()
    take()
    """

    async def scenario() -> None:
        bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            stream = ResponseStream()
            running = asyncio.ensure_future(bench.run({}, stream=stream))
            await until(lambda: stream.held_bytes > HELD_BYTES_HIGH)
            await asyncio.sleep(0.1)  # Not to wait for anything: this is the time in which nothing may be written.
            assert "written" not in bench.lines()
            assert stream.held_bytes < 4 * HELD_BYTES_HIGH
            async with asyncio.timeout(20):
                assert len(await read_all(stream)) == 64 * 262_144
                await running
            assert stream.held_bytes_peak < 4 * HELD_BYTES_HIGH

    asyncio.run(scenario())


def test_an_error_in_the_middle_comes_in_the_trailers(tmp_path: Path) -> None:
    error = base64.b64encode(b'{"errorType": "Late", "errorMessage": "in the middle"}').decode()
    code = f"""
    request_id, event = take()
    stream = Stream(request_id)
    stream.write(b"so far")
    trailers = "Lambda-Runtime-Function-Error-Type: Late\\r\\nLambda-Runtime-Function-Error-Body: {error}\\r\\n"
    print(stream.end(trailers), flush=True)
    take()
    """

    async def scenario() -> None:
        bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            stream = ResponseStream()
            outcome = await bench.run({}, stream=stream)
            assert await read_all(stream) == b"so far"
            assert outcome.function_error == "Unhandled"
            assert json.loads(outcome.payload) == {"errorType": "Late", "errorMessage": "in the middle"}

    asyncio.run(scenario())


def test_a_response_cut_off_in_the_middle_is_no_whole_one(tmp_path: Path) -> None:
    code = """
    request_id, event = take()
    stream = Stream(request_id); stream.write(b"so far")
    stream.connection.shutdown(socket.SHUT_WR); stream.connection.recv(1)
    request_id, event = take()
    answer(request_id, "next")
    take()
    """

    async def scenario() -> None:
        bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            stream = ResponseStream()
            outcome = await bench.run({}, instance, stream=stream)
            assert outcome.function_error == "Unhandled"
            assert json.loads(outcome.payload)["errorType"] == "Runtime.TruncatedResponse"
            assert (await bench.run({}, instance)).payload == b'"next"'

    asyncio.run(scenario())


def test_while_it_streams_nothing_else_may_be_answered(tmp_path: Path) -> None:
    code = """
    request_id, event = take()
    stream = Stream(request_id); stream.write(b"streamed")
    time.sleep(0.05)
    seen = [answer(request_id, "beside it")[0], answer("another", 1)[0], ask("GET", "/invocation/next")[0]]
    stream.write(json.dumps(seen).encode())
    stream.end()
    take()
    """

    async def scenario() -> None:
        bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            stream = ResponseStream()
            await bench.run({}, stream=stream)
            assert await read_all(stream) == b"streamed[403, 400, 403]"

    asyncio.run(scenario())


def test_one_over_its_time_is_killed_in_the_middle_of_its_stream(tmp_path: Path) -> None:
    code = """
    request_id, event = take()
    stream = Stream(request_id); stream.write(b"so far"); time.sleep(60)
    """

    async def scenario() -> None:
        bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            stream = ResponseStream()
            with pytest.raises(InstanceDied, match=r"Task timed out after 0\.5"):
                await bench.run({}, instance, stream=stream, timeout_s=0.5)
            assert await read_all(stream) == b"so far"
            await until(lambda: not is_running(instance.pid))

    asyncio.run(scenario())


@needs_node
@pytest.mark.skipif(node_client() is None, reason="aws-lambda-ric is not installed (see test_runtime_clients.py)")
def test_a_node_handler_that_streams_does_so_on_awss_own_client(tmp_path: Path) -> None:
    handler = """
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      stream.setContentType("text/x");
      stream.write("hello ");
      await new Promise((done) => setTimeout(done, 20));
      stream.write("world");
      stream.end();
    });
    """

    async def scenario() -> None:
        (tmp_path / "index.js").write_text(handler)
        async with provided(tmp_path, command=("node", str(node_client()), "index.handler")) as bench:
            stream = ResponseStream()
            outcome = await bench.run({}, stream=stream)
            assert (outcome.payload, outcome.function_error) == (b"", "")
            assert stream.content_type == "text/x"
            assert await read_all(stream) == b"hello world"

    asyncio.run(scenario())
