"""The cases people face: each answer is reached by the plan's own sums, and turns with the figures that decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from peaker.plan.plan import Architecture
from peaker.plan.scenario import combined, load_scenario, plans_of
from peaker.plan.workload import PlanError
from peaker.prices import load

FOLDER = Path(__file__).parents[2] / "examples" / "scenarios"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))
QUICK = {"image_resizing", "multiplayer_server", "video_transcoding", "webhooks", "small_startup"}
"""Planned in a second; the others need some, and run with --long."""


def test_every_case_is_there() -> None:
    assert len(NAMES) == 15
    assert {load_scenario(FOLDER / f"{name}.toml").answer for name in NAMES} == set(Architecture)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in NAMES]
)
def test_a_case_gets_its_answer_and_turns_with_what_decides(name: str) -> None:
    scenario = load_scenario(FOLDER / f"{name}.toml")
    assert combined(plans_of(scenario, load()).values()) is scenario.answer
    turned = scenario.turned()
    assert turned.answer is not scenario.answer
    assert combined(plans_of(turned, load()).values()) is turned.answer


def test_a_member_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    text = (FOLDER / "webhooks.toml").read_text(encoding="utf-8")
    path = tmp_path / "webhooks.toml"
    path.write_text(text.replace("cpu_share", "cpu_part"), encoding="utf-8")
    with pytest.raises(PlanError, match=r"work\.cpu_part is not known"):
        load_scenario(path).parts()
    path.write_text("title = 3", encoding="utf-8")
    with pytest.raises(PlanError, match="it is no scenario"):
        load_scenario(path)
