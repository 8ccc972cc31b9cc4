"""The answer: which candidate, why, what would change it, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from peaker.errors import PriceError
from peaker.plan.case import Case, Figure, Origin, Trigger
from peaker.plan.cost import Front, bill_of
from peaker.plan.judge import used_of
from peaker.plan.levels import Load, load_of
from peaker.plan.plan import Architecture, Candidate, Kind, Turn
from peaker.plan.possible import why_not_on_functions, why_not_on_functions_alone
from peaker.plan.sizes import function_memory_mb, server_sizes, worth_trying
from peaker.plan.supply import (
    Supply,
    baselines,
    fixed,
    functions_only,
    hybrid_fixed,
    spill_price,
    usd_for_peak,
)
from peaker.prices import PriceTable
from peaker.units import human_duration

PARTS = {kind: index for index, kind in enumerate(Kind)}
"""Kinds by how many parts there are to run, fewer first; the order of `Kind`."""

FACTORS = tuple(2.0 ** (step / 2) for step in range(1, 13))
"""How far a figure is moved to find where the answer turns: up to 64 times, and down to a 64th."""

CENT = 0.01

NEEDS_SAID = 3
"""Parts that need servers are said by name up to so many."""

NEAR = 1.1
"""A larger size may cost this many times what the best does for the same work."""

UNSURE = 0.3
"""How far each figure is moved to see whether the answer holds."""


def recommend(case: Case, candidates: tuple[Candidate, ...]) -> int | None:
    """The index of the cheapest that meets every need, or of one with fewer parts that costs little more.

    None where no candidate meets all.
    """
    holding = [index for index, candidate in enumerate(candidates) if candidate.holds]
    if not holding:
        return None
    cheapest = min(candidates[index].usd_per_month for index in holding)
    near = [i for i in holding if candidates[i].usd_per_month <= cheapest * (1 + case.choices.simpler_within)]
    return min(near, key=lambda index: (PARTS[candidates[index].kind], candidates[index].usd_per_month))


def closest(candidates: tuple[Candidate, ...]) -> int | None:
    """Where none meets all: the index of the one that answers most requests in time; None without candidates."""
    if not candidates:
        return None
    return max(range(len(candidates)), key=lambda i: (-len(candidates[i].breaks), candidates[i].objective_share))


@dataclass(frozen=True, slots=True)
class Dollars:
    """The cheapest of each architecture a month, by sums alone; what is not possible is not in it."""

    by_architecture: tuple[tuple[Architecture, float], ...]

    def instead_of(self, now: Architecture, simpler_within: float) -> Architecture | None:
        """The cheapest, if the present answer costs more than that by the share that decides; else None."""
        cheapest = min(self.by_architecture, key=lambda each: each[1], default=None)
        present = dict(self.by_architecture).get(now)
        if cheapest is None or present is None or present <= cheapest[1] * (1 + simpler_within):
            return None
        return cheapest[0]


def quick_dollars(
    case: Case, table: PriceTable, possible: Mapping[Architecture, float], load: Load | None = None
) -> Dollars:
    """Servers for the peak, functions behind a function URL and the best fixed hybrid, by Erlang's formulas.

    `possible` are the architectures that met all needs when they were simulated, each with a factor on its dollars.
    """
    load = load or load_of(case)
    found: list[tuple[Architecture, float]] = []
    sizes = worth_trying(server_sizes(case, load, table), load)
    try:
        price = spill_price(case, table, function_memory_mb(case, table))
    except PriceError:
        price = None
    if Architecture.SERVERS in possible and sizes:
        size = min(sizes, key=lambda size: usd_for_peak(case, load, size))
        found.append((Architecture.SERVERS, _usd(case, load, table, fixed(case, load, size, is_task=False))))
    if price and Architecture.FUNCTIONS in possible:
        front = Front.FUNCTION_URL if case.needs.trigger is Trigger.REQUEST else Front.NONE
        found.append((Architecture.FUNCTIONS, _usd(case, load, table, functions_only(price.memory_mb, front))))
    if price and Architecture.HYBRID in possible and case.needs.trigger is Trigger.REQUEST:
        hybrids = [hybrid_fixed(case, load, size, baselines(case, load, size, price, table), price) for size in sizes]
        if hybrids:
            found.append((Architecture.HYBRID, min(_usd(case, load, table, hybrid) for hybrid in hybrids)))
    return Dollars(tuple((architecture, usd * possible[architecture]) for architecture, usd in found))


def anchors_of(case: Case, table: PriceTable, candidates: tuple[Candidate, ...]) -> dict[Architecture, float]:
    """For each architecture that meets all needs, dollars of its best candidate over those of `quick_dollars`.

    The best may be one that these sums do not know, such as auto scaled servers; with this factor the sums begin at the
    answer that was given, and a turn is one away from it.
    """
    best: dict[Architecture, float] = {}
    for candidate in candidates:
        if candidate.holds:
            least = best.get(candidate.architecture, candidate.usd_per_month)
            best[candidate.architecture] = min(least, candidate.usd_per_month)
    plain = dict(quick_dollars(case, table, dict.fromkeys(best, 1.0)).by_architecture)
    return {each: usd / plain[each] if plain.get(each) else 1.0 for each, usd in best.items()}


def _usd(case: Case, load: Load, table: PriceTable, supply: Supply) -> float:
    used = used_of(case, load, supply, table, supply.spilled_share, 0.0)
    choices = case.choices
    bill = bill_of(used, table, choices.region, choices.architecture, choices.operations, free_tier=choices.free_tier)
    return bill.usd


def narrowed(case: Case, load: Load, table: PriceTable, candidates: tuple[Candidate, ...]) -> Case:
    """The case with few instance types to choose from, for sums that are made a hundred times.

    Those that the candidates chose, the cheapest by the hour for less traffic, and a large one for more.
    """
    sizes = server_sizes(case, load, table)
    if not sizes:
        return case
    chosen = {each.servers.size for each in candidates if each.servers} & {size.name for size in sizes}
    near = [size for size in sizes if size.usd_per_million <= NEAR * sizes[0].usd_per_million]
    chosen |= {
        min(sizes, key=lambda size: size.usd_per_hour).name,
        max(near, key=lambda size: size.requests_per_s).name,
    }
    return replace(case, choices=replace(case.choices, instance_types=tuple(sorted(chosen))))


def with_traffic(case: Case, factor: float) -> Case:
    """The same shape with so many times the requests."""
    return replace(case, counts=case.counts * factor)


def with_peaks(case: Case, factor: float) -> Case:
    """The same number of requests, with so many times the distance of each step from the mean, as far as 0."""
    mean = float(np.nanmean(case.counts))
    spread = np.maximum(0.0, mean + (case.counts - mean) * factor)
    total = float(np.nansum(spread))
    return replace(case, counts=spread * (float(np.nansum(case.counts)) / total) if total else case.counts)


def with_duration(case: Case, factor: float) -> Case:
    """So many times the time for each request."""
    return replace(case, work=replace(case.work, service=case.work.service.scaled(factor)))


def turns_of(
    case: Case, table: PriceTable, now: Architecture, possible: Mapping[Architecture, float]
) -> tuple[Turn, ...]:
    """For traffic, peaks and duration: the nearest factor up and down at which another architecture is the answer."""
    within = case.choices.simpler_within
    turns: list[Turn] = []
    mean = float(np.nanmean(case.counts)) / case.step_s
    peak = float(np.nanmax(case.counts)) / max(1e-12, float(np.nanmean(case.counts)))
    moved: tuple[tuple[str, str, Callable[[Case, float], Case], Callable[[float], str]], ...] = (
        ("traffic", f"{mean:,.2f} requests a second on average", with_traffic, lambda f: f"{mean * f:,.2f} a second"),
        ("peak to mean", f"{peak:.1f}", with_peaks, lambda f: f"about {1 + (peak - 1) * f:.1f}"),
        (
            "time of a request",
            human_duration(case.work.service.mean_s),
            with_duration,
            lambda f: human_duration(case.work.service.mean_s * f),
        ),
    )
    for name, text, change, at in moved:
        for factors in (FACTORS, tuple(1 / factor for factor in FACTORS)):
            for factor in factors:
                instead = quick_dollars(change(case, factor), table, possible).instead_of(now, within)
                if instead is not None:
                    sentence = f"{name}: from {at(factor)} on ({factor:.2g} times), {instead.value}"
                    if factor < 1:
                        sentence = f"{name}: at {at(factor)} and below ({factor:.2g} times), {instead.value}"
                    turns.append(Turn(figure=name, now=text, factor=factor, instead=instead.value, sentence=sentence))
                    break
    return tuple(turns)


def sureness_of(
    case: Case, table: PriceTable, now: Architecture, possible: Mapping[Architecture, float]
) -> tuple[str, ...]:
    """Each figure moved by 30 %: a sentence where the answer flips, and one that says what it rests on."""
    within = case.choices.simpler_within
    work = case.work
    moved: dict[str, Callable[[float], Case]] = {
        "the time of a request": lambda f: with_duration(case, f),
        "its CPU share": lambda f: replace(case, work=replace(work, cpu_share=_times(work.cpu_share, f, 1.0))),
        "the memory of a function": lambda f: replace(
            case, work=replace(work, function_memory_mb=_times(work.function_memory_mb, f, 10_240.0, 128.0))
        ),
        "the memory of a worker": lambda f: replace(
            case, work=replace(work, worker_memory_mb=_times(work.worker_memory_mb, f, 1e6))
        ),
        "the speed of a vCPU": lambda f: replace(case, choices=replace(case.choices, speed=case.choices.speed * f)),
        "the traffic": lambda f: with_traffic(case, f),
    }
    flips = []
    for name, change in moved.items():
        for factor, word in ((1 - UNSURE, "less"), (1 + UNSURE, "more")):
            instead = quick_dollars(change(factor), table, possible).instead_of(now, within)
            if instead is not None:
                flips.append(f"with 30 % {word} of {name}, the answer is {instead.value}")
    for speed in case.choices.speed_measured or ():
        slower = replace(case, choices=replace(case.choices, speed=speed))
        if (instead := quick_dollars(slower, table, possible).instead_of(now, within)) is not None:
            flips.append(f"with a vCPU of speed {speed:.3g}, which the benchmark allows, the answer is {instead.value}")
    assumed = [name for name, origin in origins_of(case).items() if origin is Origin.ASSUMED]
    if not flips:
        flips.append("the answer stays with every figure 30 % up or down")
    if assumed:
        flips.append("nobody told " + ", ".join(assumed) + ": assumed, which `peaker measure` or an option replaces")
    return tuple(flips)


def origins_of(case: Case) -> dict[str, Origin]:
    """Where each figure of the work comes from."""
    work = case.work
    return {
        "the time of a request": work.service.origin,
        "its CPU share": work.cpu_share.origin,
        "the cold start": work.cold_start.origin,
        "the memory of a worker": work.worker_memory_mb.origin,
        "the memory of a function": work.function_memory_mb.origin,
        "the size of an answer": work.response_bytes.origin,
    }


def _times(figure: Figure, factor: float, most: float, least: float = 0.0) -> Figure:
    return replace(figure, value=min(most, max(least, figure.value * factor)))


def reasons_of(case: Case, load: Load, candidates: tuple[Candidate, ...], recommended: int | None) -> tuple[str, ...]:
    """Why this one, in plain words."""
    if recommended is None:
        return _why_none(candidates)
    chosen = candidates[recommended]
    needs = why_not_on_functions_alone(case)
    reasons = [f"functions alone cannot: {why}" for why in needs[:NEEDS_SAID]]
    if len(needs) > NEEDS_SAID:
        reasons.append(f"and {len(needs) - NEEDS_SAID} more parts that need servers")
    reasons += [f"nothing may leave the servers: {why}" for why in why_not_on_functions(case)[:1]]
    mean, peak = load.mean_per_s, load.peak_per_s
    idle = float(np.sum(load.hours[load.levels < 0.05 * peak]) / load.hours_known)
    reasons.append(
        f"{mean:,.2f} requests a second on average, {peak:,.1f} at the peak ({peak / mean:.1f} times); "
        f"for {idle:.0%} of the time less than a twentieth of the peak"
    )
    for architecture in Architecture:
        others = [each for each in candidates if each.architecture is architecture and each is not chosen]
        holding = [each for each in others if each.holds]
        if architecture is chosen.architecture or not others:
            continue
        if holding:
            best = min(holding, key=lambda each: each.usd_per_month)
            reasons.append(
                f"{architecture.value} at best cost ${best.usd_per_month:,.2f} a month ({best.title}), "
                f"{_compared(best.usd_per_month, chosen.usd_per_month)}"
            )
        elif (best := min(others, key=lambda each: len(each.breaks))).breaks[0] not in needs:
            reasons.append(f"{architecture.value} do not do: {best.breaks[0]}")
    cheaper = [each for each in candidates if each.holds and each.usd_per_month < chosen.usd_per_month]
    if cheaper:
        least = min(cheaper, key=lambda each: each.usd_per_month)
        saved = 1 - least.usd_per_month / chosen.usd_per_month
        reasons.append(f"{least.title} would cost {saved:.0%} less, which is not worth its additional parts")
    return tuple(reasons)


def _compared(other: float, chosen: float) -> str:
    if chosen < CENT:
        return f"${other - chosen:,.2f} more"
    if other >= chosen:
        return f"{other / chosen:.1f} times as much" if other > 1.5 * chosen else f"{other / chosen - 1:.0%} more"
    return f"{1 - other / chosen:.0%} less"


def _why_none(candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    index = closest(candidates)
    if index is None:
        return ("there is no candidate for this load in this region",)
    near = candidates[index]
    return (
        f"no candidate meets every need and the objective; {near.title} comes closest",
        *near.breaks,
        f"it would be met at {near.latency_p95_ms:,.0f} ms for the 95th percentile",
    )
