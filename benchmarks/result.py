"""One measured figure, and how figures are shown.

A benchmark's `run(arguments)` returns a list of these. `holds` is null where nothing was proved: the peer it is
compared with is absent, or the rounds spread too wide. A null is never counted as held.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One figure: `value` in `unit` against `bar` (a text such as "<= 1.10"; "" for a figure without a bar)."""

    name: str
    value: float | None
    unit: str
    bar: str = ""
    holds: bool | None = None
    detail: str = ""


def at_most(name: str, value: float | None, limit: float, unit: str, detail: str = "") -> Result:
    """A figure that must not exceed `limit`; a missing value proves nothing."""
    holds = None if value is None else value <= limit
    return Result(name, value, unit, f"<= {limit:g}", holds, detail)


def at_least(name: str, value: float | None, limit: float, unit: str, detail: str = "") -> Result:
    """A figure that must reach `limit`; a missing value proves nothing."""
    holds = None if value is None else value >= limit
    return Result(name, value, unit, f">= {limit:g}", holds, detail)


def as_json(bench: str, results: Iterable[Result]) -> str:
    """The one JSON line a benchmark ends with."""
    rows: list[dict[str, Any]] = [dataclasses.asdict(result) for result in results]
    return json.dumps({"bench": bench, "results": rows})


def as_markdown(results: Sequence[Result]) -> str:
    """A table for the benchmark's README."""
    lines = ["| what | value | bar | holds | |", "|---|---|---|---|---|"]
    lines += [
        f"| {result.name} | {_figure(result)} | {result.bar or '-'} | {_verdict(result)} | {result.detail} |"
        for result in results
    ]
    return "\n".join(lines)


def _figure(result: Result) -> str:
    if result.value is None:
        return "-"
    return (
        f"{result.value:,.4g} {result.unit}".strip()
        if abs(result.value) < 10_000
        else f"{result.value:,.0f} {result.unit}"
    )


def _verdict(result: Result) -> str:
    if result.holds is None:
        return "not proved" if result.bar else "-"
    return "yes" if result.holds else "**no**"
