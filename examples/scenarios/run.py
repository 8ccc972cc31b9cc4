"""Plans every scenario of this folder: `python examples/scenarios/run.py [NAME...] [--json]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from peaker.plan.plan import Architecture, Plan
from peaker.plan.scenario import Scenario, combined, load_scenario, plans_of
from peaker.prices import load

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """0 when every answer is the expected one, as the files are and with their deciding figures changed."""
    as_json = "--json" in arguments
    names = [name for name in arguments if name != "--json"] or sorted(path.stem for path in FOLDER.glob("*.toml"))
    rows = [row_of(load_scenario(FOLDER / f"{name}.toml")) for name in names]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        print(table_of(rows))
    return 0 if all(row["answer"] == row["expected"] and row["turned"] == row["turns_to"] for row in rows) else 1


def row_of(scenario: Scenario) -> dict[str, Any]:
    """One scenario, planned twice."""
    plans = list(plans_of(scenario, load()).values())
    turned = combined(plans_of(scenario.turned(), load()).values())
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "decides": scenario.decides,
        "expected": scenario.answer.value,
        "answer": _name(combined(plans)),
        "usd_per_month": {each.value: _dollars(plans, each) for each in Architecture},
        "flip": dict(scenario.flip.changes),
        "turns_to": scenario.flip.answer.value,
        "turned": _name(turned),
        "why": scenario.flip.why,
    }


def _name(answer: Architecture | None) -> str:
    return answer.value if answer else "none"


def _dollars(plans: list[Plan], architecture: Architecture) -> float | None:
    """The cheapest that meets all needs in every part, None where a part has none."""
    found = [
        min(
            (each.usd_per_month for each in plan.candidates if each.holds and each.architecture is architecture),
            default=None,
        )
        for plan in plans
    ]
    known = [usd for usd in found if usd is not None]
    return round(sum(known), 2) if len(known) == len(plans) else None


def table_of(rows: list[dict[str, Any]]) -> str:
    """A Markdown table."""
    lines = [
        "| case | answer | servers | functions | hybrid | what decides | turns to |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        usd = [f"${value:,.2f}" if value is not None else "-" for value in row["usd_per_month"].values()]
        wrong = "" if row["answer"] == row["expected"] else f" (expected {row['expected']})"
        turned = row["turned"] if row["turned"] == row["turns_to"] else f"{row['turned']} (expected {row['turns_to']})"
        answer = row["answer"] + wrong
        lines.append(f"| {row['title']} | {answer} | {' | '.join(usd)} | {row['decides']} | {turned}: {row['why']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
