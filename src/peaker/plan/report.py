"""A plan as one HTML file: it asks no host for anything, and all that came from a log or a file is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from importlib import resources

from peaker.plan.plan import Candidate, Plan
from peaker.plan.report_pictures import both, cost_by_count, dollar_bar, duration_curve, latency, traffic
from peaker.plan.telling import (
    by_dollars,
    closest,
    dollars,
    headline,
    milliseconds,
    percent,
    percentile_name,
    quantity,
    runner_up,
    saved,
    span,
    sureness,
)


def report_html(plan: Plan) -> str:
    """The whole page. The only style sheet is allowed by its hash, and nothing else is allowed to load or run."""
    style = (resources.files("peaker.plan") / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    parts = [
        _head(plan),
        _list("Why", plan.reasons),
        _pictures(plan),
        _table(plan),
        _bills(plan),
        _list("What would change the answer", [turn.sentence for turn in plan.turns]),
        _list("How sure it is", sureness(plan)),
        _figures(plan),
        _sources(plan),
        _list("Left out", plan.left_out),
        (
            f"<footer>Made by {escape(plan.made_by)} from {escape(plan.name)}. Prices of {escape(plan.region)} as "
            f"published {escape(plan.prices_published)}, in US dollars, without tax.</footer>"
        ),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Plan for {escape(plan.name)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _head(plan: Plan) -> str:
    chosen = plan.answer or closest(plan)
    told = (
        f"{plan.requests:,} requests in {span(plan.hours)}, as a month of 730 hours in {plan.region}; objective: "
        f"{percentile_name(plan.percentile)} within {milliseconds(plan.objective_ms)}."
    )
    less = saved(plan)
    lead = f"That is {less}. {told}" if less else told
    head = f'<p class="over">{escape(plan.name)}</p>\n<h1>{escape(headline(plan))}</h1>\n'
    return f'{head}<p class="lead">{escape(lead)}</p>\n{_tiles(chosen) if chosen else ""}'


def _tiles(chosen: Candidate) -> str:
    tiles = [
        (dollars(chosen.usd_per_month), "a month"),
        (milliseconds(chosen.latency_p95_ms), "95th percentile"),
        (percent(chosen.objective_share), "within the objective"),
        (percent(chosen.refused_share), "refused"),
        (percent(chosen.spilled_share), "run on functions"),
    ]
    cells = (f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _list(title: str, sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>{escape(title)}</h2>\n<ul>{items}</ul>" if items else ""


_CAPTIONS = {
    "traffic": "Strong colour is the mean of each stretch, light colour its busiest step. Blue is within what the "
    "servers hold, the line; what is above it runs on functions or, without any, waits.",
    "curve": "The same traffic sorted from its busiest step to its quietest. A slice that is wide is always there, "
    "and a server is the cheapest way to serve it; one that is narrow is a peak.",
    "cost": "Each column is a fixed number of servers (blue, with their load balancer) and functions above them "
    "(orange). One more server is worth its price while it saves more in functions. What all have in common is left "
    "out.",
    "latency": "From the median to the 99th percentile; the dot is the 95th. The answer is green; grey ones break a "
    "need or the objective. The scale is logarithmic.",
}


def _pictures(plan: Plan) -> str:
    drawn = (
        ("Traffic, and the baseline through it", both(traffic, plan) if plan.traffic else "", "traffic"),
        ("Who serves which slice", both(duration_curve, plan) if plan.curve else "", "curve"),
        ("Cost against the number of servers", both(cost_by_count, plan), "cost"),
        ("Latency by candidate", both(latency, plan) if plan.candidates else "", "latency"),
    )
    return "\n".join(
        f"<h2>{title}</h2>\n<figure>{svg}<figcaption>{escape(_CAPTIONS[caption])}</figcaption></figure>"
        for title, svg, caption in drawn
        if svg
    )


def _table(plan: Plan) -> str:
    if not plan.candidates:
        return ""
    names = ("candidate", "$ a month", "p50", "p95", "p99", "refused", "on functions", "cold starts", "slots busy")
    head = "".join(
        f'<th scope="col"{"" if index == 0 else NUMBER}>{escape(name)}</th>' for index, name in enumerate(names)
    )
    rows = "".join(_row(plan, candidate) for candidate in by_dollars(plan))
    return (
        f'<h2>All candidates</h2>\n<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


NUMBER = ' class="number"'


def _row(plan: Plan, each: Candidate) -> str:
    css = "answer" if each is plan.answer else "holds" if each.holds else "broken"
    mark = '<span class="mark">the answer</span> ' if each is plan.answer else ""
    more = "".join(f'<li class="broken">breaks: {escape(sentence)}</li>' for sentence in each.breaks)
    more += "".join(f"<li>{escape(note)}</li>" for note in each.notes)
    below = f'<tr class="{css} more"><td colspan="9"><ul>{more}</ul></td></tr>' if more else ""
    cells = (
        milliseconds(each.latency_p50_ms),
        milliseconds(each.latency_p95_ms),
        milliseconds(each.latency_p99_ms),
        percent(each.refused_share),
        percent(each.spilled_share),
        percent(each.cold_share),
        percent(each.utilisation) if each.servers else "-",
    )
    return (
        f'<tr class="{css}{" told" if more else ""}"><td class="title">{mark}{escape(each.title)}'
        f'<div class="source">{escape(each.kind.value)}</div></td>'
        f"<td{NUMBER}>{each.usd_per_month:,.2f}{dollar_bar(plan, each)}</td>"
        + "".join(f"<td{NUMBER}>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        + below
    )


def _bills(plan: Plan) -> str:
    chosen, other = plan.answer or closest(plan), runner_up(plan)
    shown = [(name, each) for name, each in (("The answer", chosen), ("The next best", other)) if each is not None]
    if plan.answer is None and shown:
        shown[0] = ("Who comes closest", shown[0][1])
    bills = "".join(_bill(name, each) for name, each in shown)
    return f'<h2>The bill, item by item</h2>\n<div class="bills">{bills}</div>' if bills else ""


def _bill(name: str, candidate: Candidate) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.item)}</td><td{NUMBER}>{quantity(each.quantity)} {escape(each.unit)}</td>"
        f"<td{NUMBER}>{dollars(each.usd)}</td></tr>"
        for each in candidate.bill
    )
    return (
        f'<section class="bill"><h3>{escape(name)}: {escape(candidate.title)}</h3><div class="scroll"><table>'
        f'<thead><tr><th scope="col">item</th><th scope="col"{NUMBER}>a month</th><th scope="col"{NUMBER}>dollars'
        f'</th></tr></thead><tbody>{rows}<tr class="total"><td>in all</td><td></td>'
        f"<td{NUMBER}>{dollars(candidate.usd_per_month)}</td></tr></tbody></table></div></section>"
    )


def _figures(plan: Plan) -> str:
    rows = "".join(
        f"<tr><td>{escape(figure.name)}</td><td>{escape(figure.value)}</td><td>{escape(figure.origin)}</td>"
        f'<td class="source">{escape(figure.note)}</td></tr>'
        for figure in plan.figures
    )
    return (
        '<h2>The figures it rests on</h2>\n<div class="scroll"><table><thead><tr><th scope="col">figure</th>'
        '<th scope="col">value</th><th scope="col">where it comes from</th><th scope="col">note</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        if rows
        else ""
    )


def _sources(plan: Plan) -> str:
    """Where the prices in the two bills come from."""
    used = [each for each in (plan.answer or closest(plan), runner_up(plan)) if each is not None]
    found: dict[str, list[str]] = {}
    for bill_line in (item for each in used for item in each.bill):
        items = found.setdefault(bill_line.source, [])
        if bill_line.item not in items:
            items.append(bill_line.item)
    rows = "".join(
        f'<tr><td>{escape(", ".join(items))}</td><td class="source">{escape(source)}</td></tr>'
        for source, items in found.items()
    )
    return (
        '<h2>Sources of the prices</h2>\n<div class="scroll"><table><thead><tr><th scope="col">price</th>'
        f'<th scope="col">source and date</th></tr></thead><tbody>{rows}</tbody></table></div>'
        if rows
        else ""
    )
