"""What happened in a world, a line each, as bytes: the same run writes the same ones."""

from __future__ import annotations

import hashlib


class Journal:
    """Lines in order. `digest` tells two journals apart; the text is kept only where it is wanted."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._lines: list[str] = []
        self._blocks: list[bytes] = []
        self._hash = hashlib.sha256()

    def write(self, line: str) -> None:
        """One line without its end."""
        self._lines.append(line)
        if len(self._lines) >= _BLOCK_LINES:
            self._flush()

    @property
    def digest(self) -> str:
        """SHA-256 of the whole, in hexadecimal."""
        self._flush()
        return self._hash.hexdigest()

    def to_bytes(self) -> bytes:
        """The whole text; b"" where it was not kept."""
        self._flush()
        return b"".join(self._blocks)

    def _flush(self) -> None:
        if not self._lines:
            return
        block = ("\n".join(self._lines) + "\n").encode()
        self._lines.clear()
        self._hash.update(block)
        if self._keep:
            self._blocks.append(block)


_BLOCK_LINES = 4096
