"""What a client sees of one real worker process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from raw_client import RawClient

from peaker.errors import PeakerError
from peaker.settings import AppSection, ResourceSection, ServersSection, Settings
from peaker.testing.workers import RunningWorkers

APPS = str(Path(__file__).parents[1] / "apps")
DEADLINE_S = 10.0


def settings(**servers: Any) -> Settings:
    quick = {"drain_idle_s": 0.0, "drain_s_max": 10.0, "in_flight_max": 64}
    return Settings(
        app=AppSection(web="worker_app:app"), servers=ServersSection(**{**quick, **servers}), directory=APPS
    )


@pytest.fixture(scope="module")
def worker() -> Iterator[RunningWorkers]:
    with RunningWorkers(settings()) as running:
        yield running


@pytest.fixture
def client(worker: RunningWorkers) -> Iterator[RawClient]:
    with RawClient(worker.port) as connected:
        yield connected


def seen(worker: RunningWorkers) -> dict[str, Any]:
    with RawClient(worker.port) as client:
        client.get("/seen")
        found: dict[str, Any] = json.loads(client.answer().body)
        return found


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def test_keep_alive_carries_many_requests(client: RawClient) -> None:
    for number in range(20):
        client.post("/echo", b"body %d" % number)
        answer = client.answer()
        assert (answer.status, json.loads(answer.body)["body"]) == (200, f"body {number}")
        assert "connection" not in answer.headers
        assert "date" in answer.headers


def test_the_scope_is_that_of_the_request(worker: RunningWorkers, client: RawClient) -> None:
    client.get("/echo/caf%C3%A9?a=1&a=%2F", "X-Repeated: 1", "x-repeated: 2")
    shown = json.loads(client.answer().body)
    assert shown["path"] == "/echo/caf\u00e9"
    assert shown["raw_path"] == "/echo/caf%C3%A9"
    assert shown["query_string"] == "a=1&a=%2F"
    assert shown["headers"] == [["host", "test"], ["x-repeated", "1"], ["x-repeated", "2"]]
    assert shown["client"] == ["127.0.0.1", client.socket.getsockname()[1]]
    assert shown["server"] == ["127.0.0.1", worker.port]
    assert shown["state"] == {"pool": f"made in {worker.processes[0].pid}"}


def test_forwarded_headers_are_not_believed_without_trusted_proxies(client: RawClient) -> None:
    client.get("/echo", "x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https")
    shown = json.loads(client.answer().body)
    assert (shown["client"][0], shown["scheme"]) == ("127.0.0.1", "http")


def test_forwarded_headers_of_a_trusted_proxy_are_believed() -> None:
    trusting = Settings(
        app=AppSection(web="worker_app:app", trusted_proxies=["127.0.0.0/8"]),
        servers=ServersSection(drain_idle_s=0.0),
        resource=(ResourceSection(name="main-db", connections_max=20, per_worker=7),),
        env={"GREETING": "hello"},
        directory=APPS,
    )
    with RunningWorkers(trusting) as running, RawClient(running.port) as client:
        client.get("/echo", "x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https")
        shown = json.loads(client.answer().body)
        assert (shown["client"][0], shown["scheme"]) == ("203.0.113.9", "https")
        for name, value in (("GREETING", b"hello"), ("PEAKER_RESOURCE_MAIN_DB_POOL", b"7")):
            client.get(f"/environment?name={name}")
            assert client.answer().body == value


def test_a_response_streams_as_it_is_made(client: RawClient) -> None:
    """The second event is asked for only by the first having been seen: nothing is held back."""
    client.get("/stream?n=3&gap=0.1")
    status, headers = client.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    began_s = time.monotonic()
    assert client.chunk() == b"data: 0\n\n"
    assert time.monotonic() - began_s < 0.09
    assert [client.chunk(), client.chunk(), client.chunk()] == [b"data: 1\n\n", b"data: 2\n\n", b""]


def test_a_request_streams_into_the_app_and_back_at_once(client: RawClient) -> None:
    client.send(b"POST /upper HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
    client.head()
    for word in (b"one", b"three", b"two"):
        client.send(b"%x\r\n%b\r\n" % (len(word), word))
        assert client.chunk() == word.upper()
    client.send(b"0\r\n\r\n")
    assert client.chunk() == b""


def test_a_50_mb_upload_arrives_whole(client: RawClient) -> None:
    piece = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    client.send(b"POST /digest HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % (50 * len(piece)))
    for _ in range(50):
        client.send(piece)
        digest.update(piece)
    assert client.answer().body == digest.hexdigest().encode()


def test_a_large_response_reaches_a_slow_client_whole(client: RawClient) -> None:
    client.get("/big?bytes=20000000")
    assert len(client.answer().body) == 20_000_000


def test_a_client_that_expects_100_continue_gets_it_only_if_the_app_reads(client: RawClient) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
    client.send(head % b"/echo")
    assert client.head()[0] == 100
    client.send(b"body")
    assert json.loads(client.answer().body)["body"] == "body"
    client.send(head % b"/too-large")
    assert client.answer().status == 413
    assert client.is_closed()  # Whether the body comes after all cannot be known.


def test_an_answer_before_the_upload_has_ended_leaves_the_connection_in_step(client: RawClient) -> None:
    client.post("/too-large", b"x" * 2_000_000)
    assert client.answer().status == 413
    client.get("/pid")
    assert client.answer().status == 200


def test_the_app_hears_of_a_client_that_goes_away(worker: RunningWorkers) -> None:
    before = seen(worker)["disconnects"]
    with RawClient(worker.port) as client:
        client.get("/until-gone")
        until(lambda: seen(worker)["running"] == 1)
    until(lambda: seen(worker)["disconnects"] == before + 1)


def test_every_pipelined_request_hears_of_a_client_that_goes_away(worker: RunningWorkers) -> None:
    before = seen(worker)["disconnects"]
    with RawClient(worker.port) as client:
        client.send(b"GET /until-gone HTTP/1.1\r\nhost: test\r\n\r\n" * 3)
        until(lambda: seen(worker)["running"] == 1)
    until(lambda: seen(worker)["disconnects"] == before + 1)
    assert seen(worker)["running"] == 0


def test_an_app_that_fails_answers_500_and_one_that_fails_late_breaks_off(worker: RunningWorkers) -> None:
    with RawClient(worker.port) as client:
        client.get("/fail")
        assert client.answer().status == 500
    with RawClient(worker.port) as client:
        client.get("/fail-late")
        with pytest.raises(EOFError):
            client.answer()


def test_repeated_headers_and_raw_bytes_pass(client: RawClient) -> None:
    client.get("/headers")
    raw = client._until(b"\r\n\r\n")
    assert b"HTTP/1.1 207 Multi-Status" in raw
    assert raw.count(b"set-cookie: ") == 2
    assert b"x-bytes: \xe9\xff" in raw


def test_websockets_carry_text_and_bytes_and_their_close_code(worker: RunningWorkers) -> None:
    async def run() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{worker.port}/chat") as socket:
            await socket.send("text")
            assert await socket.recv() == "text"
            await socket.send(b"\x00bytes")
            assert await socket.recv() == b"\x00bytes"
            await (await socket.ping())
            await socket.close(4001, "done")
        with pytest.raises(websockets.InvalidStatus, match="403"):
            async with websockets.connect(f"ws://127.0.0.1:{worker.port}/refused"):
                pass

    asyncio.run(run())
    until(lambda: 4001 in seen(worker)["websocket_codes"])


def test_websockets_are_counted_and_hold_no_slot(worker: RunningWorkers) -> None:
    async def run() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{worker.port}/chat") as socket:
            await socket.send("hello")
            await socket.recv()
            until(lambda: worker.slots(0)["websockets"] == 1)
            assert worker.slots(0)["in_flight"] == 0

    asyncio.run(run())
    until(lambda: worker.slots(0)["websockets"] == 0)


def test_a_wsgi_app_is_served() -> None:
    wsgi = Settings(
        app=AppSection(web="worker_app:wsgi"),
        servers=ServersSection(drain_idle_s=0.0, drain_s_max=10.0),
        directory=APPS,
    )
    with RunningWorkers(wsgi) as running, RawClient(running.port) as client:
        for body in (b"", b"x" * 100_000):
            client.post("/some/path", body)
            answer = client.answer()
            assert answer.body == b"wsgi got %d bytes at /some/path" % len(body)
            assert answer.headers["x-method"] == "post"


def test_an_app_that_does_not_import_is_named_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text("import surely_not_there\n")
    broken = Settings(app=AppSection(web="broken_app:app"), directory=str(tmp_path))
    running = RunningWorkers(broken)
    with pytest.raises(PeakerError, match=r"'broken_app:app' does not import: ModuleNotFoundError.*surely_not_there"):
        running.__enter__()
    assert running.processes[0].returncode == 3


def test_an_app_whose_start_up_fails_is_named_with_its_message() -> None:
    failing = Settings(
        app=AppSection(web="worker_app:app"), env={"WORKER_APP_START_FAILS": "no database at db:5432"}, directory=APPS
    )
    running = RunningWorkers(failing)
    with pytest.raises(PeakerError, match="start-up failed: no database at db:5432"):
        running.__enter__()
    assert running.processes[0].returncode == 3


def test_a_worker_at_its_connection_limit_says_so() -> None:
    with RunningWorkers(settings(connections_max=3)) as running:
        held = [RawClient(running.port) for _ in range(3)]
        for client in held:
            client.get("/pid")
            assert client.answer().status == 200
        with RawClient(running.port) as late:
            late.get("/pid")
            answer = late.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert b"servers.connections_max" in answer.body
        held.pop().socket.close()
        until(lambda: running.slots(0)["connections"] < 3)
        with RawClient(running.port) as client:
            client.get("/pid")
            assert client.answer().status == 200
        for client in held:
            client.socket.close()


def test_many_clients_at_once_are_all_answered(worker: RunningWorkers) -> None:
    statuses: list[int] = []

    def one_client() -> None:
        with RawClient(worker.port) as client:
            for _ in range(20):
                client.get("/pid")
                statuses.append(client.answer().status)

    threads = [threading.Thread(target=one_client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert statuses == [200] * 400
