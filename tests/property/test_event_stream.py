"""The event stream against botocore's own parser, whatever is written and however it is cut on its way."""

from __future__ import annotations

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from peaker.messages import RunNotes
from peaker.wire.event_stream import EventStreamReader, MalformedEventStream, StreamMessage, encode_message
from peaker.wire.response_stream import PreludeReader, StreamEnd, http_prelude, invoke_complete, read_stream_event

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: len(name.encode()) <= 255)
HEADERS = st.dictionaries(NAMES, st.text(max_size=50), max_size=5)
MESSAGES = st.lists(st.tuples(HEADERS, st.binary(max_size=500)), max_size=5)
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts, position, turn = [], 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        parts.append(data[position : position + size])
        position, turn = position + size, turn + 1
    return parts


@given(MESSAGES, CUTS)
def test_botocore_reads_what_is_written(messages: list[tuple[dict[str, str], bytes]], sizes: list[int]) -> None:
    parser = EventStreamBuffer()
    read = []
    for part in cut(b"".join(encode_message(*message) for message in messages), sizes):
        parser.add_data(part)
        read += [(message.headers, message.payload) for message in parser]
    assert read == messages


@given(MESSAGES, CUTS)
def test_what_is_written_is_read_however_it_is_cut(
    messages: list[tuple[dict[str, str], bytes]], sizes: list[int]
) -> None:
    reader = EventStreamReader()
    read = [found for part in cut(b"".join(encode_message(*m) for m in messages), sizes) for found in reader.feed(part)]
    assert read == [StreamMessage(*message) for message in messages]
    assert reader.is_between_messages


@given(HEADERS, st.binary(min_size=1, max_size=200), st.data())
def test_one_changed_byte_is_never_read_as_a_message(
    headers: dict[str, str], payload: bytes, data: st.DataObject
) -> None:
    """What follows must not be taken for the rest of it either, so that a wrong length shows."""
    encoded = bytearray(encode_message(headers, payload))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedEventStream):
        EventStreamReader().feed(bytes(encoded))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        EventStreamReader().feed(data)
    except MalformedEventStream:
        return


def test_headers_of_all_types_are_read_past() -> None:
    """As other services write them: true, byte, short, integer, long, bytes, timestamp, UUID, then text."""
    values = [b"\0", b"\x02\x01", b"\x03\0\x01", b"\x04" + bytes(4), b"\x05" + bytes(8), b"\x06\0\x02ab"]
    values += [b"\x08" + bytes(8), b"\x09" + bytes(16), b"\x07\0\x02hi"]
    headers = b"".join(b"\x01" + bytes([97 + n]) + value for n, value in enumerate(values))
    plain = encode_message({"x" * 3: "y" * (len(headers) - 7)}, b"payload")
    assert len(plain) == len(headers) + 16 + 7
    from binascii import crc32

    message = plain[:12] + headers + b"payload"
    message += crc32(message).to_bytes(4)
    assert EventStreamReader().feed(message) == [StreamMessage({"i": "hi"}, b"payload")]


FIELD_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
RESPONSE_HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"x-a", b"x-b", b"set-cookie", b"content-type"]),
        st.one_of(FIELD_TEXT.map(str.encode), st.binary(max_size=10).filter(lambda value: b"\0" not in value)),
    ),
    max_size=6,
).map(tuple)


@given(st.integers(100, 599), RESPONSE_HEADERS, st.binary(max_size=100), CUTS)
def test_the_head_of_a_streamed_response_comes_back_whole(
    status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes, sizes: list[int]
) -> None:
    notes = RunNotes(cold=True, init_ms=1.5)
    reader = PreludeReader()
    read = b""
    for part in cut(http_prelude(status, headers, notes) + body, sizes):
        read += part if reader.head else reader.feed(part)
    assert reader.head == (status, headers, notes)
    assert read == body


@given(st.text(max_size=30), st.text(max_size=30), st.integers(0, 10_000))
def test_how_a_stream_ended_comes_back(code: str, details: str, billed_ms: int) -> None:
    end = StreamEnd(code, details if code else "", billed_ms)
    (message,) = EventStreamReader().feed(invoke_complete(end, b"log"))
    assert read_stream_event(message) == end
