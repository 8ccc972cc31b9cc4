"""The committed reference page is the one the settings make."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from peaker.cli.reference import settings_page
from peaker.settings import REPEATED_SECTIONS, SINGLE_SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_the_committed_page_is_in_step_with_the_settings() -> None:
    again = "write it again: python -m peaker.cli.reference > docs/reference/settings.md"

    assert PAGE.read_text(encoding="utf-8") == settings_page(), again


@pytest.mark.parametrize("section", [*SINGLE_SECTIONS.values(), *REPEATED_SECTIONS.values()])
def test_every_setting_has_a_row_a_help_sentence_and_a_default_that_its_own_check_allows(section: type) -> None:
    rows = settings_page()
    for field in dataclasses.fields(section):
        assert f"| `{field.name}` |" in rows
        assert field.metadata["help"].endswith(".")
        check = field.metadata["check"]
        if check is not None and field.default not in (dataclasses.MISSING, None, "auto", "", 0):
            assert check(field.default) == "", field.name
