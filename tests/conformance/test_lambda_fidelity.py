"""Every behaviour of the fidelity table holds on Peaker, but for those said to differ; and its page is in step.

The functions run with `like = "lambda"`, so start times, the frozen pause between invocations and the read-only disk
are those that are told about AWS.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fidelity.clients import Peaker, peaker
from fidelity.page import PAGE, page
from fidelity.registry import Behaviour, all_behaviours

BEHAVIOURS = all_behaviours()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peaker]:
    with peaker(tmp_path_factory.mktemp("fidelity")) as running:
        yield running


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.id)
def test_a_behaviour_of_lambda_is_peakers(behaviour: Behaviour, endpoint: Peaker) -> None:
    if not behaviour.differs:
        behaviour.check(endpoint)
        return
    with pytest.raises(AssertionError):
        behaviour.check(endpoint)


def test_the_table_is_long_enough_and_each_row_has_its_source() -> None:
    assert len(BEHAVIOURS) >= 60
    assert len({behaviour.id for behaviour in BEHAVIOURS}) == len(BEHAVIOURS)
    places = ("https://docs.aws.amazon.com/", "https://aws.amazon.com/", "https://github.com/aws/")
    assert all(behaviour.source.startswith(places) for behaviour in BEHAVIOURS)


def test_the_page_is_in_step_with_the_table() -> None:
    again = "write it again: python tests/conformance/fidelity/page.py"
    assert PAGE.read_text(encoding="utf-8") == page(), again
