"""The Invoke API over TLS as far as one answer: python server.py CERTIFICATE_AND_KEY; prints its port.

It counts the bytes of requests instead of parsing them, and answers each with the same kilobyte, after as many
milliseconds as the function's name says: `at-once`, `after-500`. On standard input, a line asks for its CPU seconds.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
import time

import uvloop

BODY = b'{"statusCode": 200, "body": "' + b"x" * 994 + b'"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-requestid: 1\r\nx-amz-executed-version: $LATEST\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
DELAY = re.compile(rb"/functions/after-(\d+)/")


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            if delay := DELAY.search(head):
                asyncio.get_running_loop().call_later(int(delay[1]) / 1000, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)  # type: ignore[attr-defined]


async def main(certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(0, lambda: print(time.process_time(), flush=True) if sys.stdin.readline() else loop.stop())
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
