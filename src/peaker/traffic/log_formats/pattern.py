"""A log format told as one regular expression, matched over a whole block at once.

Every line gives exactly one match: the format's own, or the line as it stands. Quantifiers are possessive, so that a
line of junk costs one pass, however long it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from typing import Any, Protocol

import numpy as np

from peaker.traffic.columns import (
    BadLine,
    Columns,
    Floats,
    Parsed,
    Remembered,
    Zones,
    flags,
    seconds_of,
    size_of,
    whole_of,
)

QUOTED = rb'[^"\\\n]*+(?:\\.[^"\\\n]*+)*+'
"""What may stand between double quotes: anything but an unescaped one."""

REQUEST = (
    rb'"(?:(?P<method>[A-Z]++) (?:[A-Z]++ )?(?:[a-z]++://[^/ "?\n]*+)?(?P<target>[^ ?"\\\n]*+)'
    + QUOTED
    + rb"|"
    + QUOTED
    + rb')"'
)
"""A request line in quotes; what is none (TLS sent to a plain port, `-`) leaves both groups empty."""

BAD_TIME = "the time is not understood"
NO_TIME = "no time on the line"
NOT_THIS_FORMAT = "does not fit the format"


class LineFormat(Protocol):
    """Reads blocks of lines; made by looking at the first lines of a source, so it may hold what they told."""

    @property
    def name(self) -> str:
        """As in `--format`."""
        ...

    @property
    def service_time_is(self) -> str:
        """Which time of the log is the service time, and why."""
        ...

    @property
    def passed_on_rule(self) -> str:
        """How lines are recognised that the app never saw; empty where the format does not tell."""
        ...

    def parse(self, data: bytes, zones: Zones) -> Parsed:
        """All lines of a block."""
        ...


@dataclass(frozen=True)
class PatternFormat:
    """Named groups of `pattern` become columns.

    Groups: time, client, method, target, status, request_bytes, response_bytes, service, response, agent, reached
    (what tells whether the app saw the request), upgrade, memory, memory_used, init.
    """

    name: str
    pattern: bytes
    service_time_is: str = "the log has no times"
    time: str = "clf"
    """How the time is written: clf, iso, number or any."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By group, what its number is multiplied with to give seconds; 1 where not named."""
    not_passed_on: frozenset[bytes] = frozenset()
    passed_on_rule: str = ""
    upgrades: frozenset[bytes] = frozenset()
    needs: str = "time"
    """A group that no line of the format leaves empty."""
    comment: bytes = b"#"
    """How a line begins that is none of a request by right: a comment or a header."""
    skips_others: bool = False
    """Whether lines of another form are no matter: they stand in the same log by right."""

    def parse(self, data: bytes, zones: Zones) -> Parsed:
        """Requests of a block, and its lines that hold none."""
        compiled, places = _compiled(self.pattern)
        matches = compiled.findall(data)
        columns = dict(zip([*places, "whole"], zip(*matches, strict=True), strict=True))
        fits = flags(map(bool, columns[self.needs]), len(matches))
        bad: list[BadLine] = []
        skipped = 0
        if not fits.all():
            skipped = self._sort_out(columns["whole"], fits, bad)
            columns = {name: tuple(compress(column, fits)) for name, column in columns.items()}
        rows = np.flatnonzero(fits)
        time_s = self._times(columns["time"], zones)
        parsed = Parsed(self._columns(columns, time_s), len(matches), rows, bad, skipped)
        if "memory" in columns:
            parsed.reports = _reports(columns)
        if np.isnan(time_s).any():
            self._without_time(parsed, columns["time"])
        return parsed

    def _sort_out(self, whole: Sequence[bytes], fits: Any, bad: list[BadLine]) -> int:
        skipped = 0
        for index in np.flatnonzero(~fits).tolist():
            text = whole[index]
            if self.skips_others or not text.strip() or text.startswith(self.comment or b"#"):
                skipped += 1
            else:
                bad.append(BadLine(index, NOT_THIS_FORMAT, text))
        return skipped

    def _times(self, texts: Sequence[bytes], zones: Zones) -> Floats:
        read = {
            "clf": zones.clf_epoch_s,
            "iso": zones.iso_epoch_s,
            "utc": Zones().iso_epoch_s,  # the format says the zone, the text need not
            "number": zones.number_epoch_s,
            "any": zones.epoch_s,
        }[self.time]
        times: Floats = Remembered(read).array(texts)
        if self.time == "utc" and texts:
            zones.seen.add(0)
        return times

    def _without_time(self, parsed: Parsed, texts: Sequence[bytes]) -> None:
        told = ~np.isnan(parsed.columns.time_s)
        for index in np.flatnonzero(~told).tolist():
            kind = BAD_TIME if texts[index] else NO_TIME
            parsed.bad.append(BadLine(int(parsed.rows[index]), kind, texts[index]))
        parsed.columns = parsed.columns.kept(told)
        parsed.rows = parsed.rows[told]

    def _columns(self, columns: Mapping[str, tuple[bytes, ...]], time_s: Floats) -> Columns:
        nothing = (b"",) * len(time_s)
        reached = columns.get("reached")
        status = _WHOLE.array(columns.get("status", nothing), np.int64)
        service_s = self._seconds(columns, "service")
        response_s = self._seconds(columns, "response")
        made = Columns(
            time_s=time_s,
            targets=columns.get("target", nothing),
            methods=columns.get("method", nothing),
            status=np.where((status >= 100) & (status < 1000), status, 0).astype(np.int16),
            service_s=response_s if service_s is None else service_s,
            response_s=response_s,
            request_bytes=_sizes(columns, "request_bytes"),
            response_bytes=_sizes(columns, "response_bytes"),
            agents=columns.get("agent"),
            clients=columns.get("client"),
        )
        if reached is not None:
            here = flags((value in self.not_passed_on for value in reached), len(time_s))
            made.not_passed_on = here & (made.status < 500)
        if "upgrade" in columns:
            made.upgraded = flags((value in self.upgrades for value in columns["upgrade"]), len(time_s))
        if "method" in columns:
            made.no_request = ~flags(map(bool, columns["method"]), len(time_s))
        return made

    def _seconds(self, columns: Mapping[str, tuple[bytes, ...]], group: str) -> Floats | None:
        if group not in columns:
            return None
        times: Floats = _SECONDS.array(columns[group])
        return times * self.seconds[group] if group in self.seconds else times


_SECONDS = Remembered(seconds_of)
_WHOLE = Remembered(whole_of)
_SIZES = Remembered(size_of)


def _sizes(columns: Mapping[str, tuple[bytes, ...]], group: str) -> Floats | None:
    return _SIZES.array(columns[group]) if group in columns else None


def _reports(columns: Mapping[str, tuple[bytes, ...]]) -> list[tuple[int, int, float]]:
    return [
        (whole_of(memory), whole_of(used), seconds_of(init) / 1000)
        for memory, used, init in zip(columns["memory"], columns["memory_used"], columns["init"], strict=True)
    ]


@cache
def _compiled(pattern: bytes) -> tuple[re.Pattern[bytes], tuple[str, ...]]:
    """One match a line; the last group is the line where the format's pattern does not fit."""
    compiled = re.compile(rb"^(?:" + pattern + rb")\r?$|^(.*)$", re.MULTILINE)
    names = sorted(compiled.groupindex, key=compiled.groupindex.__getitem__)
    if compiled.groups != len(names) + 1:
        raise ValueError("every group of a format's pattern has a name")
    return compiled, tuple(names)


def share_read(line_format: LineFormat, sample: bytes) -> float:
    """Share of the sample's lines that hold a request by this format, of those that are not skipped."""
    parsed = line_format.parse(sample, Zones())
    tried = len(parsed.rows) + len(parsed.bad)
    # A line without a time is in the format all the same; what follows from it is told when it is read.
    fits = len(parsed.rows) + sum(line.kind == NO_TIME for line in parsed.bad)
    return fits / tried if tried else 0.0


def without_groups(pattern: bytes) -> bytes:
    """The same pattern, capturing nothing, bound to a line's beginning."""
    return rb"^" + re.sub(rb"\(\?P<\w+>", rb"(?:", pattern)
