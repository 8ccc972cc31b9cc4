"""The zip for Lambda from a project's folder, the same for `peaker build` and `peaker deploy aws`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from peaker.engines.aws.contents import adapter_files, install, peaker_files, project_files, requirements_of
from peaker.engines.aws.package import Package, below, write_package
from peaker.settings import Settings

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Of Lambda's runtimes (AWS Lambda Developer Guide, "Lambda runtimes", 2026-10)."""

PYTHON_HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"

Progress = Callable[[str, int, int], None]


def build_package(
    settings: Settings,
    built: Path,
    *,
    architecture: str,
    python: str = PYTHON_HERE,
    requirements: Path | None = None,
    progress: Progress = lambda _step, _done, _total: None,
) -> Package:
    """Write `lambda-ARCHITECTURE.zip` into the folder `built`, which stays out of the zip, as does env_file.

    Raises:
        BuildError: pip finds no wheels for the platform, or the zip is larger than Lambda takes.
    """
    root = Path(settings.directory).resolve()
    leave_out = [built, *([root / settings.app.env_file] if settings.app.env_file else [])]
    with tempfile.TemporaryDirectory(prefix="peaker-build-") as folder:
        progress("packages", 0, 2)
        install(requirements_of(root, requirements), Path(folder), architecture=architecture, python=python)
        progress("zip", 1, 2)
        project = {os.fspath(path.relative_to(root)): path for path in project_files(root, leave_out=leave_out)}
        sources = (
            ("peaker", adapter_files()),
            ("packages", below(Path(folder))),
            ("peaker", peaker_files()),
            ("project", project),
        )
        package = write_package(sources, built / f"lambda-{architecture}.zip")
        progress("", 2, 2)
    return package
