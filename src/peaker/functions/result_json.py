"""A handler's result as JSON, as AWS's Python runtime writes it.

That runtime encodes with simplejson (awslambdaric 4.2, `lambda_runtime_marshaller.py`): all digits of a Decimal, bytes
as text, NaN and Infinity by name, and text outside ASCII escaped before Python 3.12. The standard library's encoder is
made to do the same, but for two rare things: a named tuple becomes an array here and an object there, and a dictionary
with bytes as keys is refused here.
"""

from __future__ import annotations

import decimal
import json
import re
import secrets
import sys
from typing import Any

ESCAPES = sys.version_info < (3, 12)

_MARK = f"decimal {secrets.token_hex(16)} "
"""Begins a string that stands for a number until the text is there; nobody else can know it."""

_MARKED = re.compile(rf'"{_MARK}([^"]*)"')


class _Unusual:
    """Encodes what json does not know, and remembers whether a Decimal was among it."""

    def __init__(self) -> None:
        self.saw_decimal = False

    def __call__(self, value: Any) -> Any:
        if isinstance(value, decimal.Decimal):
            if value.is_nan():
                return float("nan")
            self.saw_decimal = True
            return f"{_MARK}{value}"
        if isinstance(value, (bytes, bytearray)):
            return value.decode()
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def to_json(result: Any) -> bytes:
    """Raises TypeError, ValueError (also for a circular reference or for text that is no Unicode) or RecursionError."""
    unusual = _Unusual()
    text = json.dumps(result, ensure_ascii=ESCAPES, default=unusual)
    if unusual.saw_decimal:
        text = _MARKED.sub(r"\1", text)
    return text.encode()
