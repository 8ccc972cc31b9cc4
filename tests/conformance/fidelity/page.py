"""Writes docs/reference/lambda-fidelity.md: `python tests/conformance/fidelity/page.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fidelity.registry import Behaviour, all_behaviours

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "lambda-fidelity.md"
MEASURED = Path(__file__).parent / "measured.json"
"""What `benchmarks/fidelity` found on other tools: by tool its version, date and, by behaviour, "yes" or the reason."""

NOT_RUN = "not run"

HEAD = """# How true the local Lambda is

<!-- Written by tests/conformance/fidelity/page.py from the behaviours beside it; do not edit. -->

Each row is one observable behaviour of AWS Lambda, with the page at AWS (or the code of AWS's own Python runtime) that
says so. The column of Peaker is a test that runs with every change (`tests/conformance/test_lambda_fidelity.py`, with
`like = "lambda"`); where Peaker differs the test asserts the difference, so that this page cannot promise too much. The
other columns are the same checks, run by `benchmarks/fidelity` on the tools as they come: "yes" is a check that
passed, "no" one that did not. Nothing here was run on AWS itself.
"""


def measured() -> dict[str, Any]:
    """The other tools' results."""
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def page() -> str:
    """The whole page."""
    behaviours, tools = all_behaviours(), measured()
    return "\n".join([HEAD, *_summary(behaviours, tools), *_tables(behaviours, tools), *_reasons(behaviours, tools)])


def _summary(behaviours: list[Behaviour], tools: dict[str, Any]) -> list[str]:
    same = sum(not one.differs for one in behaviours)
    lines = ["| tool | version | run on | as Lambda |", "|---|---|---|---|"]
    lines.append(f"| Peaker | this one | every change | {same} of {len(behaviours)} |")
    for name, tool in tools.items():
        tried = [one for one in behaviours if not tool["results"].get(one.id, NOT_RUN).startswith(NOT_RUN)]
        count = sum(tool["results"][one.id] == "yes" for one in tried)
        lines.append(f"| {name} | {tool['version']} | {tool['date']} | {count} of {len(tried)} |")
    notes = [f"{name}: {tool['note']}" for name, tool in tools.items() if tool.get("note")]
    return [*lines, "", *notes, ""]


def _tables(behaviours: list[Behaviour], tools: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for area in dict.fromkeys(one.area for one in behaviours):
        lines += [f"## {area}", "", f"| behaviour | Peaker | {' | '.join([*tools, 'source'])} |"]
        lines.append("|---" * (len(tools) + 3) + "|")
        lines += [_row(one, tools) for one in behaviours if one.area == area]
        lines.append("")
    return lines


def _row(one: Behaviour, tools: dict[str, Any]) -> str:
    others = [_cell(tool["results"].get(one.id)) for tool in tools.values()]
    cells = [one.what, f"**no**: {one.differs}" if one.differs else "yes", *others, f"[AWS]({one.source})"]
    return f"| {' | '.join(cells)} |"


def _cell(found: str | None) -> str:
    if found is None or found.startswith(NOT_RUN):
        return found or "not run"
    return "yes" if found == "yes" else "no"


def _reasons(behaviours: list[Behaviour], tools: dict[str, Any]) -> list[str]:
    """What was seen where a check failed on another tool."""
    lines = ["## What was seen instead", ""]
    for name, tool in tools.items():
        failed = [one for one in behaviours if _cell(tool["results"].get(one.id)) == "no"]
        if failed:
            lines += [f"### {name}", "", "| behaviour | seen |", "|---|---|"]
            lines += [f"| {one.what} | {_quoted(tool['results'][one.id])} |" for one in failed]
            lines.append("")
    return lines


def _quoted(text: str) -> str:
    return f"`{text.replace('|', '/').replace('`', chr(39))}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
