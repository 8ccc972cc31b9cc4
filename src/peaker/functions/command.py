"""Which program a provided runtime is: found, and refused with a reason, before anything is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from peaker.app import FunctionSpec
from peaker.errors import SettingsError
from peaker.functions.layers import check_layers

BOOTSTRAP = "bootstrap"
"""The program where no command is named, in the code's folder or in a layer (AWS Lambda Developer Guide, "Building a
custom runtime")."""


def resolve_command(spec: FunctionSpec, directory: str, variables: Mapping[str, str]) -> list[str]:
    """The arguments to execute, the program as a whole path.

    A name with a slash in it is a path from `directory`, which is the process's working directory; another is looked
    for along PATH.

    Raises:
        SettingsError: there is no such program or layer, or it may not be executed.
    """
    check_layers(spec)
    named, *arguments = spec.command or (f"./{BOOTSTRAP}",)
    if not spec.command:
        program = _bootstrap(spec, directory)
    elif "/" in named:
        program = Path(directory, named)
    else:
        found = shutil.which(named, path=variables.get("PATH", os.defpath))
        if found is None:
            raise _refused(spec, f"{named!r} is not on PATH", f"PATH is {variables.get('PATH', os.defpath)}.")
        program = Path(directory, found)
    _check_program(spec, program)
    return [os.path.normpath(program), *arguments]


def interpreter_first(path: str) -> str:
    """PATH with this Python's own folder first where it is that of a virtual environment, whose `python` is meant."""
    if sys.prefix == sys.base_prefix:
        return path
    own = str(Path(sys.executable).parent)
    others = [folder for folder in path.split(os.pathsep) if folder != own]
    return os.pathsep.join([own, *others])


def _bootstrap(spec: FunctionSpec, directory: str) -> Path:
    places = [Path(folder, BOOTSTRAP) for folder in (directory, *reversed(spec.layers))]
    for place in places:
        if place.exists():
            return place
    raise _refused(
        spec,
        f"there is no {' and no '.join(map(str, places))}",
        'Write the file, or name a program: command = ["python", "-m", "awslambdaric", "app.handler"].',
    )


def _check_program(spec: FunctionSpec, program: Path) -> None:
    if not program.exists():
        raise _refused(spec, f"{program} is not there", "Paths start in the folder of the settings file.")
    if not program.is_file():
        raise _refused(spec, f"{program} is not a file", "Name a program.")
    if not os.access(program, os.X_OK):
        raise _refused(spec, f"{program} may not be executed", f"Run: chmod +x {program}")


def _refused(spec: FunctionSpec, why: str, remedy: str) -> SettingsError:
    return SettingsError(f"function {spec.name} cannot be run: {why}.", where="function.command", remedy=remedy)
