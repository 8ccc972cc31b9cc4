"""Frozen values of this package as files: indented JSON, read back strictly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from peaker.errors import PeakerError
from peaker.plan.json_values import value_from
from peaker.plan.workload import PlanError

FORMAT = 1
SIZE_MAX = 64 * 1024 * 1024

_Value = TypeVar("_Value")


class ProofFileError(PeakerError):
    """The file holds neither a prediction nor a measurement."""

    exit_code = 2


def to_json(value: Any) -> str:
    """As indented JSON; `read_value` of it gives an equal value."""
    return json.dumps(dataclasses.asdict(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ProofFileError: it cannot be read, is too large, or is no JSON object.
    """
    try:
        if path.stat().st_size > SIZE_MAX:
            raise ProofFileError(f"it is larger than {SIZE_MAX >> 20} MB.", where=str(path))
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ProofFileError(f"it cannot be read: {error}.", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ProofFileError(f"it is not JSON: {error}.", where=str(path)) from error
    if not isinstance(document, dict):
        raise ProofFileError("it is not a JSON object.", where=str(path))
    return document


def read_value(kind: type[_Value], what: str, document: dict[str, Any], where: str) -> _Value:
    """The value in a JSON object that says `"kind": what`.

    Raises:
        ProofFileError: it is another kind of thing, of another format, or a member is wrong; says which.
    """
    if document.get("kind") != what:
        raise ProofFileError(f"it is no {what}.", where=where, remedy=_REMEDIES[what])
    if document.get("format") != FORMAT:
        raise ProofFileError(
            f"format = {str(document.get('format'))[:80]!r} is not allowed; allowed: {FORMAT}.",
            where=where,
            remedy="Another version of Peaker wrote it; write it again with this one.",
        )
    try:
        return value_from(kind, document, where)
    except PlanError as error:
        raise ProofFileError(error.what, where=error.where) from error


_REMEDIES = {
    "prediction": "`peaker simulate PLAN|TRACE --out FILE` writes one.",
    "measurement": "`peaker replay TRACE --to URL --out FILE` writes one.",
}
