"""What is asked for: methods and paths with their weights."""

from __future__ import annotations

import itertools
import random
import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peaker.errors import SettingsError
from peaker.http1 import request_head

TARGETS_MAX = 10_000
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WITH_BODY = ("POST", "PUT", "PATCH")

_TARGET = re.compile(r"(?:(?P<method>[A-Z]+) +)?(?P<path>/[^\s:]*(?::[^\s:]*)*?)(?::(?P<weight>\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that is asked for, `weight` times as often as one of weight 1."""

    method: str
    path: str
    weight: float = 1.0


def parse_target(text: str, where: str = "--path") -> Target:
    """`/x`, `/x:3` (weight 3), `POST /x:0.5`.

    Raises:
        SettingsError: it is none of these.
    """
    match = _TARGET.fullmatch(text.strip())
    if match is None or not match["path"].isascii():
        raise SettingsError(f"{text!r} is not [METHOD ]/path[:weight] in ASCII.", where=where)
    method, weight = match["method"] or "GET", float(match["weight"] or 1.0)
    if method not in METHODS:
        raise SettingsError(f"method {method!r} is not allowed; allowed: {', '.join(METHODS)}.", where=where)
    if not weight > 0:
        raise SettingsError(f"weight {weight:g} of {match['path']} is not above 0.", where=where)
    return Target(method, match["path"], weight)


def read_targets(path: Path) -> list[Target]:
    """One target a line as in `parse_target`; empty lines and those that begin with # say nothing.

    Raises:
        SettingsError: the file cannot be read or a line is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the list of paths cannot be read: {error}.", where=str(path)) from error
    return [
        parse_target(line, f"{path}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


class Mix:
    """Targets ready to be sent: heads are built once, a draw costs a bisection."""

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        host: str,
        prefix: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """`body` goes with each request of a method in WITH_BODY."""
        if not 1 <= len(targets) <= TARGETS_MAX:
            raise SettingsError(f"{len(targets)} paths are not allowed; allowed: 1 to {TARGETS_MAX}.")
        fields = [("host", host), ("user-agent", "peaker-replay"), ("accept", "*/*"), *headers]
        bodies = [body if target.method in WITH_BODY else b"" for target in targets]
        self._heads = [
            request_head(target.method, prefix + target.path, fields, len(own)) + own
            for target, own in zip(targets, bodies, strict=True)
        ]
        self._is_head = [target.method == "HEAD" for target in targets]
        self._cumulative = list(itertools.accumulate(target.weight for target in targets))

    def draw(self, chance: random.Random) -> tuple[bytes, bool]:
        """One request (its head, and its body if it has one), and whether it is a HEAD, whose answer has no body."""
        place = bisect(self._cumulative, chance.random() * self._cumulative[-1])
        place = min(place, len(self._heads) - 1)
        return self._heads[place], self._is_head[place]
