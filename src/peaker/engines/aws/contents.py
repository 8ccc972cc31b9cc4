"""What goes into a package for AWS: the project's files, the modules of Peaker that run there, what they need."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from peaker.build import FOLDERS_NOT_CODE
from peaker.errors import BuildError

ENTRIES = ("peaker.aws", "peaker.control_on_aws")

PLATFORMS = {"arm64": "aarch64", "x86_64": "x86_64"}
GLIBC_MINORS = (34, 28, 17)
"""Amazon Linux 2023, under Lambda's current Python runtimes, has glibc 2.34; wheels for older ones run on it too."""

FILES_MAX = 50_000
INSTALL_S_MAX = 900.0

_TESTS_AND_NOTES = frozenset({"tests", "test", "docs", "dist", "build", "htmlcov"})
_LEFT_OUT_SUFFIXES = (".pyc", ".pyo", ".log", ".zip", ".sqlite", ".pem", ".key")


def project_files(root: Path, *, leave_out: Sequence[Path] = ()) -> list[Path]:
    """Files of the project that the app may need, templates and data included, in a fixed order.

    Names that begin with a dot stay at home, and with them .env and .git; so do caches, environments, tests, docs,
    built things, keys, and whatever is in `leave_out`.

    Raises:
        BuildError: there are more than FILES_MAX.
    """
    away = {path.resolve() for path in leave_out}
    found: list[Path] = []
    for path in _walk(root, away):
        found.append(path)
        if len(found) > FILES_MAX:
            raise BuildError(
                f"there are more than {FILES_MAX:,} files in the project.",
                where=str(root),
                remedy="Put peaker.toml into the folder of the app itself.",
            )
    return sorted(found)


def _walk(root: Path, away: set[Path]) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if not _stays(here / name, away, is_top=here == root)]
        for name in names:
            path = here / name
            if not name.startswith(".") and not name.endswith(_LEFT_OUT_SUFFIXES) and path.resolve() not in away:
                yield path


def _stays(folder: Path, away: set[Path], *, is_top: bool) -> bool:
    name = folder.name
    if name.startswith(".") or name in FOLDERS_NOT_CODE or name.endswith((".egg-info", ".dist-info")):
        return True
    return (is_top and name in _TESTS_AND_NOTES) or (folder / "pyvenv.cfg").exists() or folder.resolve() in away


def peaker_files() -> dict[str, Path]:
    """The modules of the entry points, and those they import, by their names in the package; nothing is run."""
    home = Path(__file__).parents[2]
    found: dict[str, Path] = {}
    wanted = [*ENTRIES]
    while wanted:
        module = wanted.pop()
        path = _file_of(home, module)
        if path is None or str(path.relative_to(home.parent)) in found:
            continue
        found[str(path.relative_to(home.parent))] = path
        wanted += _imported(path.read_text(encoding="utf-8"))
        wanted += [module.rpartition(".")[0]] if "." in module else []
    return dict(sorted(found.items()))


def adapter_files() -> dict[str, Path]:
    """a2wsgi, as it is installed here: a WSGI app needs it on Lambda too, and an ASGI app hardly feels its weight."""
    spec = find_spec("a2wsgi")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        return {}
    home = Path(next(iter(folders)))
    return {str(path.relative_to(home.parent)): path for path in sorted(home.glob("*.py"))}


def _file_of(home: Path, module: str) -> Path | None:
    base = home.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imported(source: str) -> Iterator[str]:
    """Modules of Peaker that a source imports when it runs; what only type checkers import is left out."""
    for node in _running(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("peaker"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("peaker"):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a project needs: a file in pip's form, or names; neither where it needs nothing."""

    file: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def for_pip(self) -> list[str]:
        """As arguments of `pip install`."""
        return ["--requirement", str(self.file)] if self.file else list(self.names)


def requirements_of(root: Path, named: Path | None) -> Requirements:
    """The file named, else requirements.txt, else the dependencies in pyproject.toml.

    Raises:
        BuildError: the file named is not there, or pyproject.toml cannot be read.
    """
    if named is not None and not named.is_file():
        raise BuildError("there is no such file.", where=str(named), remedy="Name it with --requirements.")
    file = named or root / "requirements.txt"
    if file.is_file():
        return Requirements(file=file)
    project = root / "pyproject.toml"
    if not project.is_file():
        return Requirements()
    try:
        document = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(f"it cannot be read: {error}.", where=str(project)) from error
    return Requirements(names=tuple(str(each) for each in document.get("project", {}).get("dependencies", [])))


def install(requirements: Requirements, into: Path, *, architecture: str, python: str) -> None:
    """Put wheels for Lambda's platform, and all they need, into a folder.

    Raises:
        BuildError: pip found none, in its own words.
    """
    if not requirements.for_pip:
        return
    machine = PLATFORMS[architecture]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    command += ["--target", str(into), "--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    for minor in GLIBC_MINORS:
        command += ["--platform", f"manylinux_2_{minor}_{machine}"]
    command += ["--platform", f"manylinux2014_{machine}", *requirements.for_pip]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"pip was not done within {INSTALL_S_MAX:g} s.", where="requirements") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
        raise BuildError(
            f"pip cannot resolve them for Python {python} on {architecture}: {' '.join(said)[:600]}",
            where="requirements",
            remedy="Each package needs a wheel for that platform; --arch names another.",
        )
