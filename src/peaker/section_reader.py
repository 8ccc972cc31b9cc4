"""A table of a settings file as a dataclass: unknown keys, wrong types and values out of range are refused.

The fields of the dataclass are the keys; each is declared by `setting`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from peaker.errors import SettingsError
from peaker.setting_checks import Check
from peaker.toml_lines import Place, TomlLines

Auto = Literal["auto"]

_SectionType = TypeVar("_SectionType")


def setting(default: Any, help: str, check: Check | None = None) -> Any:  # noqa: A002 - it is the help text
    """One key of a section."""
    metadata = {"help": help, "check": check}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def repeated(section: type, help: str) -> Any:  # noqa: A002 - it is the help text
    """A key of a section under which further tables stand, `[[section.key]]`, each read as `section`."""
    return dataclasses.field(default=(), metadata={"help": help, "check": None, "section": section})


@dataclass(frozen=True)
class Source:
    """The file a value came from, able to say on which line."""

    path: str
    lines: TomlLines
    above: Place = ()
    """The tables the settings stand in."""
    stage: str = ""
    overlay: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def line_of(self, *place: str | int) -> str:
        """`path:line` of a section or key, of what stands around it where it has no line of its own, else the path."""
        at: Place = place
        if self._is_from_stage(place):
            at = ("stage", self.stage, *place)
        line = self.lines.line_of((*self.above, *at))
        return f"{self.path}:{line}" if line else self.path

    def _is_from_stage(self, place: Place) -> bool:
        found: Any = self.overlay
        for key in place:
            if not isinstance(found, Mapping):
                break
            if key not in found:
                return False
            found = found[key]
        return bool(self.overlay)


def build_section(
    section: type[_SectionType], table: Any, source: Source, place: Place, required: tuple[str, ...] = ()
) -> _SectionType:
    """The section that stands at `place`: its name, its number where it is repeated, and so on where it is nested.

    Raises:
        SettingsError: file, line, name, value and allowed range of the first thing that is wrong.
    """
    name = ".".join(part for part in place if isinstance(part, str))
    brackets = f"[{name}]" if len(place) == 1 else f"[[{name}]]"
    if not isinstance(table, dict):
        raise SettingsError(f"{name} is a table: write {brackets}.", where=source.line_of(*place))
    fields = {field.name: field for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(section)
    nested: dict[str, Any] = {}
    for key, value in table.items():
        where = source.line_of(*place, key)
        if key not in fields:
            raise SettingsError(f"unknown key {key!r} in {brackets}.{suggestion(key, list(fields))}", where=where)
        if inner := fields[key].metadata.get("section"):
            if not isinstance(value, list):
                raise SettingsError(f"{name}.{key} is repeated: write [[{name}.{key}]].", where=where)
            nested[key] = tuple(build_section(inner, item, source, (*place, key, i)) for i, item in enumerate(value))
            continue
        check_value(f"{name}.{key}", value, hints[key], fields[key].metadata["check"], where)
    for key in required:
        if key not in table:
            raise SettingsError(f"{brackets} has no {key}.", where=source.line_of(*place))
    return section(**{**table, **nested})


def check_value(name: str, value: Any, hint: Any, check: Check | None, where: str) -> None:
    """Refuse a value that is not of the type a field is annotated with, or that its check does not allow."""
    if value is None and type(None) in typing.get_args(hint):
        return
    if value == "auto" and Auto in typing.get_args(hint):
        return
    allowed_types = _plain_types(hint)
    is_number_for_float = float in allowed_types and isinstance(value, int) and not isinstance(value, bool)
    exact_type = type(value) in allowed_types
    if not (exact_type or is_number_for_float):
        wanted = " or ".join(sorted({_TYPE_WORDS[kind] for kind in allowed_types}))
        also = ' or "auto"' if Auto in typing.get_args(hint) else ""
        raise SettingsError(f"{name} = {value!r} is not {wanted}{also}.", where=where)
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{name} = {value!r} is not a list of texts.", where=where)
    allowed = check(value) if check else ""
    if allowed:
        # Of a table names alone: what it holds may be nobody's business.
        shown = f"{{{', '.join(value)}}}" if isinstance(value, dict) else repr(value)
        raise SettingsError(f"{name} = {shown} is not allowed; allowed: {allowed}.", where=where)


_TYPE_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}


def _plain_types(hint: Any) -> set[type]:
    # `int | None` is a types.UnionType, `int | Literal["auto"]` a typing.Union.
    members = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    plain = {typing.get_origin(member) or member for member in members}
    return {kind for kind in plain if kind in _TYPE_WORDS}


def suggestion(name: str, known: list[str]) -> str:
    """What was probably meant by an unknown name, else what there is."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known))}."
