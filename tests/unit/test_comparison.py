"""What a prediction beside its measurements says of each figure."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree as ET

import pytest
from proofs import ROOT, TRACE, measurement, prediction, sent

from peaker.simulate.comparison import OtherTraffic, Row, Verdict, compare
from peaker.simulate.comparison_picture import WIDTH, comparison_svg
from peaker.simulate.measures import BY_NAME, MEASURES
from peaker.traffic.arrivals import Spread
from peaker.traffic.mix import Target
from peaker.traffic.sent import traffic_hash
from peaker.traffic.trace import Trace


def row(name: str, predicted: float | None, *measured: float | None) -> Row:
    found = compare(
        prediction(changes={name: predicted}),
        [measurement(changes={name: value}) for value in measured],
        [BY_NAME[name]],
    )
    return found.rows[0]


@pytest.mark.parametrize(
    ("predicted", "verdict"),
    [(100.0, Verdict.HOLDS), (109.9, Verdict.HOLDS), (90.1, Verdict.HOLDS), (110.1, Verdict.OFF), (89.9, Verdict.OFF)],
)
def test_a_time_holds_within_ten_percent_of_what_was_measured(predicted: float, verdict: Verdict) -> None:
    found = row("latency_p95_ms", predicted, 100.0)
    assert found.verdict is verdict
    assert found.error == pytest.approx(predicted / 100 - 1)


def test_the_median_of_the_repeats_counts_and_their_spread_is_allowed_where_it_is_wider() -> None:
    found = row("usd", 117.0, 90.0, 100.0, 108.0)
    assert found.measured == 100.0
    assert [found.spread, found.allowed] == pytest.approx([0.18, 0.18])
    assert found.verdict is Verdict.HOLDS
    assert row("usd", 119.0, 90.0, 100.0, 108.0).verdict is Verdict.OFF


def test_repeats_that_spread_over_more_than_a_fifth_measured_nothing_however_near_the_median_is() -> None:
    assert row("gb_s", 100.0, 89.0, 100.0, 110.0).verdict is Verdict.NOT_MEASURED
    assert row("gb_s", 100.0, 90.0, 100.0, 110.0).verdict is Verdict.HOLDS


def test_shares_are_held_to_two_points_and_not_to_a_tenth_of_themselves() -> None:
    assert row("spilled_share", 0.019, 0.001, 0.002).verdict is Verdict.HOLDS
    assert row("spilled_share", 0.219, 0.20).verdict is Verdict.HOLDS
    found = row("spilled_share", 0.221, 0.20)
    assert found.verdict is Verdict.OFF
    assert [found.error, found.allowed] == pytest.approx([0.021, 0.02])


def test_nothing_predicted_and_nothing_measured_is_right_and_something_for_nothing_is_off() -> None:
    assert row("cold_starts", 0.0, 0.0, 0.0).verdict is Verdict.HOLDS
    found = row("cold_starts", 3.0, 0.0)
    assert (found.verdict, found.error) == (Verdict.OFF, None)


def test_a_percentile_that_falls_on_refusals_holds_only_where_that_was_predicted() -> None:
    assert row("latency_p99_ms", None, None, None).verdict is Verdict.HOLDS
    assert row("latency_p99_ms", 90.0, None, None).verdict is Verdict.OFF
    assert row("latency_p99_ms", None, 90.0).verdict is Verdict.OFF
    assert row("latency_p99_ms", 90.0, None, 90.0).verdict is Verdict.NOT_MEASURED


def test_a_void_replay_is_left_out_and_said() -> None:
    found = compare(prediction(), [measurement(), measurement(changes={"usd": 99.0}, is_void=True)])
    assert (found.repeats, found.void, found.holds) == (2, 1, True)
    nothing = compare(prediction(), [measurement(is_void=True)])
    assert {each.verdict for each in nothing.rows} == {Verdict.NOT_MEASURED}
    assert not nothing.holds
    assert not nothing.is_off


def test_other_traffic_is_refused_and_what_differs_is_named() -> None:
    with pytest.raises(OtherTraffic, match="seed 1 and 2"):
        compare(prediction(), [measurement(), measurement(sent(seed=2))])
    with pytest.raises(OtherTraffic, match=r"requests 450 and 900.*duration_s 3 and 3|requests 450 and 900"):
        compare(prediction(), [measurement(sent(TRACE.scaled(2)))])
    with pytest.raises(OtherTraffic, match="paths GET /:1 and GET /b:1"):
        compare(prediction(), [measurement(sent(targets=(Target("GET", "/b"),)))])


def test_the_hash_is_of_what_is_asked_and_when_and_not_of_names() -> None:
    def of(
        trace: Trace = TRACE, spread: Spread = Spread.RANDOM, seed: int = 1, targets: tuple[Target, ...] = (ROOT,)
    ) -> str:
        return traffic_hash(trace, spread, seed, targets)

    renamed = Trace(TRACE.counts, TRACE.step_s, None, "elsewhere.csv")
    assert of(renamed) == of()
    assert of(targets=(Target("GET", "/", 5.0),)) == of()
    others = [
        of(TRACE.faster(2)),
        of(TRACE.scaled(2)),
        of(spread=Spread.EVEN),
        of(seed=2),
        of(targets=(Target("GET", "/x"),)),
        of(targets=(Target("POST", "/"),)),
        of(targets=(ROOT, Target("GET", "/x"))),
    ]
    assert len({of(), *others}) == 1 + len(others)


def test_a_picture_has_each_figure_and_escapes_what_it_was_given() -> None:
    found = compare(prediction(), [measurement(), measurement(changes={"usd": 0.0007})])
    drawn = comparison_svg(dataclasses.replace(found, of="<b>&shop"))
    root = ET.fromstring(drawn)
    written = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {measure.title for measure in MEASURES} <= written
    assert any("<b>&shop" in line for line in written)
    dots = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(dots) >= 3 * 7
    assert all(0 <= float(dot.attrib["cx"]) <= WIDTH for dot in dots)
