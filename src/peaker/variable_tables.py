"""The tables `[env]` and `[secrets]`: names of variables, each with its text or with where that stands."""

from __future__ import annotations

import re
from typing import Any

from peaker.errors import SettingsError
from peaker.section_reader import Source
from peaker.setting_checks import ENV_NAME

SECRET_REFERENCE = re.compile(
    r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\0]+"
    # A key of its JSON, a stage and a version may follow, as in an ECS task definition.
    r"|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+(:[^:\0]*){0,3}"
    r"|arn:aws[a-z-]*:ssm:[a-z0-9-]+:\d{12}:parameter/[\w./-]+"
)


def build_env(table: Any, source: Source) -> dict[str, str]:
    """The variables; raises SettingsError for what is none."""
    if not isinstance(table, dict):
        raise SettingsError("env is a table of NAME = value.", where=source.line_of("env"))
    for name, value in table.items():
        if not ENV_NAME.fullmatch(name):
            raise SettingsError(f"env.{name} is not the name of a variable.", where=source.line_of("env", name))
        if not isinstance(value, str):
            raise SettingsError(
                f"env.{name} = {value!r} is not text.", where=source.line_of("env", name), remedy="Put it in quotes."
            )
    return dict(table)


def build_secrets(table: Any, source: Source) -> dict[str, str]:
    """The references; what is none may be the secret itself, so no message shows a value; raises SettingsError."""
    if not isinstance(table, dict):
        raise SettingsError("secrets is a table of NAME = reference.", where=source.line_of("secrets"))
    for name, reference in table.items():
        where = source.line_of("secrets", name)
        if not ENV_NAME.fullmatch(name):
            raise SettingsError(f"secrets.{name} is not the name of a variable.", where=where)
        if not isinstance(reference, str) or not SECRET_REFERENCE.fullmatch(reference):
            raise SettingsError(
                f"secrets.{name} does not say where the secret stands (what it says is not shown, as it may be the "
                "secret); allowed: env:NAME, file:PATH, arn:aws:secretsmanager:... or arn:aws:ssm:...:parameter/...",
                where=where,
                remedy="The secret itself does not belong into a settings file.",
            )
    return dict(table)
