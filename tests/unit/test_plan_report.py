"""The report of a plan: one file that asks nobody, in which what came from a log is text and never markup."""

import base64
import dataclasses
import hashlib
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from peaker.plan.plan import Plan
from peaker.plan.report import report_html

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))

from made_plan import FIXED, FUNCTIONS, HYBRID, PLAN, SCALED, with_plan

HOSTILE = "<script>alert('x')</script>\"><img src=//evil.example/p onerror=go()>"
SVG = "{http://www.w3.org/2000/svg}"


def pictures(page: str) -> list[ET.Element]:
    return [ET.fromstring(found) for found in re.findall(r"<svg class=\"(?:wide|narrow)\".*?</svg>", page, re.DOTALL)]


def hostile() -> Plan:
    """Every text of a plan that may come from a log, a price file or a person holds markup."""
    line = dataclasses.replace(HYBRID.bill[0], item=HOSTILE, source=HOSTILE, unit=HOSTILE)
    servers = dataclasses.replace(HYBRID.servers, size=HOSTILE)
    first = dataclasses.replace(HYBRID, title=HOSTILE, bill=(line,), servers=servers, notes=(HOSTILE,))
    second = dataclasses.replace(SCALED, title=HOSTILE, breaks=(HOSTILE,))
    return with_plan(
        name=HOSTILE, made_by=HOSTILE, region=HOSTILE, prices_published=HOSTILE, candidates=(second, first),
        recommended=1, reasons=(HOSTILE,), sureness=(HOSTILE,), left_out=(HOSTILE,),
        turns=(dataclasses.replace(PLAN.turns[0], sentence=HOSTILE),),
        figures=(dataclasses.replace(PLAN.figures[0], name=HOSTILE, value=HOSTILE, origin=HOSTILE, note=HOSTILE),),
    )  # fmt: skip


def test_no_text_of_a_plan_becomes_markup() -> None:
    page = report_html(hostile())
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") > 20
    assert len(pictures(page)) == 8


def test_the_page_may_load_nothing_and_its_one_style_sheet_goes_by_its_hash() -> None:
    page = report_html(PLAN)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert not re.search(r"(?:src|href)\s*=|url\((?!#)|@import|style=", page)


def test_each_picture_has_a_title_and_says_in_words_what_it_shows() -> None:
    drawn = pictures(report_html(PLAN))
    assert len(drawn) == 8
    told = [(picture.findtext(f"{SVG}title"), picture.findtext(f"{SVG}desc")) for picture in drawn[::2]]
    assert [title for title, _ in told] == [
        "Traffic over time",
        "Load-duration curve",
        "Cost by number of servers",
        "Latency by candidate",
    ]
    assert "1,206,000 requests; 1.55 a second on average, 200 in the busiest step" in str(told[0][1])
    assert "Cheapest with 3: $28.39 a month." in str(told[2][1])
    assert "7 t4g.micro: p95 151 ms" in str(told[3][1])
    names = [picture.get("aria-labelledby") for picture in drawn]
    assert len(set(names)) == 8


@pytest.mark.parametrize("kind", ["wide", "narrow"])
def test_nothing_is_drawn_outside_of_its_picture(kind: str) -> None:
    for picture in pictures(report_html(PLAN)):
        if picture.get("class") != kind:
            continue
        width, height = map(float, str(picture.get("viewBox")).split()[2:])
        for each in picture.iter(f"{SVG}text"):
            assert 0 <= float(str(each.get("x"))) <= width
            assert 0 <= float(str(each.get("y"))) <= height
        for shape in picture.iter(f"{SVG}path"):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", str(shape.get("d")))]
            assert min(numbers) >= 0
            assert max(numbers[::2]) <= width
            assert max(numbers[1::2]) <= height


def test_the_baseline_is_drawn_at_what_the_servers_hold() -> None:
    """Two servers of 40 a second in a picture that ends 8 % above 200."""
    wide = pictures(report_html(PLAN))[0]
    baseline = next(path for path in wide.iter(f"{SVG}path") if path.get("class") == "baseline")
    heights = {float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", str(baseline.get("d")))}
    top, floor = 28.0, 260.0
    assert heights == {round(floor - 80 / 216 * (floor - top), 1)}


def test_a_baseline_far_above_the_traffic_is_told_and_not_drawn() -> None:
    large = dataclasses.replace(FIXED, servers=dataclasses.replace(FIXED.servers, requests_per_s=400.0))
    wide = pictures(report_html(with_plan(candidates=(large,), recommended=0)))[0]
    assert not [path for path in wide.iter(f"{SVG}path") if path.get("class") == "baseline"]
    told = [each.text for each in wide.iter(f"{SVG}text")]
    assert "7 t4g.micro hold 2.8k requests a second (above this picture)" in told


def test_functions_alone_stand_as_no_server_where_they_do() -> None:
    holding = dataclasses.replace(FUNCTIONS, breaks=(), usd_per_month=9.0)
    alone = dataclasses.replace(holding, bill=(dataclasses.replace(holding.bill[0], usd=9.0),))
    told = pictures(report_html(with_plan(candidates=(FIXED, alone), recommended=1)))[4].findtext(f"{SVG}desc")
    assert told == "Cheapest with 0: $9.00 a month."


def test_a_plan_without_answer_or_traffic_has_a_report_too() -> None:
    nobody = report_html(with_plan(recommended=None, candidates=(SCALED, FUNCTIONS)))
    assert "Nothing meets every need" in nobody
    assert "Who comes closest" in nobody
    empty = report_html(
        with_plan(candidates=(), recommended=None, traffic=(), curve=(), count_costs=(), figures=(), start="")
    )
    assert "No architecture could be looked at" in empty
    assert not pictures(empty)


def test_the_bill_of_the_answer_and_of_the_next_best_are_there_with_their_sources() -> None:
    page = report_html(PLAN)
    assert "The answer: 2 t4g.micro + functions of 512 MB" in page
    assert "The next best: 7 t4g.micro" in page
    assert "Amazon EC2 pricing page, 2026-09-11" in page
    assert "1,460 h" in page
