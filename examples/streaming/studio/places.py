"""Where everything is kept, and writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

HERE = Path(__file__).parent
FILMS, THUMBNAILS, RENDITIONS = HERE / "films", HERE / "thumbnails", HERE / "renditions"
OUTBOX, ANALYTICS, VIEWS = HERE / "outbox", HERE / "analytics", HERE / "views.jsonl"


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data)
    fresh.replace(path)


def film_of(event: dict[str, Any]) -> str:
    """The name in an event of S3."""
    return unquote_plus(event["Records"][0]["s3"]["object"]["key"])
