"""How a worker ends: nothing that was begun is lost, and it ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets
from raw_client import RawClient

from peaker.control_socket import CommandRefused, ControlClient, Status
from peaker.settings import AppSection, ServersSection, Settings
from peaker.testing.workers import RunningWorkers

APPS = str(Path(__file__).parents[1] / "apps")
DEADLINE_S = 15.0


def settings(shutdown_file: Path | None = None, **servers: Any) -> Settings:
    chosen = {"drain_idle_s": 0.3, "drain_s_max": 10.0, "in_flight_max": 64, **servers}
    env = {"WORKER_APP_SHUTDOWN_FILE": str(shutdown_file)} if shutdown_file else {}
    return Settings(app=AppSection(web="worker_app:app"), servers=ServersSection(**chosen), env=env, directory=APPS)


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.005)


def is_draining(worker: RunningWorkers, row: int = 0) -> bool:
    return worker.slots(row)["status"] == 3


def drain_by_command(worker: RunningWorkers, row: int = 0) -> None:
    async def run() -> None:
        client = await ControlClient.connect(worker.state.control_socket(f"worker-{row}"))
        await client.command("drain")
        client.close()

    asyncio.run(run())


class Load(threading.Thread):
    """A client that never retries: keep-alive, a new connection only where it was told that this one closes."""

    def __init__(self, port: int, pause_s: float) -> None:
        super().__init__()
        self.port = port
        self.pause_s = pause_s
        self.answered = 0
        self.told_to_close = 0
        self.failures: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set() and not self.failures:
            with RawClient(self.port) as client:
                self._use(client)

    def _use(self, client: RawClient) -> None:
        while not self.stopped.is_set():
            if select.select([client.socket], [], [], 0)[0]:
                return  # The server has closed an idle connection: nothing was sent, so nothing is lost.
            try:
                client.post("/echo", b"payload", "x-padding: " + "p" * 300)
                answer = client.answer()
            except (EOFError, OSError) as error:
                self.failures.append(repr(error))
                return
            if answer.status != 200 or json.loads(answer.body)["body"] != "payload":
                self.failures.append(f"{answer.status} {answer.body!r}")
            self.answered += 1
            if answer.headers.get("connection") == "close":
                self.told_to_close += 1
                return
            self.stopped.wait(self.pause_s)


def test_no_request_is_lost_while_workers_come_and_go_under_load(capfd: pytest.CaptureFixture[str]) -> None:
    """Five times: a second worker starts, the first drains. Clients that do not retry see only answers."""
    with RunningWorkers(settings(), count=1, rows=2) as workers:
        clients = [Load(workers.port, pause_s) for pause_s in (0.0, 0.001, 0.002, 0.01, 0.05, 0.4)]
        for client in clients:
            client.start()
        try:
            for turn in range(5):
                old, new = turn % 2, (turn + 1) % 2
                workers.start(new)
                workers.wait_until_ready(new)
                workers.signal(old)
                assert workers.wait_for_exit(old) == 0
        finally:
            for client in clients:
                client.stopped.set()
            for client in clients:
                client.join(DEADLINE_S)
        assert [client.failures for client in clients] == [[]] * len(clients)
        assert all(client.answered > 5 for client in clients)
        assert sum(client.told_to_close for client in clients) >= 5
    assert "Traceback" not in capfd.readouterr().err


def test_a_running_request_is_finished_and_says_that_the_connection_closes(tmp_path: Path) -> None:
    marker = tmp_path / "shutdown"
    with RunningWorkers(settings(marker)) as worker, RawClient(worker.port) as client:
        client.get("/sleep?s=0.5")
        until(lambda: worker.slots(0)["in_flight"] == 1)
        worker.signal(0)
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()
        assert worker.wait_for_exit(0) == 0
        assert marker.read_text() == "running=0 background=0"


def test_work_after_the_response_is_finished_before_the_lifespan_ends(tmp_path: Path) -> None:
    marker = tmp_path / "shutdown"
    with RunningWorkers(settings(marker)) as worker, RawClient(worker.port) as client:
        client.get("/background?s=0.5")
        assert client.answer().body == b"done"
        worker.signal(0)
        assert worker.wait_for_exit(0) == 0
        assert marker.read_text() == "running=0 background=1"


def test_a_stream_that_had_begun_is_finished(tmp_path: Path) -> None:
    with RunningWorkers(settings(tmp_path / "shutdown")) as worker, RawClient(worker.port) as client:
        client.get("/stream?n=10&gap=0.05")
        client.head()
        client.chunk()
        worker.signal(0)
        assert [client.chunk() for _ in range(10)][-2:] == [b"data: 9\n\n", b""]
        assert client.is_closed()
        assert worker.wait_for_exit(0) == 0


def test_an_upload_that_had_begun_is_finished() -> None:
    with RunningWorkers(settings()) as worker, RawClient(worker.port) as client:
        client.send(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nfirst")
        until(lambda: worker.slots(0)["in_flight"] == 1)
        worker.signal(0)
        until(lambda: is_draining(worker))
        client.send(b"end")
        assert json.loads(client.answer().body)["body"] == "firstend"


def test_a_head_that_had_begun_is_answered() -> None:
    with RunningWorkers(settings()) as worker, RawClient(worker.port) as client:
        client.send(b"GET /pid HTTP/1.1\r\nhost: te")
        until(lambda: worker.slots(0)["connections"] == 1)
        worker.signal(0)
        until(lambda: is_draining(worker))
        client.send(b"st\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_an_idle_connection_may_still_ask_once_within_drain_idle_s() -> None:
    with RunningWorkers(settings(drain_idle_s=1.0)) as worker, RawClient(worker.port) as client:
        client.get("/pid")
        assert "connection" not in client.answer().headers
        worker.signal(0)
        until(lambda: is_draining(worker))
        client.get("/pid")
        assert client.answer().headers["connection"] == "close"
        assert worker.wait_for_exit(0) == 0


def test_idle_connections_close_after_drain_idle_s_and_no_earlier() -> None:
    with RunningWorkers(settings(drain_idle_s=0.6)) as worker, RawClient(worker.port) as idle:
        with RawClient(worker.port) as fresh:
            idle.get("/pid")
            idle.answer()
            until(lambda: worker.slots(0)["connections"] == 2)
            began_s = time.monotonic()
            worker.signal(0)
            assert idle.is_closed()
            assert fresh.is_closed()
        assert 0.55 < time.monotonic() - began_s < 2.0
        assert worker.wait_for_exit(0) == 0


def test_a_draining_worker_accepts_no_connection_and_the_sibling_does() -> None:
    with RunningWorkers(settings(drain_idle_s=1.0), count=2) as workers, RawClient(workers.port) as held:
        held.get("/pid")
        pid = int(held.answer().body)
        row = next(row for row in (0, 1) if workers.processes[row].pid == pid)
        workers.signal(row)
        until(lambda: is_draining(workers, row))
        for _ in range(20):
            with RawClient(workers.port) as client:
                client.get("/pid")
                assert int(client.answer().body) == workers.processes[1 - row].pid


def test_websockets_are_closed_with_1012() -> None:
    with RunningWorkers(settings()) as worker:

        async def run() -> None:
            async with websockets.connect(f"ws://127.0.0.1:{worker.port}/chat") as connection:
                await connection.send("hello")
                assert await connection.recv() == "hello"
                worker.signal(0)
                with pytest.raises(websockets.ConnectionClosed):
                    async with asyncio.timeout(DEADLINE_S):
                        await connection.recv()
                assert connection.close_code == 1012

        asyncio.run(run())
        assert worker.wait_for_exit(0) == 0


def test_what_does_not_end_is_cut_off_at_drain_s_max(tmp_path: Path) -> None:
    marker = tmp_path / "shutdown"
    with RunningWorkers(settings(marker, drain_s_max=0.5)) as worker, RawClient(worker.port) as client:
        client.get("/sleep?s=60")
        until(lambda: worker.slots(0)["in_flight"] == 1)
        began_s = time.monotonic()
        worker.signal(0)
        assert worker.wait_for_exit(0) == 0
        assert 0.4 < time.monotonic() - began_s < 3.0
        assert marker.read_text().startswith("running=0")


def test_a_second_signal_ends_it_at_once() -> None:
    with RunningWorkers(settings(drain_s_max=60.0)) as worker, RawClient(worker.port) as client:
        client.get("/sleep?s=60")
        until(lambda: worker.slots(0)["in_flight"] == 1)
        worker.signal(0, signal.SIGINT)
        until(lambda: is_draining(worker))
        worker.signal(0, signal.SIGINT)
        assert worker.wait_for_exit(0, 5.0) == 1


def test_the_control_command_drains_and_status_changes_are_told() -> None:
    with RunningWorkers(settings()) as worker, RawClient(worker.port) as client:
        client.get("/sleep?s=0.3")
        until(lambda: worker.slots(0)["in_flight"] == 1)

        async def run() -> None:
            told: asyncio.Queue[Status] = asyncio.Queue()
            path = worker.state.control_socket("worker-0")
            control = await ControlClient.connect(path, on_status=lambda hello: told.put_nowait(hello.status))
            hello = await control.hello()
            assert (hello.process, hello.pid, hello.status) == ("worker-0", worker.processes[0].pid, Status.READY)
            assert (hello.generation, hello.details["row"], hello.details["in_flight"]) == (1, 0, 1)
            handed = await control.receive_socket()
            assert handed.getsockname()[1] == worker.port
            handed.close()
            await control.command("drain")
            assert await asyncio.wait_for(told.get(), DEADLINE_S) is Status.DRAINING
            with pytest.raises(CommandRefused, match="drains"):
                await control.receive_socket()
            control.close()

        asyncio.run(run())
        assert client.answer().status == 200
        assert worker.wait_for_exit(0) == 0


def test_a_listening_socket_handed_over_keeps_the_port() -> None:
    """Whoever has the socket can start the next worker; the address never closes."""
    with RunningWorkers(settings(), rows=2) as worker:

        async def take() -> socket.socket:
            control = await ControlClient.connect(worker.state.control_socket("worker-0"))
            handed = await control.receive_socket()
            control.close()
            return handed

        handed = asyncio.run(take())
        worker.listener.close()
        worker.listener = handed
        worker.signal(0)
        assert worker.wait_for_exit(0) == 0
        with RawClient(worker.port) as client:  # It waits in the socket's queue.
            client.get("/pid")
            worker.start(1)
            assert client.answer().status == 200


def test_a_worker_without_a_supervisor_drains_after_orphan_s_max() -> None:
    began_s = time.monotonic()
    with RunningWorkers(settings(orphan_s_max=1.0), supervised=False) as worker:

        async def stay(seconds: float) -> None:
            control = await ControlClient.connect(worker.state.control_socket("worker-0"))
            await asyncio.sleep(seconds)
            assert (await control.hello()).status is Status.READY
            control.close()

        asyncio.run(stay(1.3))
        assert worker.wait_for_exit(0) == 0
        assert time.monotonic() - began_s > 2.3


def test_threads_that_never_end_do_not_keep_the_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stuck_app.py").write_text(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
    )
    stuck = Settings(
        app=AppSection(web="stuck_app:app"), servers=ServersSection(drain_s_max=0.2), directory=str(tmp_path)
    )
    with RunningWorkers(stuck) as worker:
        worker.signal(0)
        assert worker.wait_for_exit(0, 5.0) == 1
    assert "threads of the app have not ended" in capfd.readouterr().err


def test_sigterm_while_the_app_starts_ends_it(tmp_path: Path) -> None:
    (tmp_path / "slow_start_app.py").write_text(
        "import asyncio\nasync def app(scope, receive, send):\n    await receive()\n    await asyncio.sleep(60)\n"
    )
    slow = Settings(app=AppSection(web="slow_start_app:app"), directory=str(tmp_path))
    workers = RunningWorkers(slow)
    with contextlib.closing(workers):
        workers.count = 0
        workers.__enter__()
        workers.start(0)
        until(lambda: workers.slots(0)["status"] == 1)
        workers.signal(0)
        assert workers.wait_for_exit(0, 5.0) == 0
