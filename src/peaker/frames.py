"""Frames between two processes: a small JSON head and raw bytes, both with their length in front.

    4 bytes   length of the head, big-endian
    4 bytes   length of the body, big-endian
    head      a JSON object; "kind" says what the frame is
    body      the event or the result, passed through untouched

Between the function host and an instance, and between whoever sends an event and the events process. An instance runs
code that nobody has checked, so no length is believed: each has a bound, and a frame outside it ends the connection.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from peaker.units import KIB, MIB

_LENGTHS = struct.Struct("!II")
_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode

HEAD_BYTES_MAX = 64 * KIB
BODY_BYTES_MAX = 6 * MIB + 100
"""Lambda's limit for a synchronous event or result; the 100 bytes are in its own error message (6,291,556)."""

Head = dict[str, Any]


class FrameError(ValueError):
    """What arrived is not a frame; the text says why."""


def pack(head: Head, body: bytes = b"") -> bytes:
    """One frame.

    Raises:
        FrameError: head or body is longer than allowed.
    """
    encoded = _encode(head).encode()
    _check_lengths(len(encoded), len(body))
    return b"".join((_LENGTHS.pack(len(encoded), len(body)), encoded, body))


class FrameReader:
    """Cuts a stream into frames: give it what arrived, take what is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = _LENGTHS.size

    def feed(self, data: bytes) -> list[tuple[Head, bytes]]:
        """Frames that are whole now, in order; memory is bounded by one frame and one read.

        Raises:
            FrameError: the stream cannot be read any further.
        """
        buffer = self._buffer
        source: bytes | bytearray = data  # Most reads are one whole frame, which needs no buffer.
        if buffer:
            buffer += data
            source = buffer
        frames = []
        start = 0
        while len(source) - start >= self._wanted:
            head_length, body_length = _LENGTHS.unpack_from(source, start)
            _check_lengths(head_length, body_length)
            head_start = start + _LENGTHS.size
            body_start = head_start + head_length
            end = body_start + body_length
            if len(source) < end:
                self._wanted = end - start
                break
            frames.append((_parse_head(source[head_start:body_start]), bytes(source[body_start:end])))
            start = end
            self._wanted = _LENGTHS.size
        if source is buffer:
            del buffer[:start]
        elif start < len(data):
            buffer += data[start:]
        return frames

    @property
    def is_between_frames(self) -> bool:
        """Whether the stream may end here."""
        return not self._buffer


def receive(channel: socket.socket) -> tuple[Head, bytes] | None:
    """Wait for one frame on a blocking socket; None where the other side has closed.

    Raises:
        FrameError: the stream ends inside a frame, or is none.
    """
    lengths = _receive_exactly(channel, _LENGTHS.size)
    if not lengths:
        return None
    head_length, body_length = _LENGTHS.unpack(lengths)
    _check_lengths(head_length, body_length)
    rest = _receive_exactly(channel, head_length + body_length)
    return _parse_head(rest[:head_length]), bytes(rest[head_length:])


def _receive_exactly(channel: socket.socket, count: int) -> bytearray:
    """`count` bytes, or none at all where the stream ends before the first."""
    received = bytearray(count)
    view = memoryview(received)
    done = 0
    while done < count:
        got = channel.recv_into(view[done:])
        if not got:
            if done:
                raise FrameError(f"the stream ended after {done} of {count} bytes")
            return bytearray()
        done += got
    return received


def _check_lengths(head_length: int, body_length: int) -> None:
    if head_length > HEAD_BYTES_MAX:
        raise FrameError(f"head of {head_length} bytes; allowed: up to {HEAD_BYTES_MAX}")
    if body_length > BODY_BYTES_MAX:
        raise FrameError(f"body of {body_length} bytes; allowed: up to {BODY_BYTES_MAX}")


def _parse_head(encoded: bytes | bytearray) -> Head:
    try:
        text = encoded.decode()
        head, end = _decode(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"head is not JSON: {error}") from error
    if end != len(text):
        raise FrameError("head is not JSON: something follows it")
    if not isinstance(head, dict) or not isinstance(head.get("kind"), str):
        raise FrameError('head is not an object with a "kind"')
    return head
