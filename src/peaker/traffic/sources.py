"""Where log lines come from: files, globs, folders, streams; plain, gzip or zstd; in blocks of whole lines.

Memory is bounded by the block: a line longer than LINE_BYTES_MAX is told of and passed over, not held.
"""

from __future__ import annotations

import glob
import gzip
import importlib
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from peaker.errors import LogError, MissingExtraError

BLOCK_BYTES = 4 << 20
LINE_BYTES_MAX = BLOCK_BYTES
SAMPLE_BYTES = 256 << 10
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_EXAMPLE_BYTES = 120


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines without the last newline; or, where `too_long`, the beginning of one line that was passed over."""

    data: bytes
    too_long: bool = False
    is_rest: bool = False
    """What stands after the last newline."""


class BrokenSource(LogError):  # noqa: N818 - named for what was met
    """The source ends early or is damaged; what came before it was read."""


def find_sources(sources: Sequence[str | Path | BinaryIO]) -> list[Path | BinaryIO]:
    """Paths and streams in the order given; a pattern or folder stands for its files by name.

    Raises:
        LogError: one names nothing.
    """
    found: list[Path | BinaryIO] = []
    for source in sources:
        if not isinstance(source, str | Path):
            found.append(source)
            continue
        path = Path(source)
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.is_file())
        elif path.exists():
            inside = [path]
        else:
            inside = sorted(each for each in _matching(str(source)) if each.is_file())
        if not inside and path.is_dir():
            raise LogError("there is no file in the folder.", where=str(source))
        if not inside:
            raise LogError("there is no such file, and no file fits it as a pattern.", where=str(source))
        found += inside
    if not found:
        raise LogError("no log was named.", remedy="Give files, patterns such as 'logs/*.gz', or - for standard input.")
    return found


def _matching(pattern: str) -> list[Path]:
    # Path.glob takes no absolute pattern.
    return [Path(each) for each in glob.glob(pattern, recursive=True)]  # noqa: PTH207


def is_compressed(path: Path) -> bool:
    """Whether the first bytes are those of gzip or zstd, whatever the name says."""
    with path.open("rb") as file:
        return file.read(4).startswith((_GZIP, _ZSTD))


def expanded(stream: BinaryIO, name: str) -> BinaryIO:
    """The text in the stream, decompressed if it has to be.

    Raises:
        MissingExtraError: it is zstd, and neither this Python nor an installed package reads that.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", stream))
    magic = buffered.peek(4)[:4]
    if magic.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered))
    if magic.startswith(_ZSTD):
        return _zstd_reader(buffered, name)
    return buffered


def _zstd_reader(stream: BinaryIO, name: str) -> BinaryIO:
    try:
        module: Any = importlib.import_module("compression.zstd")
        return cast("BinaryIO", module.ZstdFile(stream))
    except ModuleNotFoundError:
        pass  # before Python 3.14 the package reads it
    try:
        module = importlib.import_module("zstandard")
    except ModuleNotFoundError:
        raise MissingExtraError(
            "this file is zstd, which needs the package zstandard.",
            where=name,
            remedy="Run: pip install 'peaker[plan]'",
        ) from None
    return cast("BinaryIO", io.BufferedReader(_Zstd(stream, module.ZstdDecompressor), BLOCK_BYTES))


class _Zstd(io.RawIOBase):
    """Frames one after the other; unlike the package's own reader it tells when the last one is cut off."""

    def __init__(self, stream: BinaryIO, decompressor: Any) -> None:
        super().__init__()
        self._stream = stream
        self._decompressor = decompressor
        self._frame: Any = None
        self._given = b""
        self._taken = b""

    def readable(self) -> bool:
        """It is only read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Decompressed bytes; 0 at the end.

        Raises:
            EOFError: the stream ends within a frame.
        """
        while not self._given:
            taken = self._taken or self._stream.read(io.DEFAULT_BUFFER_SIZE * 8)
            self._taken = b""
            if not taken:
                if self._frame is not None:
                    raise EOFError("the compressed data ends early")
                return 0
            if self._frame is None:
                self._frame = self._decompressor().decompressobj()
            self._given = self._frame.decompress(taken)
            if self._frame.eof:
                self._taken = self._frame.unused_data
                self._frame = None
        count = min(len(buffer), len(self._given))
        buffer[:count] = self._given[:count]
        self._given = self._given[count:]
        return count


def read_some(stream: BinaryIO, size: int, name: str) -> bytes:
    """Up to `size` bytes, fewer only at the end.

    Raises:
        BrokenSource: the compressed data is damaged or ends early, or the file cannot be read.
    """
    pieces, wanted = [], size
    # read() of a damaged gzip stream loses what it had decompressed before it met the damage; read1() gives it.
    read = getattr(stream, "read1", stream.read)
    try:
        while wanted and (piece := read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
    except (OSError, EOFError, zlib.error) as error:
        return _partial(pieces, error, name)
    except Exception as error:
        # The zstd errors of both libraries are classes of their own and derive from nothing nearer.
        if type(error).__name__ != "ZstdError":
            raise
        return _partial(pieces, error, name)
    return b"".join(pieces)


def _partial(pieces: list[bytes], error: Exception, name: str) -> bytes:
    if pieces:
        return b"".join(pieces)  # the next read meets the same error with nothing before it
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    raise BrokenSource(f"it cannot be read further: {reason}.", where=name) from error


def blocks(stream: BinaryIO, name: str, head: bytes = b"") -> Iterator[Block]:
    """All lines of `head` and of the stream after it.

    Raises:
        BrokenSource: as `read_some`, after all lines before it were given.
    """
    return _with_rest(_blocks(stream, name, head))


def _with_rest(found: Iterator[Block]) -> Iterator[Block]:
    """The last line, where no newline ends it, joined to the block before."""
    held: Block | None = None
    try:
        for block in found:
            if held is not None and block.is_rest and not held.too_long:
                held = Block(held.data + b"\n" + block.data)
                break
            if held is not None:
                yield held
            held = block
    except BrokenSource:
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held


def _blocks(stream: BinaryIO, name: str, head: bytes) -> Iterator[Block]:
    rest, piece = b"", head
    while piece or (piece := read_some(stream, BLOCK_BYTES, name)):
        data = rest + piece
        piece = b""
        end = data.rfind(b"\n")
        if end >= 0:
            yield Block(data[:end])
            rest = data[end + 1 :]
        elif len(data) > LINE_BYTES_MAX:
            yield Block(data[:_EXAMPLE_BYTES], too_long=True)
            rest = _after_line(stream, name)
        else:
            rest = data
    if rest:
        yield Block(rest, is_rest=True)


def _after_line(stream: BinaryIO, name: str) -> bytes:
    while piece := read_some(stream, BLOCK_BYTES, name):
        end = piece.find(b"\n")
        if end >= 0:
            return piece[end + 1 :]
    return b""


def range_blocks(path: Path, start: int, end: int) -> Iterator[Block]:
    """The lines that begin in `[start, end)` of a plain file; ranges side by side give each line once.

    A range looks for its first line only within itself, so that a line over many ranges is not searched by each.

    Raises:
        BrokenSource: the file cannot be read further.
    """
    with path.open("rb") as file:
        rest = b""
        at = max(0, start - 1)
        file.seek(at)
        if start:
            while at < end:
                piece = read_some(file, min(BLOCK_BYTES, end - at), str(path))
                at += len(piece)
                newline = piece.find(b"\n")
                if newline >= 0:
                    rest = piece[newline + 1 :]
                    break
                if not piece:
                    return
            else:
                return
        yield from _with_rest(_own_lines(file, str(path), rest, at, end))


def _own_lines(file: BinaryIO, name: str, first: bytes, at: int, end: int) -> Iterator[Block]:
    """The lines of `first` and of what follows up to `end`; the last may go beyond it."""
    rest, piece, is_passed_over = b"", first, False
    while piece or at < end:
        if not piece:
            piece = read_some(file, min(BLOCK_BYTES, end - at), name)
            at += len(piece)
            if not piece:
                break
        data, piece = rest + piece, b""
        if is_passed_over:
            newline = data.find(b"\n")
            is_passed_over, data = newline < 0, data[newline + 1 :] if newline >= 0 else b""
        newline = data.rfind(b"\n")
        rest = data[newline + 1 :]
        if newline >= 0:
            yield Block(data[:newline])
        if len(rest) > LINE_BYTES_MAX:
            yield Block(rest[:_EXAMPLE_BYTES], too_long=True)
            rest, is_passed_over = b"", True
    if rest:
        line = rest + file.readline(LINE_BYTES_MAX + 1)
        if len(line) > LINE_BYTES_MAX:
            yield Block(line[:_EXAMPLE_BYTES], too_long=True)
        else:
            yield Block(line.removesuffix(b"\n"), is_rest=True)
