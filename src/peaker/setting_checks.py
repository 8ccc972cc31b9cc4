"""What a setting may hold: a test of its value, and the allowed values in words for messages and the reference page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """Calling it gives "" for a good value, else the allowed values in words ("128 to 10240")."""

    words: str
    holds: Callable[[Any], bool]

    def __call__(self, value: Any) -> str:
        """The words, where `value` is not allowed."""
        return "" if self.holds(value) else self.words


def between(low: float, high: float) -> Check:
    """Allow numbers from `low` to `high`, both included."""
    return Check(f"{low:,.10g} to {high:,.10g}", lambda value: bool(low <= value <= high))


def one_of(*allowed: str) -> Check:
    """Allow these words only."""
    return Check(", ".join(allowed), lambda value: value in allowed)


def matching(pattern: str, words: str) -> Check:
    """Allow strings that match `pattern` whole; `words` says so."""
    compiled = re.compile(pattern)
    return Check(words, lambda value: compiled.fullmatch(value) is not None)


def _is_address(value: str) -> bool:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]*):(\d{1,5})", value)
    return found is not None and int(found[2]) <= 65_535


def _are_networks(values: list[str]) -> bool:
    # Only those who check settings pay for this import.
    from ipaddress import ip_network

    try:
        return all(value == "*" or ip_network(value, strict=False) for value in values if isinstance(value, str))
    except ValueError:
        return False


def _are_variables(values: dict[str, Any]) -> bool:
    return all(ENV_NAME.fullmatch(name) and isinstance(value, str) for name, value in values.items())


ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
VARIABLES = Check("names of variables, each with a text in quotes", _are_variables)
NAME = matching(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}", "a letter, then up to 63 letters, digits, - or _")
TARGET = matching(r"[\w.]+:[\w.]+(\(\))?", "module:attribute, or module:factory()")
OPTIONAL_TARGET = matching(r"|[\w.]+:[\w.]+(\(\))?", "module:attribute, or module:factory()")
HANDLER = matching(
    r"[\w.]+:[\w.]+(\(\))?|[\w./-]+\.\w+", "module:attribute, module:factory(), or folder/module.function as on Lambda"
)
FUNCTION_ARN = matching(
    r"|arn:aws[a-z-]*:lambda:[a-z]{2}(-[a-z]+)+-\d:\d{12}:function:[a-zA-Z0-9-_]{1,64}(:[a-zA-Z0-9-_$]{1,128})?",
    "arn:aws:lambda:REGION:ACCOUNT:function:NAME, with :VERSION or :ALIAS behind it",
)
INVOKE_ENDPOINT = matching(r"|https?://[^/\s?#@]+", "https://HOST or https://HOST:PORT")
ADDRESS = Check("host:port with a port up to 65,535", _is_address)
NETWORKS = Check('IP addresses, networks such as 10.0.0.0/8, or "*" for all', _are_networks)
ROUTE_PATH = matching(r"/[^\s*]*\*?", "a path that begins with / and may end with *")
DESTINATION = matching(
    r"|function:[a-zA-Z][a-zA-Z0-9_-]{0,63}|queue:[A-Za-z0-9_-]{1,80}|topic:[A-Za-z0-9_-]{1,256}",
    "function:NAME, queue:NAME or topic:NAME",
)
FUNCTION_TIMEOUT = Check(
    "0.1 to 900; what takes longer is no function: make it a [[job]], which has no time limit",
    lambda value: bool(0.1 <= value <= 900),
)
OPTIONAL_PATH = matching(r"|/\S*", "a path that begins with /")
