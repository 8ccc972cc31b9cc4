"""A caller of the Invoke API that adds as little as can be: one blocking unix socket."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from peaker.messages import Request
from peaker.wire.http_api import request_to_event


def event(path: str) -> bytes:
    request = Request(
        method="GET",
        raw_path=path.encode(),
        headers=((b"host", b"localhost"), (b"accept", b"application/json")),
        client=("127.0.0.1", 50_000),
        server=("127.0.0.1", 8000),
    )
    return request_to_event(request, request_id="bench", epoch_s=time.time())


class Caller:
    def __init__(self, path: Path, function: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._socket.settimeout(60)
        self._target = f"/2015-03-31/functions/{function}/invocations"

    def send(self, payload: bytes) -> None:
        head = f"POST {self._target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(payload)}\r\n\r\n"
        self._socket.sendall(head.encode() + payload)

    def receive(self) -> bytes:
        arrived = b""
        while b"\r\n\r\n" not in arrived:
            arrived += self._socket.recv(65_536)
        head, _, body = arrived.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0].startswith("HTTP/1.1 200"), arrived[:400]
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        while len(body) < length:
            body += self._socket.recv(65_536)
        return body

    def timed(self, payload: bytes) -> tuple[float, dict[str, Any]]:
        """Seconds, and the payload 2.0 result."""
        begun_s = time.perf_counter()
        self.send(payload)
        body = self.receive()
        took_s = time.perf_counter() - begun_s
        return took_s, json.loads(body)

    def close(self) -> None:
        self._socket.close()
