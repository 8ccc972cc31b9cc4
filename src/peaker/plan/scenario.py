"""A case described in a file: traffic, work, needs and objective, with the answer that is expected and what turns it.

A scenario has one part or several; each part is planned by itself, and the answer is hybrid where parts differ.
"""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from peaker.plan.case import Case, Choices, Figure, Needs, Objective, Operations, Origin, Times, Trigger, Work
from peaker.plan.make import make_plan
from peaker.plan.plan import Architecture, Plan
from peaker.plan.workload import PlanError
from peaker.prices import PriceTable
from peaker.traffic.synthetic import Burst, Description, counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Members of the file and the values at which the answer is another."""

    changes: Mapping[str, Any]
    answer: Architecture
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A described case; `document` is the file, from which parts are made."""

    name: str
    title: str
    answer: Architecture
    decides: str
    flip: Flip
    document: Mapping[str, Any]

    def parts(self) -> dict[str, Case]:
        """The cases by name.

        Raises:
            PlanError: a member is unknown, missing or out of range.
        """
        described = self.document.get("part", [self.document])
        return {part.get("name", self.name): _case(part, f"{self.name}.toml") for part in described}

    def turned(self) -> Scenario:
        """The same with the deciding figures changed."""
        document = copy.deepcopy(dict(self.document))
        for path, value in self.flip.changes.items():
            for part in document.get("part", [document]):
                _set(part, path, value)
        return dataclasses.replace(self, document=document, answer=self.flip.answer)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario's file.

    Raises:
        PlanError: it cannot be read, or a member is missing.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        flip = document.pop("flip")
        return Scenario(
            name=path.stem,
            title=document["title"],
            answer=Architecture(document["answer"]),
            decides=document["decides"],
            flip=Flip(changes=flip["set"], answer=Architecture(flip["answer"]), why=flip["why"]),
            document=document,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(f"it is no scenario: {error}.", where=str(path)) from error


def plans_of(scenario: Scenario, table: PriceTable) -> dict[str, Plan]:
    """The plan of each part."""
    return {name: make_plan(case, table) for name, case in scenario.parts().items()}


def combined(plans: Iterable[Plan]) -> Architecture | None:
    """The answer for all parts together: theirs if it is one, else hybrid; None where a part has none."""
    answers = {plan.answer.architecture if plan.answer else None for plan in plans}
    if None in answers:
        return None
    return answers.pop() if len(answers) == 1 else Architecture.HYBRID


def _case(part: Mapping[str, Any], where: str) -> Case:
    traffic = dict(_section(part, "traffic", where))
    bursts = tuple(_made(Burst, burst, where) for burst in traffic.pop("burst", []))
    description = _made(Description, {**traffic, "bursts": bursts}, where)
    needs = dict(part.get("needs", {}))
    needs["trigger"] = Trigger(needs.get("trigger", "request"))
    objective = dict(_section(part, "objective", where))
    objective["latency_s"] = objective.pop("latency_ms", 300.0) / 1000
    choices = dict(part.get("choices", {}))
    choices["operations"] = _made(Operations, choices.get("operations", {}), where)
    return Case(
        name=part.get("name", where.removesuffix(".toml")),
        counts=counts(description),
        step_s=description.step_s,
        work=_work(_section(part, "work", where), where),
        needs=_made(Needs, needs, where),
        objective=_made(Objective, objective, where),
        choices=_made(Choices, choices, where),
    )


def _work(section: Mapping[str, Any], where: str) -> Work:
    known = {"service_ms", "cpu_share", "cold_start_ms", "worker_memory_mb", "function_memory_mb", "response_kb"}
    if unknown := sorted(set(section) - known):
        raise PlanError(f"work.{unknown[0]} is not known; known: {', '.join(sorted(known))}.", where=where)
    if missing := sorted(known - set(section)):
        raise PlanError(f"work.{missing[0]} is missing.", where=where)
    return Work(
        service=_times(section["service_ms"]),
        cpu_share=Figure(section["cpu_share"], Origin.GIVEN),
        cold_start=_times(section["cold_start_ms"]),
        worker_memory_mb=Figure(section["worker_memory_mb"], Origin.GIVEN),
        function_memory_mb=Figure(section["function_memory_mb"], Origin.GIVEN),
        response_bytes=Figure(section["response_kb"] * 1024.0, Origin.GIVEN),
    )


def _times(milliseconds: list[float]) -> Times:
    return Times(tuple(value / 1000 for value in milliseconds), Origin.GIVEN)


def _section(part: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(part.get(name), Mapping):
        raise PlanError(f"the section [{name}] is missing.", where=where)
    return dict(part[name])


_Made = TypeVar("_Made")


def _made(kind: type[_Made], members: Mapping[str, Any], where: str) -> _Made:
    try:
        return kind(**members)
    except TypeError as error:
        raise PlanError(f"{kind.__name__}: {error}.", where=where) from error


def _set(part: dict[str, Any], path: str, value: Any) -> None:
    """Change the member `a.b`; `a.*.b` changes it in every table of a list."""
    head, _, rest = path.partition(".")
    if not rest:
        part[head] = value
        return
    if rest.startswith("*."):
        for each in part.get(head, []):
            _set(each, rest[2:], value)
        return
    _set(part.setdefault(head, {}), rest, value)
