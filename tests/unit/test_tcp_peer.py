"""Who is at the other end of a connection on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peaker.functions import tcp_peer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        served, _ = server.accept()
        with served:
            yield client, served


def test_a_connections_socket_is_found_with_its_process(connection: tuple[socket.socket, socket.socket]) -> None:
    client, served = connection
    inode = tcp_peer.socket_inode(served.getpeername(), served.getsockname())
    assert inode == os.stat(client.fileno()).st_ino  # noqa: PTH116 - of a descriptor
    assert tcp_peer.holds_socket([os.getpid()], inode)
    assert not tcp_peer.holds_socket([], inode)


def test_another_process_does_not_hold_it(connection: tuple[socket.socket, socket.socket]) -> None:
    client, _ = connection
    inode = os.stat(client.fileno()).st_ino  # noqa: PTH116
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert not tcp_peer.holds_socket([other.pid], inode)
    assert not tcp_peer.holds_socket([other.pid], inode), "a process that has ended"


def test_a_connection_that_is_gone_has_no_socket(connection: tuple[socket.socket, socket.socket]) -> None:
    client, served = connection
    ends = served.getpeername(), served.getsockname()
    client.close()
    served.close()
    assert tcp_peer.socket_inode(ends[0], (ends[1][0], 1)) == 0


def test_the_table_of_proc_says_the_same(connection: tuple[socket.socket, socket.socket]) -> None:
    _, served = connection
    ends = served.getpeername(), served.getsockname()
    table = Path("/proc/net/tcp").read_text()
    assert tcp_peer._look_up(table, *ends) == tcp_peer.socket_inode(*ends) > 0
    assert tcp_peer._look_up(table, ends[0], ("127.0.0.2", 1)) == 0
