"""Reading what a policy saved: every value is checked, so that a damaged file is an error and no odd behaviour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from peaker.errors import StateError


def number(state: Mapping[str, Any], name: str, low: float = 0.0, high: float = 1e12) -> float:
    """The value of that name, a number from low to high.

    Raises:
        StateError: it is missing or no such number.
    """
    return as_number(state.get(name), name, low, high)


def whole(state: Mapping[str, Any], name: str, low: int = 0, high: int = 10**9) -> int:
    """The value of that name, a whole number from low to high; raises as `number` does."""
    value = number(state, name, low, high)
    if value != int(value):
        raise StateError(f"saved baseline: {name} = {value} is no whole number.")
    return int(value)


def numbers(state: Mapping[str, Any], name: str, low: float, high: float, length_max: int) -> list[float]:
    """The list of that name, of at most `length_max` numbers; raises as `number` does."""
    found = state.get(name)
    if not isinstance(found, list) or len(found) > length_max:
        raise StateError(f"saved baseline: {name} is no list of at most {length_max} numbers.")
    return [as_number(value, name, low, high) for value in found]


def optional(state: Mapping[str, Any], name: str, low: float = 0.0, high: float = 1e12) -> float | None:
    """The value of that name, or None where it is null; raises as `number` does."""
    return None if name in state and state[name] is None else number(state, name, low, high)


def as_number(value: Any, name: str, low: float, high: float) -> float:
    """The value itself if it is a number from low to high; raises as `number` does."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise StateError(f"saved baseline: {name} = {value!r} is no number from {low:g} to {high:g}.")
    return float(value) if math.isfinite(value) else high


def part(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object of that name; raises as `number` does."""
    found = state.get(name)
    if not isinstance(found, dict):
        raise StateError(f"saved baseline: {name} is no object.")
    return found


def table(state: Mapping[str, Any], name: str, columns: int, rows_max: int = 100_000) -> list[list[float]]:
    """The list of that name, of lists of `columns` numbers of 0 or more; raises as `number` does."""
    found = state.get(name)
    if not isinstance(found, list) or len(found) > rows_max:
        raise StateError(f"saved baseline: {name} is no list of at most {rows_max} lists.")
    for row in found:
        if not isinstance(row, list) or len(row) != columns:
            raise StateError(f"saved baseline: {name} has a row that is not of {columns} numbers.")
    return [[as_number(value, name, 0.0, 1e30) for value in row] for row in found]
