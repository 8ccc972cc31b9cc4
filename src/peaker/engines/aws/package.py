"""A Lambda package: one zip file, the same for the same input, with what takes the space in it."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from peaker.errors import BuildError
from peaker.units import human_bytes

UNZIPPED_BYTES_MAX = 262_144_000
"""A function with its layers (AWS Lambda quotas: 250 MB)."""

UPLOAD_BYTES_MAX = 52_428_800
"""Of a zip in the request itself (AWS Lambda quotas: 50 MB); a larger one goes through S3."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say; every file has it, so that the time of building does not show."""

_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One written zip; `parts` are unzipped bytes by what they belong to, the largest first."""

    file: str
    sha256: str
    zipped_bytes: int
    unzipped_bytes: int
    files: int
    parts: tuple[tuple[str, int], ...]

    @property
    def is_uploaded_directly(self) -> bool:
        """It fits into the request; else it goes through a bucket."""
        return self.zipped_bytes <= UPLOAD_BYTES_MAX


def below(root: Path) -> dict[str, Path]:
    """All files of a folder, by their names in the package; compiled files are left out."""
    return {
        os.fspath(path.relative_to(root)): path
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def write_package(sources: Iterable[tuple[str, Mapping[str, Path]]], file: Path) -> Package:
    """Write a zip of these files; of two with one name the later goes in.

    `sources` are named groups; the files of "packages" are told apart by their first folder.

    Raises:
        BuildError: unzipped it is more than Lambda takes, with what takes the space; or it cannot be written.
    """
    chosen: dict[str, tuple[str, Path]] = {}
    for group, files in sources:
        chosen |= {name: (group, path) for name, path in files.items()}
    sizes: Counter[str] = Counter()
    for name, (group, path) in chosen.items():
        sizes[_part(group, name)] += path.stat().st_size
    unzipped = sizes.total()
    if unzipped > UNZIPPED_BYTES_MAX:
        told = ", ".join(f"{part} {human_bytes(size)}" for part, size in sizes.most_common(_TOLD))
        raise BuildError(
            f"it is {human_bytes(unzipped)} unzipped, and Lambda takes 250 MB; largest: {told}.",
            where=str(file),
            remedy="Leave out what the functions do not import, or deploy the container image, which may have 10 GB.",
        )
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for name in sorted(chosen):
                _add(packed, name, chosen[name][1])
        content = file.read_bytes()
    except OSError as error:
        raise BuildError(f"it cannot be written: {error.strerror}.", where=str(file)) from error
    return Package(
        file=str(file),
        sha256=hashlib.sha256(content).hexdigest(),
        zipped_bytes=len(content),
        unzipped_bytes=unzipped,
        files=len(chosen),
        parts=tuple(sizes.most_common()),
    )


def _part(group: str, name: str) -> str:
    if group != "packages":
        return group
    return name.partition("/")[0].partition("-")[0].removesuffix(".py")


def _add(packed: zipfile.ZipFile, name: str, path: Path) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # Whoever built it may have had any umask; Lambda reads as another user.
    mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
    entry.external_attr = (stat.S_IFREG | mode) << 16
    entry.create_system = 3  # Unix, wherever it is written.
    packed.writestr(entry, path.read_bytes())
