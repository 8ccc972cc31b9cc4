"""What `peaker deploy aws` says: the preview, what CloudFormation would change, and how it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from peaker.engines.aws.preview import Cost, Preview

if TYPE_CHECKING:
    from peaker.engines.aws.change_set import Change, Event

_ACTIONS = {"Add": "+", "Modify": "~", "Remove": "-", "Import": "<"}
CHANGES_TOLD = 40


def preview_text(preview: Preview, now: Mapping[str, float] | None = None) -> str:
    """All of it; `now` is what the stack that stands was reckoned at."""
    lines = [f"{preview.name} in {preview.region}: {preview.resources} resources, build {preview.build}"]
    lines += [f"  {said}" for said in preview.says]
    lines += ["", f"dollars a month, list prices of {preview.prices_of}, before any request:"]
    total = Cost(name="together", least_usd=preview.least_usd, most_usd=preview.most_usd)
    costs = [*(cost for cost in preview.costs if cost.most_usd), total]
    width = max(len(cost.name) for cost in costs)
    lines += [f"  {cost.name:{width}}  {_usd(cost.least_usd, cost.most_usd)}" for cost in costs]
    if now:
        lines.append(f"  {'what stands now':{width}}  {_usd(now['least_usd'], now['most_usd'])}")
    if preview.per_million:
        lines += ["what traffic adds:", *(f"  {said}" for said in preview.per_million)]
    if preview.worst_usd_per_month:
        lines.append(_worst(preview))
    if preview.keeps:
        lines.append(f"kept when the stack is destroyed, as it holds data: {', '.join(preview.keeps)}")
    return "\n".join([*lines, *(f"note: {note}" for note in preview.notes)])


def _worst(preview: Preview) -> str:
    said = (
        f"at the worst, all instances that reserved concurrency allows, without a pause: "
        f"${preview.worst_usd_per_month:,.2f} a month"
    )
    if preview.spend_usd_per_month_max is None:
        return said
    return f"{said}; objective.spend_usd_per_day_max stops requests at ${preview.spend_usd_per_month_max:,.2f}"


def _usd(least: float, most: float) -> str:
    return f"${least:,.2f}" if round(least, 2) == round(most, 2) else f"${least:,.2f} to ${most:,.2f}"


def changes_text(changes: Sequence[Change]) -> str:
    """What CloudFormation would do, a line each; what is made anew says so."""
    lines = [
        f"  {_ACTIONS.get(each.action, '?')} {each.kind.removeprefix('AWS::')} {each.resource}{_more(each)}"
        for each in changes
    ]
    told = lines[:CHANGES_TOLD]
    if len(lines) > CHANGES_TOLD:
        told.append(f"  and {len(lines) - CHANGES_TOLD} more: --json lists all")
    return "\n".join([f"CloudFormation would change {len(changes)} resources:", *told])


def _more(change: Change) -> str:
    if change.action == "Import":
        return "  (is there already, and is taken in)"
    return {"yes": "  (made anew)", "maybe": "  (perhaps made anew)"}.get(change.replaces, "")


def event_text(event: Event) -> str:
    """One event as a line."""
    kind = event.kind.removeprefix("AWS::")
    reason = f"  {event.reason}" if event.reason and event.is_failure else ""
    return f"  {event.status:30} {kind} {event.resource}{reason}"


def outputs_text(name: str, outputs: Mapping[str, str]) -> str:
    """What the stack tells of itself."""
    lines = [f"{name} stands."]
    return "\n".join([*lines, *(f"  {key}: {value}" for key, value in sorted(outputs.items()))])
