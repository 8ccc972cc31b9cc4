"""AWS's binary event stream: messages of typed headers and a payload, with two checksums each.

    4 bytes   length of the whole message, big-endian
    4 bytes   length of the headers
    4 bytes   CRC-32 of these eight bytes (the prelude)
    headers   1 byte length of the name, the name, 1 byte type, the value (type 7, text: 2 bytes length, UTF-8)
    payload
    4 bytes   CRC-32 of everything before

Source: Amazon S3 API Reference and Transcribe Developer Guide, "Event stream encoding"; smithy.io, "Amazon Event Stream
Specification". Lambda writes headers of text only; the other types are read past by their lengths.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

from peaker.errors import PeakerError

HEADERS_BYTES_MAX = 128 * 1024
PAYLOAD_BYTES_MAX = 24 * 1024 * 1024
"""The specification's limits, which botocore checks as well."""

_PRELUDE = struct.Struct("!II")
_CRC = struct.Struct("!I")
_HEAD_BYTES = _PRELUDE.size + _CRC.size
_TEXT_TYPE = 7
_FIXED_TYPE_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Lengths of the values of true, false, byte, short, integer, long, timestamp and UUID."""
_BYTES_TYPE = 6


class MalformedEventStream(PeakerError):  # noqa: N818 - named for what was received
    """What arrived is no event stream."""


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """One message: its headers of text, and its payload."""

    headers: dict[str, str]
    payload: bytes


def encode_message(headers: Mapping[str, str], payload: bytes = b"") -> bytes:
    """One message with headers of text.

    Raises:
        ValueError: a name, a value, the headers or the payload is longer than the format takes.
    """
    encoded = b"".join(_encode_header(name, value) for name, value in headers.items())
    if len(encoded) > HEADERS_BYTES_MAX or len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(
            f"headers of {len(encoded)} and a payload of {len(payload)} bytes; "
            f"allowed: up to {HEADERS_BYTES_MAX} and {PAYLOAD_BYTES_MAX}"
        )
    prelude = _PRELUDE.pack(_HEAD_BYTES + len(encoded) + len(payload) + _CRC.size, len(encoded))
    prelude_crc = _CRC.pack(crc32(prelude))
    head = b"".join((prelude, prelude_crc, encoded))
    return b"".join((head, payload, _CRC.pack(crc32(payload, crc32(head)))))


def _encode_header(name: str, value: str) -> bytes:
    name_bytes, value_bytes = name.encode(), value.encode()
    if not 0 < len(name_bytes) <= 0xFF or len(value_bytes) > 0x7FFF:
        raise ValueError(f"header {name[:60]!r}: a name has 1 to 255 bytes, a value up to 32,767")
    head = struct.pack("!B", len(name_bytes)) + name_bytes
    return head + struct.pack("!BH", _TEXT_TYPE, len(value_bytes)) + value_bytes


class EventStreamReader:
    """Cuts a byte stream into messages: give it what arrived, take what is whole."""

    def __init__(self, payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._wanted = _HEAD_BYTES
        self._payload_bytes_max = payload_bytes_max

    def feed(self, data: bytes) -> list[StreamMessage]:
        """Messages that are whole now, in order; memory is bounded by one message and one read.

        Raises:
            MalformedEventStream: a checksum or a length is wrong; the stream cannot be read any further.
        """
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= self._wanted:
            total, headers_length = _PRELUDE.unpack_from(buffer)
            if self._wanted == _HEAD_BYTES:
                self._check_prelude(total, headers_length)
                self._wanted = total
                continue
            messages.append(_parse(bytes(buffer[:total]), headers_length))
            del buffer[:total]
            self._wanted = _HEAD_BYTES
        return messages

    @property
    def is_between_messages(self) -> bool:
        """Whether the stream may end here."""
        return not self._buffer

    def _check_prelude(self, total: int, headers_length: int) -> None:
        """Before anything is believed, so that a wrong length asks for no memory."""
        (told,) = _CRC.unpack_from(self._buffer, _PRELUDE.size)
        if crc32(self._buffer[: _PRELUDE.size]) != told:
            raise MalformedEventStream("the checksum of a message's prelude is wrong.")
        payload_length = total - headers_length - _HEAD_BYTES - _CRC.size
        if headers_length > HEADERS_BYTES_MAX or not 0 <= payload_length <= self._payload_bytes_max:
            raise MalformedEventStream(f"a message of {total} bytes with headers of {headers_length}.")


def _parse(message: bytes, headers_length: int) -> StreamMessage:
    end = len(message) - _CRC.size
    if crc32(memoryview(message)[:end]) != _CRC.unpack_from(message, end)[0]:
        raise MalformedEventStream("the checksum of a message is wrong.")
    payload_start = _HEAD_BYTES + headers_length
    try:
        headers = _parse_headers(message[_HEAD_BYTES:payload_start])
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise MalformedEventStream(f"the headers of a message cannot be read: {error}.") from error
    return StreamMessage(headers, message[payload_start:end])


def _parse_headers(encoded: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    position = 0
    while position < len(encoded):
        name_end = position + 1 + encoded[position]
        name, kind = encoded[position + 1 : name_end].decode(), encoded[name_end]
        position = name_end + 1
        if kind in (_TEXT_TYPE, _BYTES_TYPE):
            (length,) = struct.unpack_from("!H", encoded, position)
            position += 2
        else:
            length = _FIXED_TYPE_BYTES[kind]
        value = encoded[position : position + length]
        position += length
        if position > len(encoded):
            raise IndexError("a header ends after the headers")
        if kind == _TEXT_TYPE:
            headers[name] = value.decode()
    return headers
