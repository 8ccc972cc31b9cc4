"""Writing and reading small files that must be whole whatever is killed, and stay where `durable` says so."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PRIVATE = 0o600
FILE_BYTES_MAX = 16 * 1024 * 1024


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` in place of what was there, in one step; with `durable` it survives the loss of power from then on.

    Raises:
        OSError: the disk did not take it; what was there before still is.
    """
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - private from the first moment
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    fresh.replace(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable: those made, and those taken away."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, document: Any, *, durable: bool = True) -> None:
    """As `write_whole`."""
    write_whole(path, json.dumps(document).encode(), durable=durable)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no such file.

    Raises:
        ValueError: there is something else in it.
    """
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(FILE_BYTES_MAX))
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a JSON object")  # noqa: TRY004 - the file is wrong, no argument
    return found
