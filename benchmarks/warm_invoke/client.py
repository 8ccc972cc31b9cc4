"""A caller that adds as little as can be: prepared requests over blocking or polled sockets, every answer checked."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

ANSWER_S_MAX = 30.0
EXPECTED = {"greeting": "Hello Ada"}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Address = Path | int
"""A unix socket, or a port of 127.0.0.1."""


class WrongAnswerError(Exception):
    """What came is not the function's answer."""


class Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, address: Address) -> None:
        if isinstance(address, Path):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(str(address))
        else:
            self.socket = socket.create_connection(("127.0.0.1", address))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(ANSWER_S_MAX)
        self._arrived = b""
        self._known_good = b""

    def send(self, request: bytes) -> None:
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Read once; whether the answer is whole. Raises WrongAnswerError."""
        piece = self.socket.recv(65_536)
        if not piece:
            raise WrongAnswerError(f"the connection ended after {self._arrived[:300]!r}")
        arrived = self._arrived = self._arrived + piece
        head, end, body = arrived.partition(b"\r\n\r\n")
        if not end:
            return False
        length = _LENGTH.search(head)
        if len(body) < int(length[1]) if length else not body.endswith(b"0\r\n\r\n"):
            return False
        self._arrived = b""
        if not arrived.startswith(b"HTTP/1.1 200 "):
            raise WrongAnswerError(repr(arrived[:500]))
        if body != self._known_good:
            self._check(body if length else body.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0])
            self._known_good = body
        return True

    @staticmethod
    def _check(body: bytes) -> None:
        if json.loads(body) != EXPECTED:
            raise WrongAnswerError(repr(body[:500]))

    def call(self, request: bytes) -> None:
        self.send(request)
        while not self.receive():
            pass


def latencies_s(address: Address, requests: list[bytes], calls: int) -> list[float]:
    """Seconds of each of `calls` calls, one after the other on one connection."""
    connection = Connection(address)
    taken = []
    with connection.socket:
        for request, _ in zip(cycle(requests), range(calls), strict=False):
            begun_s = time.perf_counter()
            connection.call(request)
            taken.append(time.perf_counter() - begun_s)
    return taken


def calls_per_s(address: Address, requests: list[bytes], *, connections: int, for_s: float) -> float:
    """Whole calls a second over so many connections, each with one request under way at any moment."""
    poll = select.epoll()
    opened = {}
    following: Iterator[bytes] = cycle(requests)
    try:
        for _ in range(connections):
            connection = Connection(address)
            opened[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.EPOLLIN)
        answered = 0
        begun_s = time.perf_counter()
        for connection in opened.values():
            connection.send(next(following))
        while (now_s := time.perf_counter()) - begun_s < for_s:
            ready = poll.poll(ANSWER_S_MAX)
            if not ready:
                raise WrongAnswerError(f"no answer for {ANSWER_S_MAX:g} s")
            for descriptor, _ in ready:
                connection = opened[descriptor]
                if connection.receive():
                    answered += 1
                    connection.send(next(following))
        for connection in opened.values():  # what is under way must not run into the next measurement
            while not connection.receive():
                pass
        return answered / (now_s - begun_s)
    finally:
        poll.close()
        for connection in opened.values():
            connection.socket.close()
