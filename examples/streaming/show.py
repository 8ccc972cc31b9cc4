"""What a person sees: a live picture on a terminal, plain lines elsewhere, and the summary at the end."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from examples.streaming.observe import Moment
from examples.streaming.viewers import Viewers

BARS = " ▁▂▃▄▅▆▇█"
HISTORY_S = 60
NAMES = {"server": "servers", "sibling": "a sibling", "function": "functions"}
PLACES = (("servers", "on_server"), ("a sibling", "on_sibling"), ("functions", "on_function"), ("refused", "refused"))


def sparkline(values: Iterable[float], highest: float) -> str:
    """One bar a value; anything above zero is seen."""
    return "".join(
        BARS[0] if value <= 0 else BARS[max(1, round(min(1.0, value / (highest or 1)) * (len(BARS) - 1)))]
        for value in values
    )


class Live:
    """Keeps the last minute and draws it."""

    def __init__(self, length_s: float, objective_ms: float) -> None:
        self._length_s = length_s
        self.objective_ms = objective_ms
        self._moments: deque[Moment] = deque(maxlen=HISTORY_S)
        self.elapsed_s = 0.0
        self.instances_max = 0

    def add(self, moment: Moment) -> None:
        self._moments.append(moment)
        self.elapsed_s += moment.seconds
        self.instances_max = max(self.instances_max, moment.instances)

    def picture(self) -> RenderableType:
        """Sparklines of the last minute, one a place, on one common scale."""
        now = self._moments[-1] if self._moments else None
        if now is None:
            return Text("starting")
        highest = max(moment.requests / moment.seconds for moment in self._moments)
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("requests a second on")
        table.add_column("now", justify="right")
        table.add_column(f"last minute, full height {highest:,.0f}", no_wrap=True)
        for name, counter in PLACES:
            rates = [getattr(moment, counter) / moment.seconds for moment in self._moments]
            table.add_row(name, f"{rates[-1]:,.0f}", sparkline(rates, highest))
        instances = [float(moment.instances) for moment in self._moments]
        table.add_row("instances", str(now.instances), sparkline(instances, max(instances)))
        late = now.latency_p95_ms is not None and now.latency_p95_ms > self.objective_ms
        p95 = "-" if now.latency_p95_ms is None else f"{now.latency_p95_ms:.0f} ms"
        state = Text.assemble(
            f"slots {now.in_flight} of {now.slots} in use, {now.waiting} waiting, {now.websockets} watching; p95 ",
            (p95, "red" if late else "green"),
            f" (objective {self.objective_ms:.0f} ms)",
        )
        return Group(Text(f"{self.elapsed_s:.0f} of {self._length_s:.0f} s"), table, state)

    def line(self, moments: Iterable[Moment]) -> str:
        """Several seconds in one plain line."""
        seen = list(moments)
        seconds = sum(moment.seconds for moment in seen)
        rates = ", ".join(f"{name} {sum(getattr(m, counter) for m in seen) / seconds:.0f}" for name, counter in PLACES)
        worst = max((m.latency_p95_ms for m in seen if m.latency_p95_ms is not None), default=None)
        p95 = "-" if worst is None else f"{worst:.0f} ms"
        return (
            f"{self.elapsed_s:4.0f} s  requests a second: {rates}; slots {max(m.in_flight for m in seen)} of "
            f"{seen[-1].slots}, instances {max(m.instances for m in seen)}, p95 of the worst second {p95}"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that was counted: by the replay, by the app, by the store, by the viewers."""

    replayed: dict[str, Any]
    usage: dict[str, int]
    store: dict[str, int]
    seen: Viewers
    instances_max: int
    objective_ms: float
    cut_short_after_s: float | None = None
    """Where Ctrl-C ended the traffic: the figures are of what had been sent by then."""


def summary(outcome: Outcome) -> RenderableType:
    """The end of a run, for a person who has not read anything else."""
    replayed = outcome.replayed
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("ran on", "requests", "share", "p50", "p95", "p99"):
        table.add_column(name, justify="left" if name == "ran on" else "right")
    total = max(1, replayed["answered"] + replayed["failed"])
    placements = replayed["placements"]
    for name in [*(known for known in NAMES if known in placements), *sorted(set(placements) - set(NAMES))]:
        placement = placements[name]
        figures = (_ms(placement["latency_ms"][key]) for key in ("p50", "p95", "p99"))
        count = placement["requests"]
        table.add_row(NAMES.get(name, name), f"{count:,}", f"{count / total:.1%}", *figures)
    refused = replayed["failures"].get("refused", 0)
    table.add_row("refused", f"{refused:,}", f"{refused / total:.1%}", "", "", "")
    figures = (_ms(replayed["all"]["latency_ms"][key]) for key in ("p50", "p95", "p99"))
    table.add_row("all", f"{total:,}", "", *figures, style="bold")
    return Group(Text(""), table, Text(""), *(Text(line) for line in _sentences(outcome)))


def _sentences(outcome: Outcome) -> Iterable[str]:
    replayed, usage, store, seen = outcome.replayed, outcome.usage, outcome.store, outcome.seen
    p95 = replayed["all"]["latency_ms"]["p95"]
    kept = p95 is not None and p95 <= outcome.objective_ms
    verdict = "kept" if kept else "missed"
    if outcome.cut_short_after_s is not None:
        yield f"Cut short after {outcome.cut_short_after_s:.0f} s: this is about the traffic up to then."
    yield f"The objective, 95 % within {outcome.objective_ms:.0f} ms, was {verdict} ({_ms(p95)})."
    yield (
        f"{usage['on_function']:,} requests spilled to functions; {usage['cold_starts']:,} of them were cold starts, "
        f"which waited for an instance to start. At most {outcome.instances_max} instances were seen at once."
    )
    others = {kind: count for kind, count in replayed["failures"].items() if kind != "refused"}
    if others:
        yield "Failed otherwise: " + ", ".join(f"{count:,} {kind}" for kind, count in others.items()) + "."
    else:
        yield "No request failed otherwise."
    yield (
        f"The store saw at most {store['connections_max']} connections and {store['concurrency_max']} queries "
        f"at once, and refused {store['refused']}."
    )
    yield f"Viewers on WebSockets: {seen.heartbeats:,} heartbeats, {seen.broken} cut off."
    if replayed["void"]:
        late_ms = replayed["generator_lag_ms"]["p99"]
        yield f"The traffic was sent late (p99 {late_ms:.0f} ms): the machine is too busy for these latencies to count."


def _ms(value: float | None) -> str:
    return "failed" if value is None else f"{value:,.0f} ms"


def console() -> Console:
    """Colours and width of whatever standard output is."""
    return Console(highlight=False)
