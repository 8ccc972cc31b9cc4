"""Which routes may run where, and why.

A route declared in a [[route]] section runs where that says; the longest path that fits counts. Any other route begins
on the servers and may be spilled once its answers there have shown that it can: what streams, or works on after its
answer, or is too large or slow for a function, stays. What cannot be seen from outside is state kept in the process,
so that nothing at all is spilled until [app] spill = true says that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from peaker.errors import PlacementError
from peaker.settings import RouteSection, Settings


class Placement(Enum):
    """Where a route may run."""

    SERVERS = "servers"
    FUNCTIONS = "functions"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for the paths that fit `path` (exact, or a prefix where `is_prefix`); `why` is for people.

    With `streams`, a response is passed on as it is written wherever it runs, and times are those to its first byte.
    """

    path: str
    is_prefix: bool
    placement: Placement
    is_declared: bool
    objective_s: float
    why: str
    streams: bool = False

    def fits(self, path: str) -> bool:
        """Whether this rule is about that path."""
        return path.startswith(self.path) if self.is_prefix else path == self.path


def make_rules(settings: Settings) -> tuple[Rule, ...]:
    """One rule for each [[route]], the one that counts first, and a last one that fits every path.

    Raises:
        PlacementError: a declared placement cannot be kept; says which and what to change.
    """
    declared = sorted(
        (_declared_rule(section, settings) for section in settings.route),
        # An exact path before a prefix, a longer prefix before a shorter one.
        key=lambda rule: (rule.is_prefix, -len(rule.path)),
    )
    undeclared = Rule(
        path="/",
        is_prefix=True,
        placement=Placement.HYBRID if settings.app.spill else Placement.SERVERS,
        is_declared=False,
        objective_s=settings.objective.latency_p95_ms / 1000,
        why=_why_undeclared(settings),
    )
    return (*_webhook_rules(settings), *declared, undeclared)


def _webhook_rules(settings: Settings) -> list[Rule]:
    """A webhook is answered by the worker itself, whatever is declared for its path."""
    return [
        Rule(
            path=trigger.http,
            is_prefix=False,
            placement=Placement.SERVERS,
            is_declared=True,
            objective_s=settings.objective.latency_p95_ms / 1000,
            why=f"webhook, kept as an event of {function.name}",
        )
        for function in settings.started
        for trigger in function.on
        if trigger.http
    ]


def rule_for(rules: tuple[Rule, ...], path: str) -> int:
    """Index of the first rule that fits; the last one fits what no other does, `*` of OPTIONS included."""
    return next((index for index, rule in enumerate(rules) if rule.fits(path)), len(rules) - 1)


def _why_undeclared(settings: Settings) -> str:
    if not settings.app.spill:
        return _SPILL_IS_OFF
    return (
        f"not declared: on servers until {settings.functions.spill_after_seen} answers have shown that it neither "
        "streams nor works on after its answer and is small and quick enough, then hybrid"
    )


_SPILL_IS_OFF = "[app] spill is not true, so nothing leaves the servers"


def _declared_rule(section: RouteSection, settings: Settings) -> Rule:
    _check(section, settings)
    placement = Placement(section.placement)
    why = f'declared in [[route]] path = "{section.path}"'
    if placement is Placement.HYBRID and not settings.app.spill:
        placement, why = Placement.SERVERS, _SPILL_IS_OFF
    objective_ms = section.latency_p95_ms or settings.objective.latency_p95_ms
    return Rule(
        path=section.path.removesuffix("*"),
        is_prefix=section.path.endswith("*"),
        placement=placement,
        is_declared=True,
        objective_s=objective_ms / 1000,
        why=f"{why}, streams" if section.stream else why,
        streams=section.stream,
    )


def _check(section: RouteSection, settings: Settings) -> None:
    """Refuse what would fail at run time."""
    where = f'[[route]] path = "{section.path}"'
    if "*" in section.path[:-1]:
        raise PlacementError(
            f"path = {section.path!r} has a * that is not at its end.",
            where=where,
            remedy="Write an exact path, or a prefix followed by *.",
        )
    if section.placement == "functions" and not settings.app.spill:
        raise PlacementError(
            'placement = "functions" cannot be kept while [app] spill is false.',
            where=where,
            remedy='Set spill = true if the app keeps no state in its process, or placement = "servers".',
        )
    timeout_ms = settings.functions.timeout_s * 1000
    if section.placement != "servers" and section.latency_p95_ms and section.latency_p95_ms > timeout_ms:
        raise PlacementError(
            f"latency_p95_ms = {section.latency_p95_ms:g} is longer than a function may run "
            f"(functions.timeout_s = {settings.functions.timeout_s:g}).",
            where=where,
            remedy='Raise functions.timeout_s (900 at most), or set placement = "servers".',
        )


@dataclass(frozen=True, slots=True)
class Explained:
    """One line of `peaker check`."""

    route: str
    placement: str
    reason: str


def explain(settings: Settings) -> list[Explained]:
    """Every route known before the first request, in the order in which they count, with the reason for its placement.

    Raises:
        PlacementError: as `make_rules`.
    """
    lines = [Explained("WebSocket, text/event-stream", "servers", "connections that last cannot run on a function")]
    lines += [
        Explained(rule.path + ("*" if rule.is_prefix else ""), rule.placement.value, rule.why)
        for rule in make_rules(settings)
    ]
    lines += [
        Explained(function.name, "functions", "event handlers run on functions") for function in settings.function
    ]
    lines += [Explained(job.name, "servers", "jobs have no time limit, and run on servers") for job in settings.job]
    return lines


STREAM_GAP_S = 0.1
"""From the first to the last message of a body: below this it was one answer written in pieces."""

AFTER_S_MAX = 0.05
"""From the last byte to the app's return: above this it worked on after its answer."""

RESPONSE_BYTES_MAX = 4_000_000
"""A function's answer may have 6 MB as encoded; base64 makes 4/3 of the body, and headers need some room."""

TIMEOUT_SHARE = 0.5
"""An answer that took more than this share of functions.timeout_s is not quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one answer on a server showed: sizes in bytes, times in seconds."""

    status: int
    service_s: float
    streamed_s: float
    after_s: float
    bytes_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an undeclared route has shown: `clean` answers that a function could have given, or why it stays."""

    clean: int = 0
    stays_because: str = ""


def with_answer(shown: Shown, answer: Answered, timeout_s: float) -> Shown:
    """What is known after one more answer.

    An error says nothing about the route's ordinary work. What an app does once it may do again, so streaming, late
    work and size are held against it for good; slowness passes.
    """
    if answer.status >= 400:
        return shown
    if answer.streamed_s > STREAM_GAP_S:
        return replace(shown, clean=0, stays_because=f"streamed an answer for {answer.streamed_s:.2f} s")
    if answer.after_s > AFTER_S_MAX:
        return replace(shown, clean=0, stays_because=f"worked {answer.after_s:.2f} s after its answer")
    if answer.bytes_sent > RESPONSE_BYTES_MAX:
        return replace(shown, clean=0, stays_because=f"gave an answer of {answer.bytes_sent:,} bytes")
    if answer.service_s > TIMEOUT_SHARE * timeout_s:
        return replace(shown, clean=0)
    return replace(shown, clean=shown.clean + 1)


def why_not_yet(shown: Shown, spill_after_seen: int) -> str:
    """Why an undeclared route may not be spilled, "" if it may."""
    if shown.stays_because:
        return f"stays on servers: it {shown.stays_because}"
    if shown.clean < spill_after_seen:
        return f"not declared, and only {shown.clean} of {spill_after_seen} answers seen that a function could give"
    return ""
