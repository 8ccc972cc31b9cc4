"""Files of events to be put again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

FILE_BYTES_MAX = 256 * 1024 * 1024
EVENT_BYTES_MAX = 1024 * 1024


def documents_of(file: Path) -> list[Any]:
    """The documents of a file: a whole JSON (of a list each item), else one JSON a line.

    Raises:
        click.BadParameter: it cannot be read, or a line is no JSON.
    """
    try:
        text = sys.stdin.read(FILE_BYTES_MAX + 1) if str(file) == "-" else _read(file)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{file} cannot be read: {error}.", param_hint="FILE") from error
    if len(text) > FILE_BYTES_MAX:
        raise click.BadParameter(f"{file} has over {FILE_BYTES_MAX} bytes.", param_hint="FILE")
    try:
        whole = json.loads(text)
    except ValueError:
        return [_line(file, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return whole if isinstance(whole, list) else [whole]


def _read(file: Path) -> str:
    with file.open(encoding="utf-8") as opened:
        return opened.read(FILE_BYTES_MAX + 1)


def _line(file: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise click.BadParameter(f"{file}:{number} is not JSON: {error}.", param_hint="FILE") from error


def wanted_of(document: Any, function: str | None) -> tuple[str, bytes]:
    """Function and payload that a document means.

    Raises:
        click.BadParameter: it does not say, or the payload is too large for an event.
    """
    name, payload = (function, document) if function is not None else _named(document)
    encoded = json.dumps(payload, separators=(",", ":")).encode()
    if len(encoded) > EVENT_BYTES_MAX:
        raise click.BadParameter(
            f"a payload for {name} has {len(encoded)} bytes; allowed: up to {EVENT_BYTES_MAX}.", param_hint="FILE"
        )
    return name, encoded


def _named(document: Any) -> tuple[str, Any]:
    if isinstance(document, dict):
        context = document.get("requestContext")
        if isinstance(context, dict) and "requestPayload" in document:
            arn = str(context.get("functionArn", ""))
            if ":function:" in arn:
                return arn.partition(":function:")[2].partition(":")[0], document["requestPayload"]
        if isinstance(document.get("function"), str) and "payload" in document:
            payload = document["payload"]
            # `show --json` writes the payload as the text it came as.
            return document["function"], _decoded(payload) if "attempts_made" in document else payload
    raise click.BadParameter(
        f"{json.dumps(document)[:80]} does not say which function it is for.",
        param_hint="FILE",
    )


def _decoded(payload: Any) -> Any:
    if payload is None:
        raise click.BadParameter("the payload of a finished event is gone.", param_hint="FILE")
    return json.loads(payload)
