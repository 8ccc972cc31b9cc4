"""Frames: what is packed comes out whole, and what is no frame is refused."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from peaker.frames import BODY_BYTES_MAX, HEAD_BYTES_MAX, FrameError, FrameReader, pack, receive


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def raw(head: bytes, body: bytes = b"") -> bytes:
    return struct.pack("!II", len(head), len(body)) + head + body


def test_a_frame_comes_out_as_it_was_packed() -> None:
    assert FrameReader().feed(pack({"kind": "run", "id": "ü"}, b"\x00\xff")) == [
        ({"kind": "run", "id": "ü"}, b"\x00\xff")
    ]


def test_the_largest_body_passes_and_one_byte_more_is_refused() -> None:
    [(_, body)] = FrameReader().feed(pack({"kind": "run"}, b"x" * BODY_BYTES_MAX))
    assert len(body) == BODY_BYTES_MAX
    with pytest.raises(FrameError, match=f"body of {BODY_BYTES_MAX + 1} bytes; allowed: up to {BODY_BYTES_MAX}"):
        pack({"kind": "run"}, b"x" * (BODY_BYTES_MAX + 1))


def test_a_head_that_is_too_long_is_refused_on_both_sides() -> None:
    with pytest.raises(FrameError, match="head of"):
        pack({"kind": "x" * HEAD_BYTES_MAX})
    with pytest.raises(FrameError, match=f"head of {HEAD_BYTES_MAX + 1} bytes"):
        FrameReader().feed(struct.pack("!II", HEAD_BYTES_MAX + 1, 0))


@pytest.mark.parametrize("head", [b"", b"[]", b"nonsense", b'{"kind": 1}', b'{"other": "x"}', b"\xff\xfe"])
def test_a_head_without_a_kind_is_no_frame(head: bytes) -> None:
    with pytest.raises(FrameError, match="head is not"):
        FrameReader().feed(raw(head))


def test_lengths_are_checked_before_anything_is_kept() -> None:
    """A length of 4 GB must not make the reader wait for 4 GB."""
    with pytest.raises(FrameError, match="body of 4294967295 bytes"):
        FrameReader().feed(struct.pack("!II", 2, 0xFFFFFFFF))


def test_a_blocking_receive_waits_for_the_whole_frame(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    frame = pack({"kind": "run"}, b"y" * 3_000_000)
    sender = threading.Thread(target=theirs.sendall, args=(frame,))
    sender.start()
    assert receive(ours) == ({"kind": "run"}, b"y" * 3_000_000)
    sender.join()


def test_the_end_between_frames_is_an_end_and_within_one_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(pack({"kind": "run"}) + pack({"kind": "run"}, b"cut off")[:-3])
    theirs.close()
    assert receive(ours) == ({"kind": "run"}, b"")
    with pytest.raises(FrameError, match="the stream ended after"):
        receive(ours)
    assert receive(ours) is None
