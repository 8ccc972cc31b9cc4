"""As much of S3 and DynamoDB as the samples call, in memory: boto3 reaches it by AWS_ENDPOINT_URL."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Item = dict[str, Any]


class StandInAws(ThreadingHTTPServer):
    """`objects` by bucket/key, `items` by id."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.items: dict[str, Item] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: StandInAws
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing is said of each request."""

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked" or "aws-chunked" in self.headers.get(
            "content-encoding", ""
        ):
            return self._chunks()
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/xml") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _object(self) -> None:
        found = self.server.objects.get(self.path.partition("?")[0].lstrip("/"))
        self._answer(404 if found is None else 200, found or b"", "application/octet-stream")

    do_GET = do_HEAD = _object  # noqa: N815 - the names http.server calls

    def do_PUT(self) -> None:
        self.server.objects[self.path.partition("?")[0].lstrip("/")] = self._body()
        self._answer(200)

    def do_POST(self) -> None:
        operation = self.headers["x-amz-target"].rpartition(".")[2]
        asked = json.loads(self._body())
        self._answer(200, json.dumps(self._table(operation, asked)).encode(), "application/x-amz-json-1.0")

    def _table(self, operation: str, asked: Item) -> Item:
        items = self.server.items
        if operation == "PutItem":
            items[asked["Item"]["id"]["S"]] = asked["Item"]
            return {}
        if operation == "Scan":
            return {"Items": list(items.values()), "Count": len(items), "ScannedCount": len(items)}
        key = asked["Key"]["id"]["S"]
        if operation == "DeleteItem":
            items.pop(key, None)
            return {}
        assert operation == "GetItem", operation
        return {"Item": items[key]} if key in items else {}


@contextmanager
def stand_in_aws() -> Iterator[StandInAws]:
    """Serve until the block ends."""
    with StandInAws() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
