"""The loopback port on which one instance's runtime finds its Runtime API.

AWS_LAMBDA_RUNTIME_API holds a host and a port and nothing else, so what tells one instance from another is the port:
each has its own. A port can be connected to by any process of the machine, though, and who asks for the next event
first would get it. So before a word of a connection is read, the kernel is asked which process is at its other end
(functions/tcp_peer.py): only processes of this very instance are served, any other is answered 403 and logged.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from peaker.functions import tcp_peer
from peaker.http1_server import HttpAnswer, HttpHandler, HttpLimits, HttpRequest, HttpServer, OpenBody, Refuse
from peaker.units import KIB

HOST = "127.0.0.1"
CONNECTIONS_MAX = 32
_BACKLOG = 128
_STRANGERS = HttpLimits(
    body_bytes_max=64 * KIB, body_timeout_s=5.0, head_timeout_s=5.0, idle_s_max=1.0, connections_max=8
)
"""For connections that are only refused."""


def runtime_limits(body_bytes_max: int) -> HttpLimits:
    """A runtime may be silent between two requests, and within a streamed response, as long as a function may run."""
    return HttpLimits(
        body_bytes_max=body_bytes_max, body_timeout_s=960.0, idle_s_max=960.0, connections_max=CONNECTIONS_MAX
    )


class RuntimePort:
    """Listens from the start, serves once `begin` says whom."""

    def __init__(self, handler: HttpHandler, *, limits: HttpLimits, refuse: Refuse, open_body: OpenBody) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = HttpServer(handler, limits=limits, refuse=refuse, open_body=open_body)
        self._strangers = HttpServer(_refuse_stranger, limits=_STRANGERS, refuse=_forbidden)
        self._listener = socket.create_server((HOST, 0), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pids: Callable[[], list[int]] = list
        self._on_stranger: Callable[[], None] = _nothing

    @property
    def address(self) -> str:
        """As AWS_LAMBDA_RUNTIME_API has it."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def begin(self, pids: Callable[[], list[int]], on_stranger: Callable[[], None]) -> None:
        """Accept connections of the processes that `pids` names when one comes; what came before has waited."""
        self._pids = pids
        self._on_stranger = on_stranger
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Listen no more and cut off what there is; a second call does nothing."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._server.cut_off()
            self._strangers.cut_off()

    def _accept(self) -> None:
        try:
            connection, remote = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # it has gone again
            return
        connection.setblocking(False)
        server = self._server
        if not self._is_own(connection, remote):
            server = self._strangers
            self._on_stranger()
        task = self._loop.create_task(server.take(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_own(self, connection: socket.socket, remote: tcp_peer.Address) -> bool:
        if not tcp_peer.can_tell():
            return True
        inode = tcp_peer.socket_inode(remote, connection.getsockname())
        return inode != 0 and tcp_peer.holds_socket(self._pids(), inode)


async def _refuse_stranger(_: HttpRequest) -> HttpAnswer:
    return _forbidden(403, "")


def _forbidden(_: int, __: str) -> HttpAnswer:
    body = b'{"errorMessage":"This Runtime API belongs to another process","errorType":"Forbidden"}\n'
    return HttpAnswer(status=403, headers=[("content-type", "application/json")], body=body)


def _nothing() -> None:
    """Nobody listens yet, so there are no strangers."""
