"""What `peaker plan` says on the screen, and what changed between two plans."""

import dataclasses
import sys
from pathlib import Path

from peaker.cli.plan_text import WIDTH, difference_text, plan_text, reading_lines
from peaker.plan.difference import difference
from peaker.plan.plan import from_json, to_json
from peaker.plan.telling import dollars, headline, milliseconds, percent, runner_up, span
from peaker.traffic.requests import ReadingReport, Unreadable

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))

from made_plan import FIXED, FUNCTIONS, HYBRID, PLAN, SCALED, with_plan

GOLDEN = Path(__file__).parents[1] / "golden" / "plan.txt"
NOBODY = with_plan(recommended=None, candidates=(SCALED, FUNCTIONS), turns=(), sureness=())


def test_the_screen_is_the_one_that_was_looked_at() -> None:
    assert plan_text(PLAN) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_no_line_is_wider_than_the_screen() -> None:
    long = dataclasses.replace(FIXED, title="12 to 195 Fargate 0.25 vCPU 0.5 GB of a very long name, target 20%")
    plan = with_plan(candidates=(long, SCALED, FUNCTIONS, HYBRID), reasons=("word " * 60,), name="x" * 300)
    report = reading("/a/very/long/path" * 12, unreadable=12_345_678)
    assert all(len(line) <= WIDTH for line in plan_text(plan, report).splitlines())


def reading(source: str, unreadable: int = 0) -> ReadingReport:
    return ReadingReport(
        sources=(source,), formats={"combined": 1000}, lines=123_456_789, used=1000, excluded=10, skipped=1,
        unreadable=(Unreadable("binary", unreadable, source, 1, "x"),), bytes_read=1, first_epoch_s=0.0,
        last_epoch_s=1.0, gaps=(), zone="UTC", zones=("UTC",), backwards=0, notes=(),
    )  # fmt: skip


def test_what_was_read_takes_two_lines_and_counts_what_was_not() -> None:
    first, second = reading_lines(reading("access.log", unreadable=3))
    assert first == "access.log: combined, zone UTC"
    assert "1,000 load, 10 no load, 1 without a request, 3 unreadable" in second


def test_where_nothing_meets_all_the_screen_says_who_comes_closest_and_what_each_breaks() -> None:
    screen = plan_text(NOBODY)
    assert "NO ANSWER  Nothing meets every need and p95 within 300 ms; closest comes functions alone" in screen
    assert "* the answer" not in screen
    assert "breaks 1-2" in screen
    assert "10.76% are refused" in screen


def test_a_log_of_an_hour_is_said_to_be_short() -> None:
    screen = plan_text(with_plan(hours=2.0, requests=7))
    assert "only 7 requests, which is too few" in screen
    assert "covers 2 hours: neither a whole day nor a week is in it" in screen


def test_the_runner_up_is_of_another_architecture_if_one_holds() -> None:
    assert runner_up(PLAN) is FIXED
    assert runner_up(with_plan(candidates=(SCALED, FUNCTIONS, HYBRID), recommended=2)) is SCALED


def test_figures_are_written_as_people_read_them() -> None:
    assert [percent(share) for share in (0, 0.00001, 0.0013, 0.167, 1)] == [
        "0 %",
        "<0.01 %",
        "0.13 %",
        "16.7 %",
        "100 %",
    ]
    assert [milliseconds(value) for value in (4.2, 151.4, 4216)] == ["4.2 ms", "151 ms", "4.22 s"]
    assert [dollars(value) for value in (1234.5, -12)] == ["$1,234.50", "-$12.00"]
    assert [span(hours) for hours in (516, 5, 0.5, 0.01)] == ["21.5 days", "5 hours", "30 minutes", "36 seconds"]


def test_a_plan_that_was_saved_does_not_differ_from_itself() -> None:
    found = difference(PLAN, from_json(to_json(PLAN)))
    assert found.is_empty
    assert difference_text(found) == "The plans say the same."


def test_a_difference_names_what_changed_and_nothing_else() -> None:
    cheaper = dataclasses.replace(FIXED, usd_per_month=30.0, title="3 t4g.micro")
    figures = (dataclasses.replace(PLAN.figures[0], value="mean 40 ms", origin="given"), PLAN.figures[1])
    after = with_plan(candidates=(cheaper, SCALED, HYBRID), recommended=0, figures=figures, region="eu-west-1")
    told = difference_text(difference(PLAN, after))
    assert "+ Servers alone: 3 t4g.micro, for $30.00 a month." in told
    assert "- mean 99.9 ms (from the log)" in told
    assert "+ mean 40 ms (given)" in told
    assert "- us-east-1" in told
    assert "- functions of 512 MB behind a function URL, $103.96 a month, p95 151 ms, breaks 1" in told
    assert "cold start" not in told
    assert "hybrid, fixed baseline" not in told


def test_cents_are_no_difference() -> None:
    almost = dataclasses.replace(FIXED, usd_per_month=74.15)
    assert difference(PLAN, with_plan(candidates=(almost, SCALED, FUNCTIONS, HYBRID))).is_empty


def test_the_headline_has_architecture_size_and_dollars() -> None:
    assert headline(PLAN) == (
        "Servers for the baseline, functions above them: 2 t4g.micro + functions of 512 MB, for $43.87 a month."
    )
