"""Makes moto's server safe to use from many clients at once.

moto keeps everything in plain Python objects and its server answers each connection in a thread: two receivers of one
queue are given the same message, and a message sent while another is deleted is lost (`Queue.delete_message` puts a
copy of the list in place of the list). So calls go to it one at a time. A call that waits for messages would hold up
all others; its waiting is done here, between short calls.
"""

from __future__ import annotations

import json
import re
import select
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

from peaker.local_aws.calls import EVERY_QUEUE, STREAMS, Call, read_call
from peaker.local_aws.traces import Traces
from peaker.wire.host_header import is_local_name

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

LOOK_AGAIN_S = 1.0
"""A message becomes visible by time alone: a waiting receiver looks this often without being told of a change."""
SPOOLED_BYTES = 8 * 1024 * 1024
BODY_BYTES_MAX = 5 * 1024**3
"""S3's own limit for one upload."""
READ_BYTES_MAX = 2 * 1024 * 1024
"""Bodies up to this size are looked at: more than any message."""

_LOCAL_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
_READ_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class BodyTooLarge(Exception):  # noqa: N818 - named for what is known
    """The body of a request is larger than BODY_BYTES_MAX."""


class OneAtATime:
    """A WSGI application around `inner`; `after_call` runs after each call, with none under way."""

    def __init__(self, inner: Application, *, after_call: Callable[[], None] = lambda: None) -> None:
        self._inner = inner
        self._after_call = after_call
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._versions: dict[str, int] = {}
        self._traces = Traces()
        self._is_closing = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one call."""
        answer = _refusal(environ) or self._answer(environ)
        start_response(answer.status, answer.headers)
        return [answer.body]

    def close(self) -> None:
        """Whoever waits is answered now, empty."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def _answer(self, environ: Environ) -> _Answer:
        try:
            body = _read_body(environ)
        except BodyTooLarge:
            return _refused("413 Content Too Large", "the body is larger than 5 GiB")
        with body:
            size = int(environ["CONTENT_LENGTH"])
            looked_at = body.read() if size <= READ_BYTES_MAX else b""
            body.seek(0)
            path, headers = environ.get("PATH_INFO", ""), _headers(environ)
            call = read_call(environ["REQUEST_METHOD"], path, headers, looked_at)
            if not call.watched:
                if not call.changes:
                    return self._call(environ, body)
                answer = self._call(environ, body, lambda told: self._traces.remember(path, headers, told))
                self._has_changed(call.changes)
                return answer
        answer = self._wait_for(call, environ)
        return _with_body(answer, self._traces.put_into(answer.body)) if call.watched != STREAMS else answer

    def _wait_for(self, call: Call, environ: Environ) -> _Answer:
        """Ask until something is there or the time is over."""
        began_s = time.monotonic()
        wait_s = call.wait_s
        while True:
            if _is_gone(environ):
                # Whoever is given a message must be there to take it: else it is invisible for nothing.
                return _refused("408 Request Timeout", "nobody waits any more")
            seen = self._version(call.watched)
            environ["CONTENT_LENGTH"] = str(len(call.body))
            answer = self._call(dict(environ), BytesIO(call.body))
            if call.empty_without in answer.body or not answer.status.startswith("200"):
                return answer
            if wait_s is None:
                wait_s = self._wait_s_of_queue(call, environ)
            left_s = wait_s - (time.monotonic() - began_s)
            if left_s <= 0 or self._is_closing:
                return answer
            self._await_change(call.watched, seen, min(left_s, LOOK_AGAIN_S))

    def _await_change(self, watched: str, seen: int, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._version(watched) != seen, timeout=timeout_s)

    def _wait_s_of_queue(self, call: Call, environ: Environ) -> float:
        """ReceiveMessageWaitTimeSeconds of a queue, which holds for a receiver that does not say; JSON callers only."""
        if environ.get("HTTP_X_AMZ_TARGET") is None:
            return 0.0
        name = "ReceiveMessageWaitTimeSeconds"
        asked = json.dumps({"QueueUrl": json.loads(call.body).get("QueueUrl"), "AttributeNames": [name]}).encode()
        its = {**environ, "HTTP_X_AMZ_TARGET": "AmazonSQS.GetQueueAttributes", "CONTENT_LENGTH": str(len(asked))}
        answer = self._call(its, BytesIO(asked))
        if not answer.status.startswith("200"):
            return 0.0
        return float(json.loads(answer.body).get("Attributes", {}).get(name, 0))

    def _call(self, environ: Environ, body: IO[bytes], note: Callable[[bytes], None] = lambda _: None) -> _Answer:
        """One call; `note` is given the body of its answer before the next call's turn."""
        said: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], None]:
            said[:] = [status, headers]
            return lambda _: None

        environ["wsgi.input"] = body
        with self._turn:
            pieces = self._inner(environ, start_response)
            try:
                whole = b"".join(pieces)
            finally:
                if (close := getattr(pieces, "close", None)) is not None:
                    close()
            note(whole)
            self._after_call()
        return _Answer(said[0], said[1], whole)

    def _version(self, watched: str) -> int:
        own = self._versions.get(watched, 0)
        return own if watched == STREAMS else own + self._versions.get(EVERY_QUEUE, 0)

    def _has_changed(self, changes: frozenset[str]) -> None:
        with self._changed:
            for change in changes:
                self._versions[change] = self._versions.get(change, 0) + 1
            self._changed.notify_all()


def _refusal(environ: Environ) -> _Answer | None:
    """Keep web pages out, as at the other ports; but pages of apps on this machine may upload with signed addresses."""
    host = environ.get("HTTP_HOST", "")
    if not is_local_name(host):
        return _refused("403 Forbidden", f"Host {host[:200]!r} is neither an address nor localhost")
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and not _LOCAL_ORIGIN.fullmatch(origin):
        return _refused("403 Forbidden", f"Origin {origin[:200]!r} may not call this")
    return None


def _with_body(answer: _Answer, body: bytes) -> _Answer:
    if body is answer.body:
        return answer
    others = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    return _Answer(answer.status, [*others, ("Content-Length", str(len(body)))], body)


def _refused(status: str, why: str) -> _Answer:
    return _Answer(status, [("Content-Type", "text/plain; charset=utf-8")], f"{why}.\n".encode())


def _is_gone(environ: Environ) -> bool:
    """The client has hung up: its socket is at its end, and a client that waits for an answer sends nothing more."""
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is None:
        return False
    looking = select.poll()
    looking.register(connection, select.POLLIN)
    try:
        return bool(looking.poll(0)) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _headers(environ: Environ) -> dict[str, str]:
    return {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }


def _read_body(environ: Environ) -> IO[bytes]:
    """Take the whole body before it is this call's turn, so that a slow client holds up nobody."""
    source = environ["wsgi.input"]
    is_ended = bool(environ.get("wsgi.input_terminated"))
    left = BODY_BYTES_MAX if is_ended else int(environ.get("CONTENT_LENGTH") or 0)
    if left > BODY_BYTES_MAX:
        raise BodyTooLarge
    whole: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES)  # noqa: SIM115 - the caller closes it
    try:
        while left > 0 and (piece := source.read(min(left, _READ_PIECE))):
            whole.write(piece)
            left -= len(piece)
        if is_ended and left == 0:
            raise BodyTooLarge  # noqa: TRY301 - what was read is closed in one place
    except BaseException:
        whole.close()
        raise
    environ["CONTENT_LENGTH"] = str(whole.tell())
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    whole.seek(0)
    return whole
