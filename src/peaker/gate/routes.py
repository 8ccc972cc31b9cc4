"""Which route a request belongs to, and what has been learned about it.

What a route is where nothing declares it: the method and the path with its variable segments written as `*`. Numbers,
UUIDs and long hexadecimal or mixed words are variable by their look; names that differ on each request (slugs, user
names) show by their number: after `SIBLING_SEGMENTS_MAX` different ones in one place, further ones are `*`. So the
number of routes is bounded by the shape of the app and not by its data, which a table by full path would not be, and
routes that take 2 ms and 2 s are not learned as one, which a table by first segment would do. The table has an end all
the same (`ROUTES_MAX`, for hostile traffic); what comes after that shares one route for each rule, never learns and so,
unless declared, never leaves the servers.
"""

from __future__ import annotations

import math
import re

from peaker.policy import placement
from peaker.policy.estimate import RECENT_WEIGHT, Times
from peaker.policy.placement import Placement, Rule, Shown
from peaker.policy.slow_store import Suspicion
from peaker.settings import Settings

ROUTES_MAX = 500
PATHS_MAX = 4096
"""Full paths whose route is remembered; when they are that many, they are forgotten and looked up again."""

PATH_CHARACTERS_MAX = 256
"""A longer path is looked up each time, and a longer segment counts as variable: what is kept has a bound in bytes."""

SIBLING_SEGMENTS_MAX = 32
SEGMENT_CHARACTERS_MAX = 64
SEGMENTS_MAX = 8

_VARIABLE = re.compile(
    r"\d+"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|[0-9a-fA-F]{16,}"
    r"|(?=[^/]*\d)[\w.~-]{20,}"
)


class Route:
    """One route of this worker, with everything that decides about its requests."""

    __slots__ = (
        "batch_count",
        "batch_square",
        "batch_sum_s",
        "began_sum_s",
        "function_times",
        "key",
        "learns",
        "ordinary_s",
        "rule",
        "running",
        "shown",
        "spilling",
        "stays",
        "stream_s",
        "stream_seen_s",
        "suspicion",
        "times",
    )

    def __init__(self, key: str, rule: Rule, *, learns: bool) -> None:
        self.key = key
        self.rule = rule
        self.learns = learns and not rule.is_declared and rule.placement is not Placement.SERVERS
        self.stays = rule.placement is not Placement.FUNCTIONS
        self.running = 0
        self.began_sum_s = 0.0
        self.ordinary_s = math.inf
        """Its baseline as the limit sees it: infinite, so that nothing looks slow, until there is one."""
        self.batch_count = 0
        self.batch_sum_s = 0.0
        self.batch_square = 0.0
        self.times = Times()
        self.function_times = Times()
        self.shown = Shown()
        self.suspicion = Suspicion()
        self.spilling = 0
        self.stream_s = 0.0
        """How long its responses go on after their first byte, where it is declared to stream."""
        self.stream_seen_s = -math.inf
        """When one of them last began on a function."""

    def learn_stream(self, lasted_s: float) -> None:
        """A response went on for this long after its first byte."""
        self.stream_s += RECENT_WEIGHT * (lasted_s - self.stream_s)

    def mean_age_s(self, now_s: float) -> float:
        """Mean age of its requests in flight here, those counted at the last look (`Gate._look_at_running`)."""
        return now_s - self.began_sum_s / self.running if self.running else 0.0

    def why_not_spill(self, spill_after_seen: int) -> str:
        """Why its placement keeps it on the servers, "" if it does not."""
        if self.rule.placement is Placement.SERVERS:
            return self.rule.why
        if self.rule.is_declared:
            return ""
        if not self.learns:
            return "not declared, and there are too many routes to learn about this one"
        return placement.why_not_yet(self.shown, spill_after_seen)


class Routes:
    """Every route of the app, declared or seen."""

    def __init__(self, settings: Settings) -> None:
        self.rules = placement.make_rules(settings)
        self.known: dict[tuple[str, str], Route] = {}
        """By method and path; the gate looks here first."""
        self._by_key: dict[str, Route] = {}
        self._segments: dict[str, set[str]] = {}
        self.some_stream = any(rule.streams for rule in self.rules)
        self.is_learning = False
        """Some route's answers are looked at to find out whether it may be spilled."""
        self._overflow = [Route(f"* {rule.path}*", rule, learns=False) for rule in self.rules]

    def of(self, method: str, path: str) -> Route:
        """The route of a request."""
        return self.known.get((method, path)) or self.find(method, path)

    def all(self) -> list[Route]:
        """The routes seen so far, for reports."""
        return list(self._by_key.values())

    def find(self, method: str, path: str) -> Route:
        """The route of a request that is not among the known ones, made if need be; remembers it."""
        rule_index = placement.rule_for(self.rules, path)
        key = f"{method} {self._pattern(path)}"
        if self.rules[rule_index].is_declared:
            key += f" ({rule_index})"  # One pattern may stand under two rules: /a/1 declared, /a/2 not.
        route = self._by_key.get(key)
        if route is None:
            if len(self._by_key) >= ROUTES_MAX:
                return self._overflow[rule_index]
            route = self._by_key[key] = Route(key, self.rules[rule_index], learns=True)
            self.is_learning |= route.learns
        if len(path) <= PATH_CHARACTERS_MAX:
            if len(self.known) >= PATHS_MAX:
                self.known.clear()
            self.known[method, path] = route
        return route

    def _pattern(self, path: str) -> str:
        pattern = ""
        for segment in path.split("/")[1 : SEGMENTS_MAX + 1]:
            pattern += "/" + self._segment(pattern, segment)
        return pattern or "/"

    def _segment(self, parent: str, segment: str) -> str:
        if len(segment) > SEGMENT_CHARACTERS_MAX or _VARIABLE.fullmatch(segment):
            return "*"
        seen = self._segments.get(parent)
        if seen is None:
            if len(self._segments) >= ROUTES_MAX:
                return "*"
            seen = self._segments[parent] = set()
        if segment in seen:
            return segment
        if len(seen) >= SIBLING_SEGMENTS_MAX:
            return "*"
        seen.add(segment)
        return segment
