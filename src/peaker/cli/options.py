"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from peaker.app import find_settings
from peaker.errors import SettingsError
from peaker.settings import Settings
from peaker.state import StateDirectory

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

STATE_NAME = ".peaker"


def settings_options(function: _Decorated) -> _Decorated:
    """--config and --stage."""
    function = click.option("--stage", default="", metavar="NAME", help="Apply the overlay [stage.NAME].")(function)
    return click.option(
        "--config", metavar="FILE", help="Settings file.  [default: peaker.toml, else pyproject.toml, here]"
    )(function)


def state_option(function: _Decorated) -> _Decorated:
    """--state."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="State directory.  [default: .peaker beside the settings file]",
    )(function)


json_option = click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")


def state_of(settings: Settings, given: Path | None) -> StateDirectory:
    """The named state directory, or the one beside the settings file."""
    return StateDirectory((given or Path(settings.directory, STATE_NAME)).absolute())


def state_here(config: str | None, given: Path | None) -> StateDirectory:
    """The state directory of a running app; the settings need not be there for it, or be right."""
    if given is not None:
        return StateDirectory(given.absolute())
    if config is None and Path(STATE_NAME).is_dir():
        return StateDirectory(Path(STATE_NAME).absolute())
    try:
        return state_of(find_settings(config), None)
    except SettingsError as error:
        if config is not None:
            raise
        raise SettingsError(
            f"no {STATE_NAME} and no settings file here.", where=str(Path.cwd()), remedy="Name one with --state."
        ) from error


def require_writable(file: Path) -> None:
    """Find out before long work that its result can be written.

    Raises:
        SettingsError: it cannot.
    """
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise SettingsError("it cannot be written.", where=str(file), remedy="Name another file.")
