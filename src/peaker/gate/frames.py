"""What travels between two workers over a unix stream socket: length-prefixed frames, JSON heads and raw bodies."""

from __future__ import annotations

import asyncio
import json
import struct
from enum import IntEnum
from typing import Any, cast

from peaker.asgi import Message, Scope
from peaker.errors import PeakerError

_PREFIX = struct.Struct("!BI")
FRAME_BYTES_MAX = 8 * 1024 * 1024
"""Above the largest head (header_bytes_max may be 1 MB, and a byte may take six as JSON); longer is no frame."""

BODY_PIECE_BYTES = 262_144
"""Larger body messages travel in pieces, so that neither side ever holds a whole large body."""

READ_BYTES_HIGH = 262_144
"""A reader that has this much unused stops reading."""


class Kind(IntEnum):
    """From the origin: REQUEST, BODY, END, GONE. From the one who takes it: all but REQUEST and GONE."""

    REQUEST = 1
    FULL = 2
    """Not begun: no slot was free."""
    WANT = 3
    """The app asks for the body, or listens for the client going away: from here on the origin calls `receive`."""
    START = 4
    BODY = 5
    END = 6
    """The last piece of a body, which may be empty."""
    GONE = 7
    """The client has gone away."""
    FAILED = 8
    """The app ended without completing its response."""


class LinkLost(PeakerError):  # noqa: N818 - named for what is known
    """The connection to the sibling broke."""


class Link(asyncio.Protocol):
    """One end of a connection between workers: cuts frames, and lets a writer wait while the other end is slow."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._arrived = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self.is_lost = True

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Called for each whole frame."""
        raise NotImplementedError

    def link_lost(self) -> None:
        """Called once when the connection is gone."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclass of asyncio.Transport, so this cannot be asserted.
        self._transport = cast("asyncio.Transport", transport)
        self.is_lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        del exc
        self.is_lost = True
        self._writable.set()
        self.link_lost()

    def pause_writing(self) -> None:
        """The other end does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Cut frames; most reads are whole frames, so nothing is copied into the buffer then."""
        if self._arrived:
            self._arrived += data
            data = bytes(self._arrived)
            self._arrived.clear()
        position, end = 0, len(data)
        while end - position >= _PREFIX.size:
            kind, length = _PREFIX.unpack_from(data, position)
            if length > FRAME_BYTES_MAX:
                self.close()
                return
            if end - position - _PREFIX.size < length:
                break
            position += _PREFIX.size
            self.frame_received(kind, data[position : position + length])
            position += length
        if position < end:
            self._arrived += data[position:]

    def write(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue one frame; nothing happens once the connection is gone."""
        if not self.is_lost and self._transport is not None:
            self._transport.write(_PREFIX.pack(kind, len(payload)) + payload)

    async def write_body(self, body: bytes, *, more_body: bool) -> None:
        """Write a body message in pieces, waiting for the other end where it is slow."""
        view = memoryview(body)
        while len(view) > BODY_PIECE_BYTES:
            self.write(Kind.BODY, bytes(view[:BODY_PIECE_BYTES]))
            view = view[BODY_PIECE_BYTES:]
            await self._writable.wait()
        if len(view) or not more_body:
            self.write(Kind.BODY if more_body else Kind.END, bytes(view))
        await self._writable.wait()

    def pause_reading(self) -> None:
        """Let the other end wait."""
        if not self.is_lost and self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if not self.is_lost and self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Hang up; what is queued still leaves."""
        if self._transport is not None:
            self._transport.close()


def has_body(scope: Scope) -> bool:
    """Whether a request body follows the head (RFC 9112, section 6.3)."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return True
    return False


def encode_request(scope: Scope, *, body: bool) -> bytes:
    """The scope as JSON; bytes as latin-1 text, which keeps every byte."""
    return json.dumps(
        {
            "body": body,
            "method": scope["method"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode("latin-1") if scope.get("raw_path") is not None else None,
            "query_string": scope["query_string"].decode("latin-1"),
            "root_path": scope.get("root_path", ""),
            "scheme": scope.get("scheme", "http"),
            "http_version": scope["http_version"],
            "client": scope.get("client"),
            "server": scope.get("server"),
            "asgi": scope["asgi"],
            "headers": _encode_headers(scope["headers"]),
            **({"extensions": scope["extensions"]} if "extensions" in scope else {}),
        }
    ).encode()


def decode_request(payload: bytes) -> tuple[Scope, bool]:
    """The scope as the origin's server made it, without `state`, and whether a body follows."""
    head = json.loads(payload.decode())
    body: bool = head.pop("body")
    head["type"] = "http"
    head["raw_path"] = head["raw_path"].encode("latin-1") if head["raw_path"] is not None else None
    head["query_string"] = head["query_string"].encode("latin-1")
    head["client"] = tuple(head["client"]) if head["client"] is not None else None
    head["server"] = tuple(head["server"]) if head["server"] is not None else None
    head["headers"] = _decode_headers(head["headers"])
    return head, body


def encode_start(message: Message) -> bytes:
    """`http.response.start` as JSON."""
    return json.dumps(
        {"status": message["status"], "headers": _encode_headers(message.get("headers", ()))},
    ).encode()


def decode_start(payload: bytes) -> Message:
    """The reverse of `encode_start`."""
    head = json.loads(payload.decode())
    return {"type": "http.response.start", "status": head["status"], "headers": _decode_headers(head["headers"])}


def _encode_headers(headers: Any) -> list[tuple[str, str]]:
    return [(str(name, "latin-1"), str(value, "latin-1")) for name, value in headers]


def _decode_headers(headers: list[list[str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
