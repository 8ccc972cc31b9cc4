"""What only some commands need: asked for before it is imported, so that the answer is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from peaker.errors import MissingExtraError

_PACKAGES = {
    "sam": ("yaml",),
    "plan": ("numpy", "numba", "matplotlib", "tomlkit"),
    "aws": ("boto3", "troposphere"),
    "local-aws": ("moto", "flask", "flask_cors", "py_partiql_parser", "yaml"),
}


def require_extra(extra: str, *, purpose: str, finds: Callable[[str], object | None] = find_spec) -> None:
    """Do nothing if `peaker[extra]` is installed; `finds` gives None for a package that is not.

    Raises:
        MissingExtraError: names what is missing and the command that installs it.
    """
    missing = [package for package in _PACKAGES[extra] if finds(package) is None]
    if missing:
        raise MissingExtraError(
            f"{purpose} needs {', '.join(missing)}, not installed here.", remedy=f"Run: pip install 'peaker[{extra}]'"
        )
