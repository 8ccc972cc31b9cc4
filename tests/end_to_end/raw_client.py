"""A client that sends exactly the bytes it is told to, and never retries anything."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import NamedTuple, Self


class Answer(NamedTuple):
    """One response; header names in lower case, the last of repeated ones."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """One connection, with a deadline on every read."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._arrived = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str, *headers: str) -> None:
        lines = [f"GET {target} HTTP/1.1", "host: test", *headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def post(self, target: str, body: bytes, *headers: str) -> None:
        lines = [f"POST {target} HTTP/1.1", "host: test", f"content-length: {len(body)}", *headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def answer(self, *, is_head: bool = False) -> Answer:
        """One whole response; raises EOFError where the connection ends before it is."""
        status, headers = self.head()
        if is_head or status in (204, 304):
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, b"".join(iter(self.chunk, b"")))
        return Answer(status, headers, self._exactly(int(headers["content-length"])))

    def head(self) -> tuple[int, dict[str, str]]:
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split(" ")[1]), headers

    def chunk(self) -> bytes:
        """One chunk; empty for the last."""
        data = self._exactly(int(self._until(b"\r\n"), 16))
        assert self._exactly(2) == b"\r\n"
        return data

    def rest(self) -> bytes:
        """Everything until the server closes."""
        while self._more():
            pass
        rest, self._arrived = self._arrived, b""
        return rest

    def is_closed(self) -> bool:
        """The server has closed, without another byte, within the deadline."""
        return self.rest() == b""

    def _until(self, end: bytes) -> bytes:
        while end not in self._arrived:
            if not self._more():
                raise EOFError(f"closed after {self._arrived!r}")
        found, _, self._arrived = self._arrived.partition(end)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._arrived) < count:
            if not self._more():
                raise EOFError(f"closed after {len(self._arrived)} of {count} bytes")
        found, self._arrived = self._arrived[:count], self._arrived[count:]
        return found

    def _more(self) -> bool:
        data = self.socket.recv(262_144)
        self._arrived += data
        return bool(data)
