"""What the four apps of the recorded session share: users, files, and bodies that anybody can compute again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"
SECRET = "not-secret-but-the-same-in-every-process"
USERS = {"ada": "analytical", "zoë": "pass wörd"}
ALL_BYTES = bytes(range(256))
RESPONSE_COOKIES = [
    ("first", "1", "/"),
    ("second", "two words", "/"),
    ("third", "3", "/cookies"),
]


def large_body(size: int) -> bytes:
    """`size` bytes of text that differ from line to line, so that a lost or doubled piece shows."""
    line = b"".join(b"%07d\n" % number for number in range(size // 8 + 1))
    return line[:size]


def described(data: bytes, **more: Any) -> dict[str, Any]:
    """An upload as the apps answer it: its size and digest."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **more}
