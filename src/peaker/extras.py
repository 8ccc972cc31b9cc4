"""What only some commands need: asked for before it is imported, so that the answer is one sentence."""

from __future__ import annotations

from importlib.util import find_spec

from peaker.errors import MissingExtraError

_PACKAGES = {"plan": ("numpy", "numba", "matplotlib")}


def require_extra(extra: str, *, purpose: str) -> None:
    """Do nothing if `peaker[extra]` is installed.

    Raises:
        MissingExtraError: names what is missing and the command that installs it.
    """
    missing = [package for package in _PACKAGES[extra] if find_spec(package) is None]
    if missing:
        raise MissingExtraError(
            f"{purpose} needs {', '.join(missing)}, not installed here.", remedy=f"Run: pip install 'peaker[{extra}]'"
        )
