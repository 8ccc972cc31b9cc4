"""The files of a project that are worth reading, within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FILES_MAX = 5_000
FILE_BYTES_MAX = 1024 * 1024
BYTES_MAX = 64 * 1024 * 1024
ENTRIES_MAX = 200_000
"""Names of all kinds looked at, so that a folder of a million pictures costs no minute."""

LEFT_OUT = frozenset({
    "__pycache__", "build", "dist", "env", "migrations", "node_modules", "site-packages", "test", "testing", "tests",
    "venv",
})  # fmt: skip
"""Folders without code that serves; those whose name begins with a dot are left out too, and virtual environments."""

TEMPLATE_NAMES = ("template.yaml", "template.yml", "template.json", "sam.yaml", "sam.yml")


@dataclass(slots=True)
class Files:
    """Texts by path, relative to the project with / between; `unread` says what was left out for its size or number."""

    python: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def read_files(root: Path) -> Files:
    """Python files and templates below `root`, the shallow first; never those of tests and virtual environments."""
    found = Files()
    total = 0
    for path in sorted(_names(root, found), key=lambda path: (path.count("/"), path)):
        if len(found.python) >= FILES_MAX:
            found.unread.append(f"more than {FILES_MAX:,} files: the rest was not read")
            break
        text = _text(Path(root, path), path, found)
        if text is None:
            continue
        total += len(text)
        if total > BYTES_MAX:
            found.unread.append(f"more than {BYTES_MAX // 1024**2} MB of code: the rest was not read")
            break
        (found.python if path.endswith(".py") else found.templates)[path] = text
    return found


def _names(root: Path, found: Files) -> Iterator[str]:
    entries = 0
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _is_left_out(Path(folder, name))]
        entries += len(names) + len(folders)
        if entries > ENTRIES_MAX:
            found.unread.append(f"more than {ENTRIES_MAX:,} files of all kinds: the rest was not looked at")
            return
        for name in names:
            is_python = name.endswith(".py") and not _is_test(name)
            if is_python or (Path(folder) == root and name in TEMPLATE_NAMES):
                yield Path(folder, name).relative_to(root).as_posix()


def _is_left_out(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in LEFT_OUT or Path(folder, "pyvenv.cfg").exists()


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name in ("conftest.py", "setup.py")


def _text(path: Path, name: str, found: Files) -> str | None:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > FILE_BYTES_MAX:
            found.unread.append(f"{name} is larger than {FILE_BYTES_MAX // 1024**2} MB")
            return None
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found.unread.append(f"{name} cannot be read: {type(error).__name__}")
        return None
