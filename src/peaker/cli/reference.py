"""The reference page of the settings, made from the fields that define them.

`python -m peaker.cli.reference > docs/reference/settings.md` writes it; a test compares the committed page.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any

from peaker.cli import present
from peaker.section_reader import Auto
from peaker.settings import REPEATED_SECTIONS, REQUIRED, SINGLE_SECTIONS

_INTRODUCTION = """\
# Settings

This page is made from the settings themselves by `python -m peaker.cli.reference`.

Settings stand in `peaker.toml`, or in `pyproject.toml` with `tool.peaker.` before each name (`[tool.peaker.app]`).
Relative paths and imports start in the directory of that file. An unknown name, a wrong type or a value out of range
stops the start with file, line, name, value and allowed range; `peaker check` tells without starting anything.

`[stage.NAME.SECTION]` overlays a section when `--stage NAME` is given: tables key by key, while repeated sections
(`[[stage.NAME.route]]`) replace the whole list. All stages are checked at every start.
See [stages](../how-to/stages.md).
"""

_ENV = """\
## `[env]`

Names and texts put into the environment of the app, its workers and instances, above those of `app.env_file`.

```toml
[env]
LOG_LEVEL = "info"
```
"""

_SECRETS = """\
## `[secrets]`

Variables whose values stand elsewhere: `env:NAME` is a variable of the environment that `peaker run` was started in,
`file:PATH` a file (a relative path starts beside the settings file; one line end at its end is left out). They are
read when the app starts and again by `peaker reload`, are above `[env]`, and are never printed, logged or written to a
file. One that is missing or empty stops the start. On AWS they are `arn:aws:secretsmanager:...` or
`arn:aws:ssm:...:parameter/...` ([secrets on AWS](../how-to/secrets.md)). See
[environment variables](../how-to/environment-variables.md).

```toml
[secrets]
DATABASE_URL = "env:PRODUCTION_DATABASE_URL"
SIGNING_KEY = "file:/run/secrets/signing_key"
```
"""

_TABLE_HEAD = ("| name | type | default | allowed | meaning |", "|---|---|---|---|---|")

_TYPE_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    list: "list of texts",
    dict: "table of texts",
    tuple: "tables",
    Auto: '`"auto"`',
}


def settings_page() -> str:
    """The whole page as Markdown."""
    parts = [_INTRODUCTION]
    parts += [_section(f"[{name}]", section) for name, section in SINGLE_SECTIONS.items()]
    parts += [_ENV, _SECRETS]
    for name, section in REPEATED_SECTIONS.items():
        parts.append(_section(f"[[{name}]]", section))
        parts += [
            _section(f"[[{name}.{field.name}]]", inner)
            for field in dataclasses.fields(section)
            if (inner := field.metadata.get("section"))
        ]
    return "\n".join(parts)


def _section(header: str, section: type) -> str:
    hints = typing.get_type_hints(section)
    required = REQUIRED.get(section, ())
    rows = [
        f"| `{field.name}` | {_type_words(hints[field.name])} | {_default(field, required)} | "
        f"{_cell(check.words) if (check := field.metadata['check']) else ''} | {_cell(field.metadata['help'])} |"
        for field in dataclasses.fields(section)
    ]
    return "\n".join([f"## `{header}`", "", _docstring(section), "", *_TABLE_HEAD, *rows, ""])


def _docstring(section: type) -> str:
    return (section.__doc__ or "").strip()


def _type_words(hint: Any) -> str:
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    members = [hint] if not is_union else [member for member in typing.get_args(hint) if member is not type(None)]
    return " or ".join(_TYPE_WORDS.get(member) or _TYPE_WORDS[typing.get_origin(member)] for member in members)


def _default(field: dataclasses.Field[Any], required: tuple[str, ...]) -> str:
    if field.name in required:
        return "required"
    if field.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(field.default_factory())}`"
    return "absent" if field.default is None or field.default == () else f"`{json.dumps(field.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    present.out(settings_page().rstrip("\n"))
