"""What changed from one plan to another: the question, the figures, the candidates and the answer."""

from __future__ import annotations

from dataclasses import dataclass

from peaker.plan.plan import Candidate, Plan
from peaker.plan.telling import dollars, headline, milliseconds, percentile_name, span

SAME_WITHIN = 0.005
"""Dollars and times that differ by less than this share are the same for a person."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing as it was and as it is; "" where it was not or is no more."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the question, of the figures, of the candidates, and of the answer; equal plans have none."""

    question: tuple[Change, ...]
    figures: tuple[Change, ...]
    candidates: tuple[Change, ...]
    answer: Change | None

    @property
    def is_empty(self) -> bool:
        """Whether a person would see no change."""
        return not (self.question or self.figures or self.candidates or self.answer)


def difference(before: Plan, after: Plan) -> Difference:
    """From one plan to another; candidates are matched by kind and front."""
    told = (headline(before), headline(after))
    return Difference(
        question=_changes(_question(before), _question(after)),
        figures=_changes(_figures(before), _figures(after)),
        candidates=_candidates(before, after),
        answer=Change("answer", *told) if told[0] != told[1] else None,
    )


def _question(plan: Plan) -> dict[str, str]:
    return {
        "traffic": f"{plan.name}, {plan.requests:,} requests in {span(plan.hours)}",
        "region": plan.region,
        "objective": f"{percentile_name(plan.percentile)} within {milliseconds(plan.objective_ms)}",
        "prices": plan.prices_published,
        "made by": plan.made_by,
    }


def _figures(plan: Plan) -> dict[str, str]:
    return {figure.name: f"{figure.value} ({figure.origin})" for figure in plan.figures}


def _changes(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    names = dict.fromkeys([*before, *after])
    changes = (Change(name, before.get(name, ""), after.get(name, "")) for name in names)
    return tuple(change for change in changes if change.before != change.after)


def _candidates(before: Plan, after: Plan) -> tuple[Change, ...]:
    old, new = _by_kind(before), _by_kind(after)
    changes = []
    for name in dict.fromkeys([*old, *new]):
        was, now = old.get(name), new.get(name)
        if was is None or now is None or _differs(was, now):
            changes.append(Change(name, _told(was), _told(now)))
    return tuple(changes)


def _by_kind(plan: Plan) -> dict[str, Candidate]:
    kinds = [each.kind for each in plan.candidates]
    return {
        each.kind.value if kinds.count(each.kind) == 1 else f"{each.kind.value}, {each.front}": each
        for each in plan.candidates
    }


def _differs(was: Candidate, now: Candidate) -> bool:
    if was.title != now.title or was.breaks != now.breaks:
        return True
    pairs = ((was.usd_per_month, now.usd_per_month), (was.latency_p95_ms, now.latency_p95_ms))
    return any(abs(new - old) > SAME_WITHIN * max(abs(old), abs(new)) for old, new in pairs)


def _told(candidate: Candidate | None) -> str:
    if candidate is None:
        return ""
    told = (
        f"{candidate.title}, {dollars(candidate.usd_per_month)} a month, p95 {milliseconds(candidate.latency_p95_ms)}"
    )
    return told if candidate.holds else f"{told}, breaks {len(candidate.breaks)}"
