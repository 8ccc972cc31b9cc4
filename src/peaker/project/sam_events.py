"""What starts a function of a SAM template, as `[[function.on]]`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from peaker.local_time import zone_of
from peaker.schedule_expression import ExpressionError, parse_expression

_EXPRESSIONS = {"Schedule": "Schedule", "ScheduleV2": "ScheduleExpression"}
"""Types of events (AWS SAM, "Schedule" and "ScheduleV2"), and the property that has their expression."""


def schedule_of(event: Any) -> tuple[tuple[str, str], ...]:
    """Keys and texts of a schedule; () for what is none, or is not known before it is deployed, or is switched off."""
    table = event if isinstance(event, Mapping) else {}
    properties = table.get("Properties")
    key = _EXPRESSIONS.get(str(table.get("Type")))
    if key is None or not isinstance(properties, Mapping):
        return ()
    expression, given = properties.get(key), properties.get("Input")
    zone = properties.get("ScheduleExpressionTimezone", "UTC")
    if properties.get("Enabled") is False or properties.get("State") == "DISABLED":
        return ()
    if not (isinstance(expression, str) and isinstance(zone, str) and _is_known(expression, zone)):
        return ()
    if given is not None and not _is_json(given):
        return ()
    texts = {"schedule": expression, "timezone": zone if zone != "UTC" else "", "input": given or ""}
    return tuple((name, text) for name, text in texts.items() if text)


def _is_known(expression: str, zone: str) -> bool:
    try:
        parse_expression(expression)
    except ExpressionError:
        return False
    return zone_of(zone) is not None


def _is_json(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
