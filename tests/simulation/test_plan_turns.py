"""What would change an answer is told from that answer: with nothing moved, the sums that look for turns agree with it."""

import numpy as np
import pytest
from tests.apps.plan_cases import case, crowds, poisson

from peaker.plan.answer import anchors_of, quick_dollars
from peaker.plan.case import Case
from peaker.plan.make import make_plan
from peaker.prices import load

TABLE = load()


def waves() -> Case:
    """A slow wave, which auto scaling follows for less than a fleet for its peak costs."""
    at = np.arange(0, 86_400, 60)
    return case(poisson(60 * (400 - 390 * np.cos(at / 86_400 * 2 * np.pi))), 60.0)


@pytest.mark.parametrize("asked", [waves(), case(crowds(60, 10)), case(poisson(np.full(7200, 300.0)))])
def test_with_nothing_moved_the_answer_stays(asked: Case) -> None:
    found = make_plan(asked, TABLE)
    assert found.answer is not None
    anchors = anchors_of(asked, TABLE, found.candidates)
    dollars = quick_dollars(asked, TABLE, anchors)
    best = {
        architecture: min(c.usd_per_month for c in found.candidates if c.holds and c.architecture is architecture)
        for architecture in anchors
    }
    assert dict(dollars.by_architecture) == pytest.approx({each: best[each] for each, _ in dollars.by_architecture})
    assert dollars.instead_of(found.answer.architecture, asked.choices.simpler_within) is None


def test_turns_lie_on_both_sides_of_an_answer_at_most_once_each() -> None:
    found = make_plan(waves(), TABLE)
    assert found.answer is not None
    sides = [(turn.figure, turn.factor > 1) for turn in found.turns if turn.factor is not None]
    assert len(sides) == len(set(sides))
    assert all(turn.instead != found.answer.architecture.value for turn in found.turns)
