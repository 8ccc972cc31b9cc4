"""Predictions and measurements survive being written and read; what is no such file is refused by name."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import measurement, prediction

from peaker.simulate.comparison import Verdict, compare
from peaker.simulate.measurement import Measurement, load_measurement
from peaker.simulate.measures import Measures
from peaker.simulate.prediction import Prediction, load_prediction
from peaker.simulate.saved import ProofFileError, read_value, to_json

FIGURE = st.none() | st.floats(0, 1e9, allow_nan=False)
MEASURES = st.builds(Measures, **{field.name: FIGURE for field in dataclasses.fields(Measures)})
TEXT = st.text(max_size=40)


@given(st.tuples(MEASURES, MEASURES, MEASURES), TEXT, st.integers(1, 1000), st.lists(TEXT, max_size=3))
def test_a_prediction_is_the_same_after_a_file(
    figures: tuple[Measures, Measures, Measures], of: str, runs: int, notes: list[str]
) -> None:
    expected, low, high = figures
    made = dataclasses.replace(
        prediction(), expected=expected, low=low, high=high, of=of, runs=runs, notes=tuple(notes)
    )
    assert read_value(Prediction, "prediction", json.loads(to_json(made)), "file") == made


@given(MEASURES, TEXT, st.booleans())
def test_a_measurement_is_the_same_after_a_file(measures: Measures, app: str, void: bool) -> None:  # noqa: FBT001
    made = dataclasses.replace(measurement(), measures=measures, app=app, is_void=void)
    assert read_value(Measurement, "measurement", json.loads(to_json(made)), "file") == made


@given(MEASURES, st.lists(MEASURES, min_size=1, max_size=4))
def test_every_figure_gets_a_verdict_that_its_error_bears_out(expected: Measures, repeats: list[Measures]) -> None:
    predicted = dataclasses.replace(prediction(), expected=expected)
    found = compare(predicted, [dataclasses.replace(measurement(), measures=each) for each in repeats])
    assert [row.name for row in found.rows] == [field.name for field in dataclasses.fields(Measures)]
    for row in found.rows:
        if row.error is not None and row.verdict is not Verdict.NOT_MEASURED:
            assert (abs(row.error) <= row.allowed) == (row.verdict is Verdict.HOLDS)
        assert all(value is None or math.isfinite(value) for value in (row.error, row.spread, row.allowed))
    assert found.holds == all(row.verdict is Verdict.HOLDS for row in found.rows)
    json.dumps(dataclasses.asdict(found), allow_nan=False)


@given(MEASURES)
def test_what_was_foreseen_exactly_holds_where_there_is_one_replay(measures: Measures) -> None:
    predicted = dataclasses.replace(prediction(), expected=measures)
    assert compare(predicted, [dataclasses.replace(measurement(), measures=measures)]).holds


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from([field.name for field in dataclasses.fields(Prediction)])


@settings(max_examples=50)
@given(MEMBERS, JSON)
def test_a_changed_member_is_read_or_refused_with_the_file_named(member: str, value: Any) -> None:
    document = json.loads(to_json(prediction()))
    document[member] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "prediction.json")
        file.write_text(json.dumps(document), encoding="utf-8")
        try:
            load_prediction(file)
        except ProofFileError as error:
            assert str(file) in str(error)  # noqa: PT017 - both ends are right


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "it is no measurement"),
        ('{"kind": "prediction", "format": 1}', "it is no measurement"),
        ('{"kind": "measurement", "format": 9}', "format = '9' is not allowed"),
        ('{"kind": "measurement", "format": 1}', "the member 'app' is missing"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_measurement_is_refused_with_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "m.json"
    file.write_text(text)
    with pytest.raises(ProofFileError, match=said):
        load_measurement(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProofFileError, match=r"nowhere\.json: it cannot be read"):
        load_prediction(tmp_path / "nowhere.json")
