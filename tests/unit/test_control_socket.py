"""The control socket between real sockets, on asyncio's and on uvloop's event loop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from peaker.control_socket import (
    CommandRefused,
    ControlClient,
    ControlServer,
    ControlUnavailable,
    Hello,
    Status,
    WithSocket,
    wait_until_ready,
)
from peaker.errors import ListenError, PeakerError

DEADLINE_S = 10.0


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def run_on_loop(main: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(DEADLINE_S):
                await main

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return run_on_loop


def _server(path: Path, **options: Any) -> ControlServer:
    return ControlServer(path, process="worker-3", generation=2, **{"commands": {}, **options})


def test_hello_tells_who_is_there(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        server = _server(tmp_path / "w.sock", details=lambda: {"port": 8000})
        client = await ControlClient.connect(tmp_path / "w.sock")
        assert await client.hello() == Hello(
            process="worker-3", pid=os.getpid(), generation=2, status=Status.STARTING, details={"port": 8000}
        )
        client.close()
        server.close()

    run(main())


def test_a_status_change_reaches_every_connection_unasked(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        server = _server(tmp_path / "w.sock")
        heard: asyncio.Queue[Hello] = asyncio.Queue()
        clients = [await ControlClient.connect(tmp_path / "w.sock", on_status=heard.put_nowait) for _ in range(2)]
        for client in clients:
            await client.hello()
        server.set_status(Status.FAILED, "the app does not import.")
        for _ in clients:
            hello = await heard.get()
            assert (hello.status, hello.error) == (Status.FAILED, "the app does not import.")
        for client in clients:
            client.close()
        server.close()

    run(main())


def test_a_socket_is_handed_over_and_stays_open_after_the_sender_closed_its_own(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            async def hand(_: dict[str, Any]) -> WithSocket:
                return WithSocket(listener)

            server = _server(tmp_path / "w.sock", commands={"listener": hand})
            client = await ControlClient.connect(tmp_path / "w.sock")
            handed = await client.receive_socket()
        with handed:
            assert handed.getsockname()[1] == port
            assert not handed.get_inheritable()
            with socket.create_connection(("127.0.0.1", port)):
                accepted, _ = handed.accept()
                accepted.close()
        client.close()
        server.close()

    run(main())


def test_handing_a_socket_over_leaves_it_non_blocking_for_all_who_have_it(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as original:
            os.set_blocking(original.fileno(), False)
            # As in a process that was given the descriptor's number: Python knows of no time-out here.
            inherited = socket.socket(fileno=os.dup(original.fileno()))

            async def hand(_: dict[str, Any]) -> WithSocket:
                return WithSocket(inherited)

            server = _server(tmp_path / "w.sock", commands={"listener": hand})
            client = await ControlClient.connect(tmp_path / "w.sock")
            (await client.receive_socket()).close()
            inherited.close()
            assert not os.get_blocking(original.fileno())
        client.close()
        server.close()

    run(main())


def test_slow_and_quick_commands_of_one_connection_do_not_wait_for_each_other(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def slow(_: dict[str, Any]) -> dict[str, Any]:
            await release.wait()
            return {"was": "slow"}

        server = _server(tmp_path / "w.sock", commands={"slow": slow})
        client = await ControlClient.connect(tmp_path / "w.sock")
        waiting = asyncio.ensure_future(client.command("slow"))
        await client.hello()
        assert not waiting.done()
        release.set()
        assert (await waiting)["was"] == "slow"
        client.close()
        server.close()

    run(main())


def test_refusals_carry_the_reason(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async def refuse(_: dict[str, Any]) -> dict[str, Any]:
            raise PeakerError("workers = 0 is not allowed; allowed: 1 to 8.")

        server = _server(tmp_path / "w.sock", commands={"scale": refuse})
        client = await ControlClient.connect(tmp_path / "w.sock")
        with pytest.raises(CommandRefused, match="workers = 0 is not allowed"):
            await client.command("scale", workers=0)
        with pytest.raises(CommandRefused, match="unknown command 'fly'; known: hello, scale"):
            await client.command("fly")
        client.close()
        server.close()

    run(main())


def test_lines_that_are_not_json_objects_are_answered_and_harm_nothing(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        server = _server(tmp_path / "w.sock")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "w.sock")
        writer.write(b'not json\n[1]\n\n{"command": "hello"}\n')
        for expected in (False, False, True):
            assert json.loads(await reader.readline())["ok"] is expected
        writer.close()
        server.close()

    run(main())


def test_an_endless_line_ends_the_connection_not_the_process(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        server = _server(tmp_path / "w.sock")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "w.sock")
        writer.write(b"x" * 2_000_000)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        client = await ControlClient.connect(tmp_path / "w.sock")
        assert (await client.hello()).process == "worker-3"
        client.close()
        server.close()

    run(main())


def test_commands_in_flight_fail_when_the_process_goes_away(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        began = asyncio.Event()

        async def never(_: dict[str, Any]) -> dict[str, Any]:
            began.set()
            await asyncio.Event().wait()
            return {}

        lost = asyncio.Event()
        server = _server(tmp_path / "w.sock", commands={"never": never})
        client = await ControlClient.connect(tmp_path / "w.sock", on_lost=lost.set)
        waiting = asyncio.ensure_future(client.command("never"))
        await began.wait()
        server.close()
        with pytest.raises(ControlUnavailable):
            await waiting
        await lost.wait()
        with pytest.raises(ControlUnavailable):
            await client.command("never")

    run(main())


def test_nobody_listening_is_said_so(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ControlUnavailable, match=r"gone\.sock"):
            await ControlClient.connect(tmp_path / "gone.sock")
        with pytest.raises(ControlUnavailable, match="not ready within"):
            await wait_until_ready(tmp_path / "gone.sock", timeout_s=0.05)

    run(main())


def test_an_orphan_is_told_once_no_connection_is_left(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        orphaned = asyncio.Event()
        server = _server(tmp_path / "w.sock", orphan_s_max=0.05, on_orphaned=orphaned.set)
        await orphaned.wait()  # Nobody ever came.
        orphaned.clear()
        client = await ControlClient.connect(tmp_path / "w.sock")
        await client.hello()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await orphaned.wait()
        client.close()
        await orphaned.wait()
        server.close()

    run(main())


def test_a_failure_before_anybody_connected_is_still_told(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        server = _server(tmp_path / "w.sock")
        telling = asyncio.ensure_future(server.tell_failure("no module named 'shop'."))
        await asyncio.sleep(0)
        heard: asyncio.Queue[Hello] = asyncio.Queue()
        client = await ControlClient.connect(tmp_path / "w.sock", on_status=heard.put_nowait)
        await telling
        hello = await heard.get()
        assert (hello.status, hello.error) == (Status.FAILED, "no module named 'shop'.")
        client.close()
        await server.tell_failure("nobody is there.", timeout_s=0.05)
        server.close()

    run(main())


def test_waiting_for_ready_ends_with_the_status_that_comes(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        for status in (Status.READY, Status.FAILED):
            waiting = asyncio.ensure_future(wait_until_ready(tmp_path / "w.sock", timeout_s=5))
            server = _server(tmp_path / "w.sock")
            while not server.connections:  # noqa: ASYNC110 - the server tells nobody of a connection
                await asyncio.sleep(0)
            server.set_status(status, "no module named 'shop'.")
            if status is Status.READY:
                assert (await waiting).status is Status.READY
            else:
                with pytest.raises(CommandRefused, match=r"worker-3 is failed\. no module named 'shop'"):
                    await waiting
            server.close()

    run(main())


def test_a_failure_pushed_by_a_process_that_ends_before_it_replies_is_heard(run: Any, tmp_path: Path) -> None:
    """1. A process accepts. 2. It pushes its failure. 3. It ends with the hello unread."""
    path = tmp_path / "w.sock"
    failed = Hello(process="worker-3", pid=1, generation=2, status=Status.FAILED, error="no module named 'shop'.")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.setblocking(False)
            waiting = asyncio.ensure_future(wait_until_ready(path, timeout_s=2))
            connection, _ = await loop.sock_accept(listener)
            with connection:
                await loop.sock_sendall(
                    connection, json.dumps({"event": "status", **failed.to_json()}).encode() + b"\n"
                )
        with pytest.raises(CommandRefused, match=r"worker-3 is failed\. no module named 'shop'"):
            await waiting

    run(main())


def test_the_socket_is_private_and_a_stale_file_does_not_block_a_start(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "sockets" / "w.sock"
        path.parent.mkdir()
        path.write_text("left behind")
        server = _server(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        successor = _server(path)
        server.close()
        client = await ControlClient.connect(path)  # The predecessor's end did not take the successor's file.
        await client.hello()
        client.close()
        successor.close()
        assert list(path.parent.iterdir()) == []

    run(main())


def test_a_socket_that_cannot_be_made_names_its_path(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ListenError, match=r"file/w\.sock"):
            _server(tmp_path / "file" / "w.sock")

    run(main())
