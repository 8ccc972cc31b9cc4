"""Taking connections from the listening socket that all workers share.

Every worker is woken by a new connection and the first `accept` gets it, so which one takes it is chance, and a
keep-alive connection then stays there. This is where that chance is steered: `peaker.policy.sharing.accept` decides.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from peaker.gate.neighbours import Neighbourhood
from peaker.policy.sharing import Acceptance, accept
from peaker.servers.connection_state import ConnectionState

DECLINED_S = 0.002
"""How long a connection is left to the siblings before this worker looks again."""

ACCEPTS_PER_WAKE_MAX = 16
"""Further ones are taken in the next turn of the loop, between requests."""

_FAILED_S_MIN = 0.01
_FAILED_S_MAX = 1.0
_LINGERING_MAX = 256

# Errors of `accept` that concern one connection or pass by themselves; see accept(2), "Error handling".
_CONNECTION_ERRORS = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EINTR,
    }
)

_REASON = b"This worker has as many connections as it may (servers.connections_max)."
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_REASON), _REASON)
)

_logger = logging.getLogger("peaker.acceptor")


class Acceptor:
    """Accepts while `start`ed; `neighbourhood` is None for a worker that is alone."""

    def __init__(
        self,
        listener: socket.socket,
        state: ConnectionState,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        neighbourhood: Neighbourhood | None,
        is_full: Callable[[], bool],
        publish: Callable[[int], None],
    ) -> None:
        self._listener = listener
        self._state = state
        self._make_protocol = make_protocol
        self._neighbourhood = neighbourhood
        self._is_full = is_full
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._declines = 0
        self._failed_s = _FAILED_S_MIN
        self._retry: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[object]] = set()
        self._lingering: list[socket.socket] = []
        self._accepting = False
        self.turned_away = 0

    @property
    def connections(self) -> int:
        """Open ones, those that are just being set up included."""
        return len(self._state.connections) + len(self._opening)

    def start(self) -> None:
        """Accept from now on."""
        self._accepting = True
        self._listen()

    def stop(self) -> None:
        """Accept nothing more; connections that wait stay for the siblings."""
        self._accepting = False
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()
        self.close_lingering()

    def close_lingering(self) -> None:
        """Close those turned away before the last call; called once a second."""
        for connection in self._lingering:
            connection.close()
        self._lingering.clear()

    def _listen(self) -> None:
        self._retry = None
        if self._accepting:
            self._loop.add_reader(self._listener, self._ready)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._retry = self._loop.call_later(seconds, self._listen)

    def _ready(self) -> None:
        for _ in range(ACCEPTS_PER_WAKE_MAX):
            decision = self._decide()
            if decision is Acceptance.LATER:
                self._declines += 1
                self._pause(DECLINED_S)
                return
            self._declines = 0
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                return
            self._failed_s = _FAILED_S_MIN
            if decision is Acceptance.TURN_AWAY:
                self._turn_away(connection)
            else:
                self._open(connection)

    def _decide(self) -> Acceptance:
        return accept(
            self._neighbourhood.ready() if self._neighbourhood is not None else (),
            connections=self.connections,
            connections_max=self._state.limits.connections_max,
            is_full=self._is_full(),
            declines=self._declines,
        )

    def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        task = self._loop.create_task(self._connect(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        self._publish(self.connections)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError as error:
            connection.close()  # The client has gone in the meantime.
            _logger.debug("a connection ended while it was set up: %s", error, extra={"action": "accept"})

    def _turn_away(self, connection: socket.socket) -> None:
        self.turned_away += 1
        connection.setblocking(False)
        try:
            connection.send(TURNED_AWAY)
            # Open a little longer: closing with unread bytes would reset the connection and take the answer with it.
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
            return
        self._lingering.append(connection)
        if len(self._lingering) > _LINGERING_MAX:
            self._lingering.pop(0).close()

    def _failed(self, error: OSError) -> None:
        if error.errno in _CONNECTION_ERRORS:
            return  # That connection is off the queue; the socket is still readable where there are more.
        # EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the queue and would wake the loop without end.
        _logger.error(
            "connections cannot be accepted for %.2f s: %s",
            self._failed_s,
            error,
            extra={"action": "accept"},
        )
        self._pause(self._failed_s)
        self._failed_s = min(self._failed_s * 2, _FAILED_S_MAX)
