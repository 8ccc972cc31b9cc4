"""On which line of a TOML document a key stands, which the standard library's parser does not tell."""

from __future__ import annotations

import re

Place = tuple[str | int, ...]
"""A path of keys; the number after the name of a repeated table counts its `[[name]]` from 0."""

_HEADER = re.compile(r"^\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?$")
_ASSIGNMENT = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_KEY = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_MULTI_LINE_QUOTES = ('"' * 3, "'" * 3)


class TomlLines:
    """The line numbers of the tables and keys in `text`, a valid TOML document."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._repeats: dict[Place, int] = {}
        table: Place = ()
        open_quotes = ""
        for number, line in enumerate(text.splitlines(), 1):
            if open_quotes:
                open_quotes = "" if open_quotes in line else open_quotes
            elif header := _HEADER.match(line):
                table = self._table(_keys(header[2]), is_repeated=header[1] == "[[")
                self._note(table, number)
            elif assignment := _ASSIGNMENT.match(line):
                self._note((*table, *_keys(assignment[1])), number)
                open_quotes = next((quotes for quotes in _MULTI_LINE_QUOTES if line.count(quotes) == 1), "")

    def line_of(self, place: Place) -> int | None:
        """The line of `place`, or of the nearest table or key around it that stands in a line of its own."""
        for length in range(len(place), 0, -1):
            if place[:length] in self._lines:
                return self._lines[place[:length]]
        return None

    def _table(self, keys: Place, *, is_repeated: bool) -> Place:
        """The place a header opens: a key under a repeated table belongs to the last of it."""
        place: Place = ()
        for key in keys[:-1]:
            place = (*place, key)
            if place in self._repeats:
                place = (*place, self._repeats[place])
        place = (*place, keys[-1])
        if not is_repeated:
            return place
        self._repeats[place] = self._repeats.get(place, -1) + 1
        return (*place, self._repeats[place])

    def _note(self, place: Place, number: int) -> None:
        for length in range(1, len(place) + 1):
            self._lines.setdefault(place[:length], number)


def _keys(dotted: str) -> Place:
    return tuple(part.strip("\"'") for part in _KEY.findall(dotted))
