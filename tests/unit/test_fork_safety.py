"""What makes a process unfit to be forked is found and named."""

import asyncio
import socket
import threading
from pathlib import Path

from peaker.functions.fork_safety import find_hazards, open_connections, other_threads
from peaker.testing.running import until


def own_fds() -> set[int]:
    listed = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return {fd for fd in listed if Path(f"/proc/self/fd/{fd}").exists() or Path(f"/proc/self/fd/{fd}").is_symlink()}


def test_a_thread_is_found_by_its_name_until_it_ends() -> None:
    before = other_threads()
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait, name="ticker")
    thread.start()
    assert sorted([*before, "ticker"]) == sorted(other_threads())
    assert "ticker" in find_hazards(own_fds(), settle_s=0.0)
    leave.set()
    thread.join()
    # The kernel takes the thread from its list a moment after Python does.
    until(lambda: other_threads() == before, 5.0)


def test_connections_are_named_by_their_peers() -> None:
    ours = own_fds()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address, port = listener.getsockname()
        assert open_connections(ours) == []  # listening is no connection
        with socket.create_connection((address, port)):
            assert open_connections(ours) == [f"127.0.0.1:{port}"]
    left, right = socket.socketpair()
    with left, right:
        assert open_connections(ours) == ["a socket pair", "a socket pair"]
        assert open_connections(ours | {left.fileno(), right.fileno()}) == []


def test_an_event_loop_is_named_as_one() -> None:
    ours = own_fds()
    loop = asyncio.new_event_loop()
    try:
        assert "an event loop left open" in open_connections(ours)
    finally:
        loop.close()
    assert open_connections(ours) == []
