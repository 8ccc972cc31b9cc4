"""One JSON line for each request, written in batches off the request path."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import re
import select
import uuid
from datetime import UTC, datetime
from pathlib import Path

from peaker.asgi import Scope
from peaker.clock import Clock
from peaker.errors import SettingsError
from peaker.gate.exchange import Exchange

logger = logging.getLogger(__name__)

FILE_BYTES_MAX = 256 * 1024 * 1024
"""A log file of this size is renamed to NAME.1, in place of the one before."""

BUFFER_BYTES_MAX = 4 * 1024 * 1024
"""What is kept for a file that cannot be written just now; lines beyond that are lost, and their number is logged."""

_PIECE_BYTES = select.PIPE_BUF
"""A pipe that polls as writable takes this much without blocking (pipe(7))."""

_REQUEST_ID = re.compile(rb"[a-zA-Z0-9_.-]{1,64}")


def request_id_of(scope: Scope, chance: random.Random) -> str:
    """The client's x-request-id where it is a token of at most 64 characters, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


class AccessLog:
    """A file that several workers append to, or standard output for "-"."""

    def __init__(self, target: str, directory: str, clock: Clock, chance: random.Random) -> None:
        self._path = None if target == "-" else Path(directory, target)
        self._clock = clock
        self._chance = chance
        self._pending = bytearray()
        self._lost = 0
        self._is_failing = False
        self._descriptor = 1
        if self._path is not None:
            try:
                self._descriptor = self._open(self._path)
            except OSError as error:
                raise SettingsError(
                    f"app.access_log = {target!r} cannot be opened: {error.strerror}.", where=str(self._path)
                ) from error

    def add(self, exchange: Exchange) -> None:
        """Take one finished exchange."""
        if len(self._pending) >= BUFFER_BYTES_MAX:
            self._lost += 1
            return
        unusual = exchange.mark_unusual()
        scope = unusual.scope
        if scope is None:
            return
        # By the calendar when it is written, less what has passed since on the clock that never jumps.
        since_s = self._clock.now_s() - exchange.last_body_s if exchange.is_complete else 0.0
        ended_s = self._clock.epoch_s() - since_s
        client = scope.get("client")
        line = {
            "time": datetime.fromtimestamp(ended_s, UTC).isoformat(timespec="milliseconds"),
            "request_id": unusual.request_id or request_id_of(scope, self._chance),
            "client": client[0] if client else "",
            "method": scope["method"],
            "path": (scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
            "status": exchange.status,
            "bytes": exchange.bytes_sent,
            "latency_ms": round(exchange.latency_s * 1000, 3) if exchange.is_complete else None,
            "ran": unusual.ran.name.lower() if unusual.ran is not None else "",
            "waited_ms": round(unusual.waited_s * 1000, 3),
            "cold": unusual.cold,
        }
        if unusual.streams and exchange.is_complete:
            line["streamed_ms"] = round(exchange.streamed_s * 1000, 3)  # after the first byte, where latency ends
        if unusual.refused_because:
            line["refused"] = unusual.refused_because
        self._pending += json.dumps(line).encode() + b"\n"

    def flush(self) -> None:
        """Write what has gathered; what cannot be written is kept for the next time."""
        if not self._pending:
            return
        try:
            self._follow_file()
            while self._pending and self._is_writable():
                written = os.write(self._descriptor, self._pending[:_PIECE_BYTES])
                del self._pending[:written]
        except OSError as error:
            if not self._is_failing:
                logger.warning("The access log cannot be written: %s.", error, extra={"action": "access_log_failed"})
            self._is_failing = True
            return
        self._is_failing = False
        if self._lost:
            logger.warning("%d lines of the access log were lost.", self._lost, extra={"action": "access_log_lost"})
            self._lost = 0

    def close(self) -> None:
        """Write what is left and close the file."""
        self.flush()
        if self._path is not None:
            os.close(self._descriptor)

    def _follow_file(self) -> None:
        """Go on in a new file where this one is full, or was moved away by somebody."""
        path = self._path
        if path is None:
            return
        if os.fstat(self._descriptor).st_size >= FILE_BYTES_MAX:
            # Of several workers that find it full, the one with the lock moves it; the others see that it was moved.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if self._is_current(path):
                path.replace(path.with_name(path.name + ".1"))
        if not self._is_current(path):
            fresh = self._open(path)
            os.close(self._descriptor)
            self._descriptor = fresh

    def _is_writable(self) -> bool:
        """Whether writing one piece would not block: standard output may be a pipe that nobody reads."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def _is_current(self, path: Path) -> bool:
        try:
            there = path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._descriptor)
        return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
