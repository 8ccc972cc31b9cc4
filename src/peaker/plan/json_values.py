"""Frozen values as JSON members, read back strictly: each member is known, there, and of its type."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from peaker.plan.workload import PlanError

_Value = TypeVar("_Value")


def value_from(kind: type[_Value], raw: Any, where: str) -> _Value:
    """An instance of a dataclass from what `json.loads` gives; `where` names the place in messages.

    Raises:
        PlanError: a member is unknown, missing, of another type, or refused by the dataclass itself.
    """
    if not isinstance(raw, Mapping):
        raise PlanError(f"{str(raw)[:80]!r} is not an object.", where=where)
    hints = get_type_hints(kind)
    unknown = sorted(set(raw) - set(hints))
    if unknown:
        raise PlanError(f"the member {unknown[0][:80]!r} is not known.", where=where)
    members = {name: _member(hints[name], value, f"{where}.{name}") for name, value in raw.items()}
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    for field in fields:
        is_optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in members and not is_optional:
            raise PlanError(f"the member {field.name!r} is missing.", where=where)
    return kind(**members)


def _member(hint: Any, raw: Any, where: str) -> Any:
    if get_origin(hint) is tuple:
        return _list(get_args(hint)[0], raw, where)
    options = get_args(hint) or (hint,)
    if raw is None and type(None) in options:
        return None
    wanted = next(option for option in options if option is not type(None))
    return _plain(wanted, raw, where)


def _list(hint: Any, raw: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise PlanError(f"{str(raw)[:80]!r} is not a list.", where=where)
    return tuple(_member(hint, each, f"{where}[{index}]") for index, each in enumerate(raw))


def _plain(wanted: Any, raw: Any, where: str) -> Any:
    if get_origin(wanted) is tuple:
        return _list(get_args(wanted)[0], raw, where)
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return value_from(wanted, raw, where)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        if raw not in list(wanted):
            raise PlanError(f"{str(raw)[:80]!r} is not allowed; allowed: {', '.join(wanted)}.", where=where)
        return wanted(raw)
    if wanted is float:
        return _number(raw, where)
    if not isinstance(raw, wanted) or (isinstance(raw, bool) and wanted is not bool):
        raise PlanError(f"{str(raw)[:80]!r} is not of the type {wanted.__name__}.", where=where)
    return raw


def _number(raw: Any, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise PlanError(f"{str(raw)[:80]!r} is not a finite number.", where=where)
    return float(raw)
