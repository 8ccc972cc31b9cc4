"""Secrets: `[secrets]` says where each stands; here they are read, handed over and kept out of what is said.

The settings, and so the generation files, hold references only. The supervisor reads the values when a generation
begins and puts them into the environment of that generation's workers and function host, which only this user's
processes and root can read (proc(5), /proc/PID/environ). They take them from there, so that all processes of a
generation have the same values, whenever they are started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from peaker.errors import SettingsError
from peaker.settings import Settings

SECRET_BYTES_MAX = 65_536
"""Of one secret. Linux takes 131,072 bytes for one variable (execve(2), MAX_ARG_STRLEN)."""

SHOWN_INSTEAD = "[secret]"
_HIDDEN_CHARACTERS_MIN = 4
"""Shorter values would blot out ordinary words of a message, and hiding them hides nothing."""


def read_secrets(
    settings: Settings, variables: Mapping[str, str], *, from_aws: Callable[[Mapping[str, str]], Mapping[str, str]]
) -> dict[str, str]:
    """The value of each secret by the name it has for the app; `variables` are those of the starting process.

    A secret on AWS is taken from the variable of its own name where there is one: ECS has put it there, or whoever has
    no AWS at hand. The others are left to `from_aws`, which is given name and ARN of each.

    Raises:
        SettingsError: one is missing, empty, too large or no text; names it and where it should stand.
        CredentialsError: there are no AWS credentials to read one with.
    """
    on_aws = {name: reference for name, reference in settings.secrets.items() if reference.startswith("arn:")}
    found = {name: variables[name] for name in on_aws if variables.get(name)}
    missing = {name: reference for name, reference in on_aws.items() if name not in found}
    if missing:
        found.update(from_aws(missing))
    return {
        name: found[name] if name in on_aws else _read(name, reference, settings, variables)
        for name, reference in settings.secrets.items()
    }


def given_secrets(settings: Settings, variables: Mapping[str, str]) -> dict[str, str]:
    """The secrets among the variables of a process that was given them.

    Raises:
        SettingsError: one was not given.
    """
    missing = [name for name in settings.secrets if name not in variables]
    if missing:
        raise SettingsError(f"secrets that were not handed over to this process: {', '.join(missing)}.")
    return {name: variables[name] for name in settings.secrets}


def without_secrets(text: str, secrets: Mapping[str, str]) -> str:
    """`text` with every value replaced: an exception of the app's may quote one."""
    for value in sorted(secrets.values(), key=len, reverse=True):
        if len(value) >= _HIDDEN_CHARACTERS_MIN:
            text = text.replace(value, SHOWN_INSTEAD)
    return text


def _read(name: str, reference: str, settings: Settings, variables: Mapping[str, str]) -> str:
    kind, _, place = reference.partition(":")
    if kind == "env":
        value, where = variables.get(place), f"variable {place}"
        if value is None:
            raise _wrong(name, f"the variable {place} is not set where Peaker was started")
    else:
        path = Path(settings.directory, place)
        value, where = _content(name, path), str(path)
    if not value:
        raise _wrong(name, f"{where} is empty")
    return value


def _content(name: str, path: Path) -> str:
    try:
        if not path.is_file():
            raise _wrong(name, f"there is no file {path}")
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        if len(content) > SECRET_BYTES_MAX:
            raise _wrong(name, f"{path} is larger than {SECRET_BYTES_MAX:,} bytes")
        text = content.decode()
    except OSError as error:
        raise _wrong(name, f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Without its cause, which holds the content.
        raise _wrong(name, f"{path} is not UTF-8") from None
    if "\0" in text:
        raise _wrong(name, f"{path} holds a zero byte, which no variable can")
    return text.removesuffix("\n").removesuffix("\r")


def _wrong(name: str, what: str) -> SettingsError:
    return SettingsError(f"secrets.{name} cannot be had: {what}.", where="[secrets]")
