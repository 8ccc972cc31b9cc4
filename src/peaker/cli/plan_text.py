"""What `peaker plan` says on the screen: at most 100 columns, and readable without colour."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from peaker.plan.plan import Candidate, Plan
from peaker.plan.telling import (
    by_dollars,
    headline,
    milliseconds,
    percent,
    percentile_name,
    saved,
    span,
    sureness,
)

if TYPE_CHECKING:
    from peaker.plan.difference import Change, Difference
    from peaker.traffic.requests import ReadingReport

WIDTH = 100
_TITLE_MAX = 45
_HEAD = ("$/month", "p50", "p95", "p99", "refused", "spilled", "cold", "busy")


def plan_text(plan: Plan, report: ReadingReport | None = None) -> str:
    """The whole answer; `report` says what became of the log's lines."""
    parts = [
        reading_lines(report) if report is not None else [],
        answer_lines(plan),
        section("Why", plan.reasons),
        table_lines(plan),
        section("What would change the answer", [turn.sentence for turn in plan.turns] or _no_turn(plan)),
        section("How sure it is", sureness(plan)),
        figure_lines(plan),
        section("Left out", plan.left_out),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def reading_lines(report: ReadingReport) -> list[str]:
    """Two lines: what was read, and what of it is load."""
    names = report.sources[0] if len(report.sources) == 1 else f"{report.sources[0]} and {len(report.sources) - 1} more"
    tail = f": {', '.join(report.formats)}, zone {report.zone}"
    room = WIDTH - len(tail)
    shown = names if len(names) <= room else f"...{names[-max(10, room - 3) :]}"
    counts = (
        f"  {report.lines:,} lines: {report.used:,} load, {report.excluded:,} no load, "
        f"{report.skipped:,} without a request, {report.unreadable_count:,} unreadable"
    )
    hint = " (see `peaker traffic`)" if report.unreadable_count or report.excluded else ""
    return [_cut(shown + tail), _cut(counts + hint if len(counts + hint) <= WIDTH else counts)]


def answer_lines(plan: Plan) -> list[str]:
    """The answer and what it holds, in dollars and milliseconds."""
    chosen = plan.answer
    if chosen is None:
        return textwrap.wrap(f"NO ANSWER  {headline(plan)}", WIDTH, subsequent_indent=" " * 11)
    inside = (
        f"{percent(chosen.objective_share)} answered within {milliseconds(plan.objective_ms)} "
        f"(objective {percentile_name(plan.percentile)}), refused {percent(chosen.refused_share)}, "
        f"run on functions {percent(chosen.spilled_share)}"
    )
    lines = [headline(plan), inside, f"{_sentence(saved(plan))}" if saved(plan) else ""]
    wrapped: list[str] = []
    for number, line in enumerate(filter(None, lines)):
        label = "ANSWER  " if number == 0 else " " * 8
        wrapped += textwrap.wrap(line, WIDTH, initial_indent=label, subsequent_indent=" " * 8)
    return wrapped


def _sentence(text: str) -> str:
    return f"That is {text}."


def section(title: str, sentences: Iterable[str]) -> list[str]:
    """A heading and a list of wrapped sentences; nothing where there is none."""
    lines: list[str] = []
    for sentence in sentences:
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return [title, *lines] if lines else []


def table_lines(plan: Plan) -> list[str]:
    """All candidates: those that meet all first, each group from the cheapest on; below them, what some break."""
    shown = by_dollars(plan)
    if not shown:
        return []
    rows = [_row(candidate) for candidate in shown]
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    title_width = min(_TITLE_MAX, WIDTH - 4 - sum(widths) - len(widths))
    head = f"Candidates, {span(plan.hours)} of traffic as a month of 730 hours in {plan.region}"
    lines = [head, " " * (4 + title_width) + _cells(_HEAD, widths)]
    broken = tuple(dict.fromkeys(sentence for candidate in shown for sentence in candidate.breaks))
    for candidate, row in zip(shown, rows, strict=True):
        mark = "*" if candidate is plan.answer else " " if candidate.holds else "x"
        title = textwrap.wrap(candidate.title, title_width) or [""]
        lines.append(f"  {mark} {title[0]:<{title_width}}{_cells(row, widths)}")
        lines += [f"      {more}" for more in title[1:]]
        if candidate.breaks:
            lines.append(f"      breaks {_runs([broken.index(sentence) + 1 for sentence in candidate.breaks])}")
    lines += textwrap.wrap(_legend(plan), WIDTH, initial_indent="  ", subsequent_indent="  ")
    for number, sentence in enumerate(broken, 1):
        lines += textwrap.wrap(sentence, WIDTH, initial_indent=f"  {number:>3} ", subsequent_indent="      ")
    return lines


def _runs(numbers: list[int]) -> str:
    """`1-5, 7` for 1, 2, 3, 4, 5, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _legend(plan: Plan) -> str:
    marks = ["* the answer"] if plan.answer else []
    marks += ["x breaks what stands below"] if any(not each.holds for each in plan.candidates) else []
    return "; ".join([*marks, "spilled: run on functions; cold: met a cold start; busy: slots in use on the mean"])


def _row(candidate: Candidate) -> tuple[str, ...]:
    return (
        f"{candidate.usd_per_month:,.2f}",
        *(milliseconds(value) for value in (candidate.latency_p50_ms, candidate.latency_p95_ms)),
        milliseconds(candidate.latency_p99_ms),
        percent(candidate.refused_share),
        percent(candidate.spilled_share),
        percent(candidate.cold_share),
        percent(candidate.utilisation) if candidate.servers else "-",
    )


def _cells(row: tuple[str, ...], widths: list[int]) -> str:
    return "".join(f" {cell:>{width}}" for cell, width in zip(row, widths, strict=True))


_NO_TURN = "nothing that was tried: more or less traffic, higher or flatter peaks, longer or shorter requests"


def _no_turn(plan: Plan) -> list[str]:
    return [_NO_TURN] if plan.answer is not None else []


def figure_lines(plan: Plan) -> list[str]:
    """Each figure, its value and where it comes from."""
    width = max((len(figure.name) for figure in plan.figures), default=0)
    lines = []
    for figure in plan.figures:
        origin = f"{figure.origin}, {figure.note}" if figure.note else figure.origin
        lines += textwrap.wrap(
            f"{figure.name:<{width}}  {figure.value} ({origin})", WIDTH,
            initial_indent="  ", subsequent_indent=" " * (width + 4), drop_whitespace=True,
        )  # fmt: skip
    prices = f"prices of {plan.region}, published {plan.prices_published}" if plan.prices_published else ""
    return ["Figures it rests on", *lines, *([f"  {prices}"] if prices else [])]


def difference_text(found: Difference) -> str:
    """What changed, from one plan to another."""
    if found.is_empty:
        return "The plans say the same."
    parts = [
        _change_lines("Answer", (found.answer,)) if found.answer else ["The answer is the same."],
        _change_lines("Question", found.question),
        _change_lines("Figures", found.figures),
        _change_lines("Candidates", found.candidates),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _change_lines(title: str, changes: Iterable[Change]) -> list[str]:
    lines = []
    for change in changes:
        if change.name != "answer":
            lines.append(f"  {change.name}")
        for mark, text in (("-", change.before), ("+", change.after)):
            if text:
                lines += textwrap.wrap(text, WIDTH, initial_indent=f"    {mark} ", subsequent_indent="      ")
    return [title, *lines] if lines else []


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
