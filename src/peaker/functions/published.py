"""What the functions of one host go by: version numbers, the alias of the build, ARNs.

A host runs one build of the code (peaker/build.py). Each build that was ever started from a state directory has a
number there, counted from 1, and that is the version all its functions have; the build hash is an alias of it. As on
Lambda, `$LATEST` is whatever runs now and a version stands for the same code for ever: a number or hash that is not
the running build's is not found, for its code is not here any more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peaker.errors import StateError
from peaker.functions.context import function_arn
from peaker.wire.function_names import LATEST
from peaker.wire.lambda_errors import alias_not_found, function_not_found

BUILDS_MAX = 1000
"""Builds remembered; older ones lose their number."""


@dataclass(frozen=True, slots=True)
class Published:
    """The one build of a host: its hash, its number and the region its functions say they are in."""

    build: str = "b0"
    number: int = 1
    region: str = "us-east-1"

    def arn(self, function: str, qualifier: str = "") -> str:
        """Of a function, with the qualifier where there is one."""
        return function_arn(function, self.region) + (f":{qualifier}" if qualifier else "")

    def version_of(self, function: str, qualifier: str) -> str:
        """The version that runs when `function` is called by this qualifier.

        Raises:
            InvokeApiError: 404, in the words for a version or for an alias.
        """
        if qualifier in ("", LATEST):
            return LATEST
        if qualifier in (self.build, str(self.number)):
            return str(self.number)
        missing = function_not_found if qualifier.isdigit() or qualifier.startswith("$") else alias_not_found
        raise missing(self.arn(function, qualifier))


def number_of_build(path: Path, build: str) -> int:
    """The version number of a build, which is given the next one and written down where it has none yet.

    Raises:
        StateError: the file cannot be read or written.
    """
    first, builds = _read(path)
    if build not in builds:
        builds.append(build)
        dropped = max(0, len(builds) - BUILDS_MAX)
        first, builds = first + dropped, builds[dropped:]
        _write(path, first, builds)
    return first + builds.index(build)


def _read(path: Path) -> tuple[int, list[str]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return int(document["first"]), [str(build) for build in document["builds"]]
    except FileNotFoundError:
        return 1, []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"the numbers of versions cannot be read: {error}.",
            where=str(path),
            remedy="Remove the file: versions are then counted from 1 again.",
        ) from error


def _write(path: Path, first: int, builds: Sequence[str]) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - private from the first moment
            json.dump({"first": first, "builds": list(builds)}, file)
        fresh.replace(path)
    except OSError as error:
        raise StateError(f"the numbers of versions cannot be written: {error.strerror}.", where=str(path)) from error
