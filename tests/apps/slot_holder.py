"""Holds a slot of the servers, again and again, for as long as others make progress elsewhere."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection

DEADLINE_S = 30.0
PATIENCE_S = 0.5


@dataclass
class SlotHolder:
    """A client that keeps a request's body back while `held_turn` answers reach others, then lets `free_turn` pass.

    The server's interim answer to `Expect: 100-continue` tells that the app is reading, hence that it has the slot. A
    request that may only run on the servers can be what the others wait for: after PATIENCE_S the slot is given back.
    """

    host: str
    port: int
    path: str
    held_turn: int = 6
    free_turn: int = 24
    held: int = 0
    _answered: int = 0
    _ended: bool = False
    _progress: threading.Condition = field(default_factory=threading.Condition)

    def answered(self) -> None:
        """Somebody else got an answer."""
        with self._progress:
            self._answered += 1
            self._progress.notify_all()

    def end(self) -> None:
        """Nobody else is left."""
        with self._progress:
            self._ended = True
            self._progress.notify_all()

    def hold(self) -> None:
        """Hold and release until `end`."""
        while not self._ended:
            self._hold_once()
            self._wait_for(self.free_turn)

    def _hold_once(self) -> None:
        connection = HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        connection.putrequest("PUT", self.path)
        connection.putheader("content-length", "4")
        connection.putheader("expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(64, 0) == b"HTTP/1.1 100 Continue\r\n\r\n"
        self.held += 1
        self._wait_for(self.held_turn)
        connection.send(b"held")
        assert connection.getresponse().read()
        connection.close()

    def _wait_for(self, answers: int) -> None:
        with self._progress:
            target = self._answered + answers
            self._progress.wait_for(lambda: self._ended or self._answered >= target, PATIENCE_S)
