"""How the figures of a plan are written for people: the screen and the report say the same words."""

from __future__ import annotations

from peaker.plan.plan import Architecture, Candidate, Plan


def dollars(usd: float) -> str:
    """`$1,234.56`; `-$12.00`."""
    return f"{'-' if usd < 0 else ''}${abs(usd):,.2f}"


def percent(share: float) -> str:
    """A share as `5.9 %`; what is there and rounds to nothing is `<0.01 %`."""
    if share == 0:
        return "0 %"
    if share < 0.0001:
        return "<0.01 %"
    if share < 0.01:
        return f"{share * 100:.2f} %"
    return f"{share * 100:.1f} %" if share < 0.9995 else "100 %"


def quantity(value: float) -> str:
    """`3,240,470`, `92.4`, `0.012`."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def milliseconds(value: float) -> str:
    """`151 ms`, `4.22 s`."""
    return f"{value:.0f} ms" if 10 <= value < 1000 else f"{value:.2g} ms" if value < 10 else f"{value / 1000:.3g} s"


def span(hours: float) -> str:
    """`22 days`, `6 hours`, `40 minutes`."""
    for each_h, unit in ((24.0, "days"), (1.0, "hours"), (1 / 60, "minutes")):
        if hours >= 2 * each_h:
            return f"{hours / each_h:.3g} {unit}"
    return f"{hours * 3600:.3g} seconds"


def percentile_name(share: float) -> str:
    """`p95`."""
    return f"p{share * 100:g}"


def headline(plan: Plan) -> str:
    """The answer in one sentence; without one, that there is none and who comes closest."""
    objective = f"{percentile_name(plan.percentile)} within {milliseconds(plan.objective_ms)}"
    chosen = plan.answer
    if chosen is None:
        near = closest(plan)
        if near is None:
            return "No architecture could be looked at for this traffic."
        return f"Nothing meets every need and {objective}; closest comes {_what(near)}."
    return f"{_sentence_case(_what(chosen))}, for {dollars(chosen.usd_per_month)} a month."


_ADVICE = {
    Architecture.SERVERS: "servers alone",
    Architecture.FUNCTIONS: "functions alone",
    Architecture.HYBRID: "servers for the baseline, functions above them",
}


def _what(candidate: Candidate) -> str:
    return f"{_ADVICE[candidate.architecture]}: {candidate.title}"


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def saved(plan: Plan) -> str:
    """How the answer's dollars stand to the best of each other architecture that meets all, in one sentence."""
    chosen = plan.answer
    if chosen is None:
        return ""
    parts = []
    for architecture in Architecture:
        best = best_of(plan, architecture)
        if best is None or architecture is chosen.architecture:
            continue
        share = 1 - chosen.usd_per_month / best.usd_per_month
        if share >= 0.005:
            name = "the best hybrid" if architecture is Architecture.HYBRID else f"{architecture.value} alone"
            parts.append(f"{share:.0%} less than {name}")
    return " and ".join(parts)


def best_of(plan: Plan, architecture: Architecture) -> Candidate | None:
    """The cheapest of an architecture that meets all; None where none does."""
    holding = [each for each in plan.candidates if each.architecture is architecture and each.holds]
    return min(holding, key=lambda each: each.usd_per_month, default=None)


def closest(plan: Plan) -> Candidate | None:
    """Who breaks least, and of those answers most in time."""
    return max(plan.candidates, key=lambda each: (-len(each.breaks), each.objective_share), default=None)


def runner_up(plan: Plan) -> Candidate | None:
    """The cheapest of another architecture that meets all, else the next cheapest that does, else the next cheapest."""
    chosen = plan.answer or closest(plan)
    if chosen is None:
        return None
    others = [each for each in by_dollars(plan) if each is not chosen]
    for wanted in (
        [each for each in others if each.holds and each.architecture is not chosen.architecture],
        [each for each in others if each.holds],
        others,
    ):
        if wanted:
            return wanted[0]
    return None


DAY_H, WEEK_H = 24.0, 168.0
FEW_REQUESTS = 1000


def sureness(plan: Plan) -> tuple[str, ...]:
    """How sure the answer is: first what so short a log cannot show, then what moving the figures showed."""
    doubts = []
    if plan.requests < FEW_REQUESTS:
        doubts.append(f"the log has only {plan.requests:,} requests, which is too few to tell a month by")
    if plan.hours < WEEK_H:
        unseen = "neither a whole day nor a week" if plan.hours < DAY_H else "no whole week"
        doubts.append(f"the log covers {span(plan.hours)}: {unseen} is in it, and the month is taken to be like it")
    return (*doubts, *plan.sureness)


def by_dollars(plan: Plan) -> tuple[Candidate, ...]:
    """All candidates, those that meet all first, each group from the cheapest on."""
    return tuple(sorted(plan.candidates, key=lambda each: (not each.holds, each.usd_per_month)))
