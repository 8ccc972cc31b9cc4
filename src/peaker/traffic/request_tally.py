"""Requests added up, block by block: what is load by route, what is not by rule. Two tallies merge into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peaker.traffic import not_load
from peaker.traffic.columns import Columns, Flags, Floats, Remembered
from peaker.traffic.histogram import Histogram
from peaker.traffic.requests import OTHER, Kind
from peaker.traffic.route_counts import RouteCounts
from peaker.traffic.route_names import route_of
from peaker.traffic.steps import StepCounts

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"INVOKE")
_HEAD = METHODS.index(b"HEAD")
_OTHER_METHOD = len(METHODS)
_GET = METHODS.index(b"GET")
PROBES_HELD_MAX = 32
"""Addresses and paths whose HEADs are held apart until it is clear whether they probe."""


@dataclass(slots=True)
class LeftOut:
    """Requests one rule left out."""

    count: int = 0
    open_time: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Probe:
    """HEADs of one path by one address, held apart."""

    tally: RequestTally
    minutes: set[int]
    first_s: float
    last_s: float


class RequestTally:
    """All that is kept of the requests seen so far; bounded, whatever their number."""

    def __init__(self) -> None:
        self.steps = StepCounts()
        self.routes = RouteCounts()
        self.service_time = Histogram()
        self.response_time = Histogram()
        self.request_bytes = Histogram()
        self.response_bytes = Histogram()
        self.left_out: dict[tuple[Kind, str], LeftOut] = {}
        self.probes: dict[tuple[bytes, bytes], Probe] = {}
        self.used = 0

    def add(self, columns: Columns, texts: Texts, passed_on_rule: str) -> None:
        """Add a block."""
        if not len(columns):
            return
        methods = texts.methods.array(columns.methods, np.int64)
        keep = np.ones(len(columns), np.bool_)
        for flags, kind, rule in _rules(columns, methods, texts):
            taken = flags & keep
            if taken.any():
                self.leave_out(kind, rule, columns, taken)
                keep &= ~taken
        if columns.clients is not None and columns.agents is not None:
            heads = self._heads(columns, methods, keep, passed_on_rule)
            keep &= ~heads
        if columns.not_passed_on is not None and (taken := columns.not_passed_on & keep).any():
            self.leave_out(Kind.NOT_PASSED_ON, passed_on_rule or not_load.NOT_PASSED_ON_RULE, columns, taken)
            keep &= ~taken
        self.count(columns.kept(keep), methods[keep], texts)

    def leave_out(self, kind: Kind, rule: str, columns: Columns, taken: Flags) -> None:
        """Count the flagged rows as no load."""
        entry = self.left_out.setdefault((kind, rule), LeftOut())
        entry.count += int(taken.sum())
        if columns.response_s is not None:
            entry.open_time = entry.open_time.merge(_histogram(columns.response_s[taken]))

    def _heads(self, columns: Columns, methods: NDArray[np.int64], keep: Flags, passed_on_rule: str) -> Flags:
        """Hold HEADs apart that come again, by address and path; gives which were taken."""
        heads: Flags = (methods == _HEAD) & keep
        if not heads.any():
            return heads
        clients, targets = columns.clients or (), columns.targets
        by_key: dict[tuple[bytes, bytes], list[int]] = {}
        for index in np.flatnonzero(heads).tolist():
            by_key.setdefault((clients[index], targets[index]), []).append(index)
        taken = np.zeros(len(columns), np.bool_)
        for key, rows in by_key.items():
            if len(rows) > 1 or key in self.probes:
                taken[rows] = True
                self._hold(key, columns.rows(rows), passed_on_rule)
        self._let_go(PROBES_HELD_MAX)
        return taken

    def _hold(self, key: tuple[bytes, bytes], part: Columns, passed_on_rule: str) -> None:
        first_s, last_s = float(part.time_s.min()), float(part.time_s.max())
        probe = self.probes.get(key)
        if probe is None:
            probe = self.probes[key] = Probe(RequestTally(), set(), first_s, last_s)
        probe.minutes.update(np.unique(part.time_s // 60).astype(np.int64).tolist())
        probe.first_s, probe.last_s = min(probe.first_s, first_s), max(probe.last_s, last_s)
        if part.not_passed_on is not None and (answered := part.not_passed_on).any():
            rule = passed_on_rule or not_load.NOT_PASSED_ON_RULE
            probe.tally.leave_out(Kind.NOT_PASSED_ON, rule, part, answered)
            part = part.kept(~answered)
        probe.tally.count(part, np.full(len(part), _HEAD), Texts())

    def _let_go(self, held_max: int) -> None:
        """Count the smallest as what they look like, until no more than `held_max` are held."""
        if len(self.probes) <= held_max:
            return
        smallest = sorted(self.probes, key=lambda key: -self.probes[key].tally.requests)[held_max:]
        for probe in [self.probes.pop(key) for key in smallest]:
            self._judge(probe)

    def _judge(self, probe: Probe) -> None:
        count = probe.tally.requests
        if not not_load.is_probe(count, len(probe.minutes), probe.first_s, probe.last_s):
            self._absorb(probe.tally)
            return
        entry = self.left_out.setdefault((Kind.HEALTH_CHECK, not_load.PROBE_RULE), LeftOut())
        entry.count += count
        for left_out in probe.tally.left_out.values():
            entry.open_time = entry.open_time.merge(left_out.open_time)
        entry.open_time = entry.open_time.merge(probe.tally.response_time)

    @property
    def requests(self) -> int:
        """All that were added, load or not."""
        held = sum(probe.tally.requests for probe in self.probes.values())
        return self.used + held + sum(entry.count for entry in self.left_out.values())

    def count(self, columns: Columns, methods: NDArray[np.int64], texts: Texts) -> None:
        """Count all rows as load."""
        if not len(columns):
            return
        self.used += len(columns)
        self.steps.add(columns.time_s)
        service_s = columns.service_s
        if service_s is not None:
            service_s = np.where(columns.status >= 500, np.nan, service_s)
            self.service_time = self.service_time.merge(_histogram(service_s))
        if columns.response_s is not None:
            self.response_time = self.response_time.merge(_histogram(columns.response_s))
        if columns.request_bytes is not None:
            self.request_bytes = self.request_bytes.merge(_histogram(columns.request_bytes))
        if columns.response_bytes is not None:
            self.response_bytes = self.response_bytes.merge(_histogram(columns.response_bytes))
        routes = [texts.routes[target] for target in columns.targets]
        self.routes.add(
            routes,
            methods=methods,
            status_class=columns.status // 100,
            service_s=service_s,
            request_bytes=columns.request_bytes,
            response_bytes=columns.response_bytes,
        )

    def merge(self, other: RequestTally) -> None:
        """Add what the other has; held HEADs of the same address and path join."""
        self._absorb(other)
        for place, probe in other.probes.items():
            held = self.probes.get(place)
            if held is None:
                self.probes[place] = probe
                continue
            held.tally.merge(probe.tally)
            held.minutes |= probe.minutes
            held.first_s, held.last_s = min(held.first_s, probe.first_s), max(held.last_s, probe.last_s)
        self._let_go(PROBES_HELD_MAX)

    def _absorb(self, other: RequestTally) -> None:
        self.used += other.used
        self.steps.merge(other.steps)
        self.routes.merge(other.routes)
        for name in ("service_time", "response_time", "request_bytes", "response_bytes"):
            setattr(self, name, getattr(self, name).merge(getattr(other, name)))
        for key, entry in other.left_out.items():
            mine = self.left_out.setdefault(key, LeftOut())
            mine.count += entry.count
            mine.open_time = mine.open_time.merge(entry.open_time)

    def settle(self) -> None:
        """Judge all that is still held: nothing more comes."""
        self._let_go(0)


class Texts:
    """What texts mean, remembered over blocks: routes of paths, numbers of methods, kinds of agents."""

    def __init__(self) -> None:
        self.routes = Remembered(route_of)
        self.methods = Remembered(_method)
        self.health_paths = Remembered(lambda target: bool(not_load.HEALTH_PATH.fullmatch(target)))
        self.stream_paths = Remembered(lambda target: bool(not_load.STREAM_PATH.search(target)))
        self.health_agents = Remembered(lambda agent: bool(not_load.HEALTH_AGENT.search(agent)))


def _method(text: bytes) -> int:
    return METHODS.index(text) if text in METHODS else _OTHER_METHOD


def method_name(index: int) -> str:
    """As it is shown."""
    return METHODS[index].decode() if index < len(METHODS) else OTHER


def _rules(columns: Columns, methods: NDArray[np.int64], texts: Texts) -> Sequence[tuple[Flags, Kind, str]]:
    """Which requests each rule takes, the surest rule first."""
    rules: list[tuple[Flags, Kind, str]] = []
    if columns.no_request is not None:
        rules.append((columns.no_request, Kind.NO_REQUEST, not_load.NO_REQUEST_RULE))
    upgraded = columns.status == 101
    if columns.upgraded is not None:
        upgraded |= columns.upgraded
    rules.append((upgraded, Kind.WEBSOCKET, not_load.UPGRADE_RULE))
    if columns.agents is not None:
        rules.append((texts.health_agents.array(columns.agents, np.bool_), Kind.HEALTH_CHECK, not_load.AGENT_RULE))
    is_look = (methods == _GET) | (methods == _HEAD)
    health = texts.health_paths.array(columns.targets, np.bool_) & is_look
    rules.append((health, Kind.HEALTH_CHECK, not_load.PATH_RULE))
    if columns.event_stream is not None:
        rules.append((columns.event_stream, Kind.EVENT_STREAM, not_load.EVENTS_RULE))
    if columns.response_s is not None or columns.service_s is not None:
        longest = _longest(columns)
        is_held = longest >= not_load.STREAM_S_MIN
        if is_held.any():
            held = texts.stream_paths.array(columns.targets, np.bool_) & is_held
            rules.append((held, Kind.EVENT_STREAM, not_load.STREAM_RULE))
    return rules


def _longest(columns: Columns) -> Floats:
    times = [column for column in (columns.response_s, columns.service_s) if column is not None]
    longest: Floats = np.nan_to_num(np.fmax.reduce(times))
    return longest


def _histogram(values: Floats) -> Histogram:
    return Histogram.of(values[~np.isnan(values)])


def counted(counts: Counter[Any]) -> dict[Any, int]:
    """Largest first."""
    return dict(counts.most_common())
