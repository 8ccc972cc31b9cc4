"""What would change an answer is told from that answer: with nothing moved, the sums that look for turns agree."""

from dataclasses import replace

import numpy as np
import pytest
from plan_cases import case, crowds, poisson

from peaker.plan.answer import anchors_of, quick_dollars, turns_of
from peaker.plan.case import Case
from peaker.plan.make import make_plan
from peaker.plan.plan import Architecture
from peaker.prices import load

TABLE = load()
FLAT = case(poisson(np.full(1800, 300.0)))


@pytest.mark.parametrize("asked", [case(crowds(60, 10)), FLAT])
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
    sides = [(turn.figure, turn.factor > 1) for turn in found.turns if turn.factor is not None]
    assert len(sides) == len(set(sides))
    assert all(turn.instead != found.answer.architecture.value for turn in found.turns)


def test_servers_that_cost_less_than_a_fleet_for_the_peak_are_where_turns_begin() -> None:
    """As auto scaled ones may, which the quick sums do not know: the hybrid is no answer at once."""
    found = make_plan(case(crowds(60, 10)), TABLE)
    cheaper = tuple(
        replace(each, usd_per_month=each.usd_per_month / 4) if each.architecture is Architecture.SERVERS else each
        for each in found.candidates
    )
    asked = case(crowds(60, 10))
    before, after = anchors_of(asked, TABLE, found.candidates), anchors_of(asked, TABLE, cheaper)
    assert after[Architecture.SERVERS] == pytest.approx(before[Architecture.SERVERS] / 4)
    within = asked.choices.simpler_within
    assert quick_dollars(asked, TABLE, before).instead_of(Architecture.SERVERS, within) is Architecture.HYBRID
    assert quick_dollars(asked, TABLE, after).instead_of(Architecture.SERVERS, within) is None
    assert all(turn.factor != 1 for turn in turns_of(asked, TABLE, Architecture.SERVERS, after))
