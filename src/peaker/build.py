"""What code a process runs, as one short name: the build hash.

A gate invokes only the function version built from its own code (docs/architecture.md, Generations). The hash is over
the files that are code, the packages that are installed, and those settings which reach the code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from peaker.app import environment
from peaker.errors import SettingsError
from peaker.settings import Settings

CODE_SUFFIXES = (".py", ".so", ".pyd", ".js", ".mjs", ".cjs", ".sh")
CODE_NAMES = ("bootstrap",)
"""Files without a suffix that are code: the entry of a function that brings its own runtime."""

FOLDERS_NOT_CODE = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env"})
"""Folders that hold no code of the project; those whose name begins with a dot are left out as well."""

FILES_MAX = 20_000
_HASHED_BYTES_MAX = 1024 * 1024
"""Of a larger file (a compiled module) size and time of change stand for the content."""

_DIGITS = 15


def build_hash(settings: Settings) -> str:
    """`b` and 15 hexadecimal digits (60 bits of SHA-256), a valid qualifier of the Invoke API.

    It is the same in every process that would run the same code with the same settings. Data files, templates and
    settings of servers and gate are not part of it.

    Raises:
        SettingsError: the project holds more than FILES_MAX files of code, or env_file cannot be read.
    """
    digest = hashlib.sha256()
    for part in (sys.version, *_installed(), _settings_text(settings)):
        digest.update(part.encode() + b"\0")
    root = Path(settings.directory)
    for path in code_files(root):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0" + _content(path) + b"\0")
    return f"b{digest.hexdigest()[:_DIGITS]}"


def code_files(root: Path, files_max: int = FILES_MAX) -> list[Path]:
    """Files of code below `root` in a fixed order.

    Raises:
        SettingsError: there are more than `files_max`.
    """
    found = []
    for path in _walk(root):
        found.append(path)
        if len(found) > files_max:
            raise SettingsError(
                f"there are more than {files_max} files of code below it.",
                where=str(root),
                remedy="Put peaker.toml into the folder of the app itself.",
            )
    return sorted(found)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name for name in folders if not _is_left_out(name) and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(folder, name) for name in names if _is_code_name(name))


def _is_left_out(folder: str) -> bool:
    return folder in FOLDERS_NOT_CODE or folder.startswith(".")


def _is_code_name(name: str) -> bool:
    return name.endswith(CODE_SUFFIXES) or name in CODE_NAMES


def _content(path: Path) -> bytes:
    try:
        found = path.stat()
        if found.st_size > _HASHED_BYTES_MAX:
            return f"{found.st_size} {found.st_mtime_ns}".encode()
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"unreadable"  # A dangling link, or it was removed just now: its return changes the hash.


def _installed() -> list[str]:
    """Names of the packages' metadata folders, which carry the versions; nothing is opened."""
    found: set[str] = set()
    for folder in sys.path:
        if folder and Path(folder).is_dir():
            found.update(name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info")))  # noqa: PTH208
    return sorted(found)


def _settings_text(settings: Settings) -> str:
    """Those settings that reach the code; how many servers there are, or how long a request waits, do not."""
    parts = {
        "web": settings.app.web,
        "warm_up": settings.app.warm_up,
        "environment": environment(settings),
        "secrets": settings.secrets,
        "functions": dataclasses.asdict(settings.functions),
        "function": [dataclasses.asdict(function) for function in settings.function],
        "job": [dataclasses.asdict(job) for job in settings.job],
        "resource": [dataclasses.asdict(resource) for resource in settings.resource],
    }
    return json.dumps(parts, sort_keys=True)
