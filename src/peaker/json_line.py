"""One connection that carries JSON objects, one a line, with a socket beside a line where there is one.

It is read and written directly from the event loop's readiness callbacks: transports, uvloop's above all, cannot pass
descriptors, and neither side ever blocks or needs a thread.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

LINE_BYTES_MAX = 1_048_576


class JsonLine:
    """Either side of such a connection.

    A line that hands over a socket carries `"descriptor": true`; `on_message` gets it beside the line and owns it.
    `on_lost` is called once, whichever side ended the connection.
    """

    def __init__(
        self,
        connection: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[JsonLine, dict[str, Any], socket.socket | None], None],
        on_lost: Callable[[JsonLine], None],
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._loop = loop
        self._on_message = on_message
        self._on_lost = on_lost
        self._arrived = bytearray()
        self._handed: deque[int] = deque()
        self._leaving: deque[tuple[bytes, socket.socket | None]] = deque()
        self._leaving_bytes = 0
        self._is_closed = False
        loop.add_reader(connection, self._read)

    def send(self, message: dict[str, Any], handed: socket.socket | None = None) -> None:
        """Queue one line; a peer that lets more than LINE_BYTES_MAX pile up is cut off."""
        if self._is_closed:
            return
        line = json.dumps(message).encode() + b"\n"
        # A duplicate, since the sender may close its own before the line has left.
        self._leaving.append((line, _duplicate(handed) if handed is not None else None))
        self._leaving_bytes += len(line)
        if self._leaving_bytes > LINE_BYTES_MAX + len(line):
            self.close()
            return
        self._write()

    def close(self) -> None:
        """Hang up; what has not left is dropped."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        self._connection.close()
        for _, handed in self._leaving:
            if handed is not None:
                handed.close()
        while self._handed:
            os.close(self._handed.popleft())
        self._on_lost(self)

    def _write(self) -> None:
        while self._leaving:
            line, handed = self._leaving.popleft()
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handed.fileno()]))] if handed else []
            try:
                sent = self._connection.sendmsg([line], ancillary)
            except (BlockingIOError, InterruptedError):
                self._leaving.appendleft((line, handed))
                self._loop.add_writer(self._connection, self._write)
                return
            except OSError:
                self._leaving.appendleft((line, handed))
                self.close()
                return
            if handed is not None:
                handed.close()  # It travels with the first byte.
            self._leaving_bytes -= sent
            if sent < len(line):
                self._leaving.appendleft((line[sent:], None))
        self._loop.remove_writer(self._connection)

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, 65_536, 8)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            self._handed.append(descriptor)
        if not data:
            self.close()
            return
        self._arrived += data
        *lines, rest = self._arrived.split(b"\n")
        self._arrived = rest
        if len(rest) > LINE_BYTES_MAX:
            self.close()
            return
        for line in lines:
            self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        if self._is_closed or not line.strip():
            return
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.send({"ok": False, "error": "a line is one JSON object."})
            return
        handed = None
        if message.get("descriptor") is True and self._handed:
            handed = socket.socket(fileno=self._handed.popleft())
        self._on_message(self, message, handed)


def _duplicate(original: socket.socket) -> socket.socket:
    """A second descriptor of the same socket.

    socket.dup() would also set the time-out it knows, and with that O_NONBLOCK, which both descriptors share with every
    process that has the socket: a listening one would turn blocking under those who accept from it.
    """
    return socket.socket(fileno=os.dup(original.fileno()))
