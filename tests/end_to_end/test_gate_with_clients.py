"""The gate in a real worker: clients that wait, leave, upload and are refused; functions behind a real socket."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from raw_client import RawClient

from peaker.messages import Response, RunNotes
from peaker.settings import AppSection, FunctionsSection, RouteSection, ServersSection, Settings
from peaker.testing.workers import RunningWorkers
from peaker.wire.http_api import response_to_result

APPS = str(Path(__file__).parents[1] / "apps")
DEADLINE_S = 10.0


def settings(*routes: RouteSection, log: str = "", queue_max: int = 100, queue_wait_s_max: float = 8.0) -> Settings:
    return Settings(
        app=AppSection(web="worker_app:app", spill=bool(routes), placement_header=True, access_log=log),
        servers=ServersSection(
            in_flight_max=1, drain_idle_s=0.0, drain_s_max=10.0, queue_max=queue_max, queue_wait_s_max=queue_wait_s_max
        ),
        functions=FunctionsSection(timeout_s=5.0),
        route=routes,
        directory=APPS,
    )


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def occupy(workers: RunningWorkers, seconds: float) -> RawClient:
    """A request that holds the one slot for a while."""
    client = RawClient(workers.port)
    client.get(f"/sleep?s={seconds}")
    until(lambda: workers.slots(0)["in_flight"] == 1)
    return client


def test_a_client_that_leaves_the_queue_costs_nothing_and_the_others_are_served() -> None:
    with RunningWorkers(settings()) as workers, occupy(workers, 1.0) as first:
        leaving, staying = RawClient(workers.port), RawClient(workers.port)
        leaving.get("/until-gone")
        staying.get("/pid")
        until(lambda: workers.slots(0)["waiting"] == 2)
        leaving.socket.close()
        until(lambda: workers.slots(0)["waiting"] == 1)
        assert first.answer().status == staying.answer().status == 200
        until(lambda: workers.usage().counters["requests"] == 3)
        counters = workers.usage().counters
        assert (counters["client_gone"], counters["on_server"], counters["waited"]) == (1, 2, 2)
        with staying:
            staying.get("/seen")
            assert json.loads(staying.answer().body)["disconnects"] == 0, "its app was never called"


def test_an_upload_that_had_to_wait_arrives_whole_however_large() -> None:
    with RunningWorkers(settings()) as workers, occupy(workers, 0.5) as first:
        uploads = [b"small", bytes(range(256)) * 2000, b"large" * 600_000]
        clients = [RawClient(workers.port) for _ in uploads]
        for client, body in zip(clients, uploads, strict=True):
            # Sent in part before it is its turn: the worker stops reading what it may not hold.
            head = f"POST /digest HTTP/1.1\r\nhost: test\r\ncontent-length: {len(body)}\r\n\r\n"
            client.send(head.encode() + body[:1000])
        until(lambda: workers.slots(0)["waiting"] >= 1)
        for client, body in zip(clients, uploads, strict=True):
            client.send(body[1000:])
        for client, body in zip(clients, uploads, strict=True):
            with client:
                assert client.answer().body == hashlib.sha256(body).hexdigest().encode()
        assert first.answer().status == 200


def test_a_refused_client_is_told_why_and_may_use_its_connection_again() -> None:
    running = RunningWorkers(settings(queue_max=0))
    with running as workers, occupy(workers, 1.0) as first, RawClient(workers.port) as client:
        client.post("/digest", b"x" * 3000)
        refused = client.answer()
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-peaker-refused"].startswith("the queue is full")
        assert refused.headers["x-peaker-ran"] == "refused"
        assert first.answer().status == 200
        client.get("/pid")
        assert client.answer().status == 200


def test_a_response_that_its_client_does_not_read_is_no_latency_of_the_apps() -> None:
    with RunningWorkers(settings()) as workers, RawClient(workers.port) as client:
        client.get("/big?bytes=30000000")
        until(lambda: workers.usage().counters["on_server"] == 1)
        latency_s = workers.usage().percentile_s(0.95)
        assert latency_s is not None
        assert latency_s < 0.5
        assert len(client.answer().body) == 30_000_000


Answering = Callable[[dict[str, Any]], Awaitable[Response]]


async def with_functions(workers: RunningWorkers, answer: Answering, script: Callable[[], Awaitable[None]]) -> None:
    """Run `script` while the Invoke API of these workers is served by `answer`, which gets the event."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(line for line in head.split("\r\n") if line.startswith("content-length: "))
                event = json.loads(await reader.readexactly(int(length.partition(": ")[2])))
                result = response_to_result(await answer(event), RunNotes(cold=True, init_ms=20.0, duration_ms=80.0))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(result) + result)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(workers.state.invoke_socket_of(1)))
    try:
        await script()
    finally:
        server.close()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - the worker is another process
            await asyncio.sleep(0.01)


def test_a_spilled_request_whose_client_goes_away_is_counted_and_billed() -> None:
    with RunningWorkers(settings(RouteSection(path="/report", placement="functions"))) as workers:

        async def main() -> None:
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def answer(_: dict[str, Any]) -> Response:
                begun.set()
                await go_on.wait()
                return Response(status=200, body=b"late")

            async def script() -> None:
                _, writer = await asyncio.open_connection("127.0.0.1", workers.port)
                writer.write(b"GET /report HTTP/1.1\r\nhost: test\r\n\r\n")
                await begun.wait()
                assert workers.slots(0)["spilling"] == 1
                writer.close()
                await writer.wait_closed()
                await eventually(lambda: workers.slots(0)["connections"] == 0)
                go_on.set()
                await eventually(lambda: workers.usage().counters["on_function"] == 1)
                counters = workers.usage().counters
                assert counters["client_gone"] == 1
                assert counters["spill_billed_ms"] == 100, "duration and start, as they were reported"
                assert counters["cold_starts"] == 1
                assert workers.slots(0)["spilling"] == 0

            await with_functions(workers, answer, script)

        asyncio.run(main())


def test_while_functions_are_away_requests_wait_and_after_that_they_spill_again(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    given = settings(RouteSection(path="/report", placement="functions"), log=str(log))
    with RunningWorkers(given) as workers:

        async def answer(event: dict[str, Any]) -> Response:
            return Response(status=200, headers=((b"content-length", b"4"),), body=event["rawQueryString"].encode())

        async def get() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", workers.port)
            writer.write(b"GET /report?q=17 HTTP/1.1\r\nhost: test\r\nx-request-id: order-17\r\n\r\n")
            response = await reader.readuntil(b"q=17")
            writer.close()
            return response

        async def main() -> None:
            waiting = asyncio.create_task(get())
            await eventually(lambda: workers.slots(0)["waiting"] == 1)

            async def script() -> None:
                response = await waiting
                assert b"200 OK" in response
                assert b"x-peaker-ran: function" in response
                await eventually(lambda: len(log.read_text().splitlines()) == 1)

            await with_functions(workers, answer, script)

        asyncio.run(main())
        (line,) = [json.loads(line) for line in log.read_text().splitlines()]
        assert (line["ran"], line["status"], line["path"]) == ("function", 200, "/report")
        assert (line["request_id"], line["cold"]) == ("order-17", True)
        assert line["waited_ms"] > 0
