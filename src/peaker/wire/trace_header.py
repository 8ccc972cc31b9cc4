"""X-Amzn-Trace-Id: the trace a call belongs to, and its lineage, by which Lambda finds recursive loops.

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a87bd80c:1|68fd508a:5

Lineage lists the functions that have run in this chain of calls, each as eight hexadecimal digits and how often
(AWS X-Ray Developer Guide, "Tracing header"; AWS Lambda Developer Guide, "Use Lambda recursive loop detection"). A
function finds the header in `_X_AMZN_TRACE_ID`, and AWS's SDKs send it on with every call they make.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

HEADER_BYTES_MAX = 2048
"""A longer header is not taken over."""

LINEAGE_MAX = 32
"""Functions named in one lineage; the oldest are dropped."""

_STEP = re.compile(r"([0-9a-f]{8}):(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Trace:
    """One header: all its fields but Lineage as they came, and the runs of each function by its digits."""

    fields: tuple[str, ...]
    lineage: tuple[tuple[str, int], ...] = ()

    def runs_of(self, function: str) -> int:
        """How often `function` has run in this chain of calls, by the lineage."""
        return dict(self.lineage).get(lineage_name(function), 0)

    @property
    def runs(self) -> int:
        """How many runs of any function the lineage tells of."""
        return sum(runs for _, runs in self.lineage)

    def __str__(self) -> str:
        return ";".join((*self.fields, *self._told(self.lineage)))

    @staticmethod
    def _told(steps: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
        return ("Lineage=" + "|".join(f"{name}:{runs}" for name, runs in steps),) if steps else ()

    def with_run_of(self, function: str) -> str:
        """The header one more run of `function` is given."""
        name = lineage_name(function)
        others = tuple(step for step in self.lineage if step[0] != name)
        steps = (*others, (name, self.runs_of(function) + 1))[-LINEAGE_MAX:]
        return ";".join((*self.fields, *self._told(steps)))


def first_run_of(function: str, *, epoch_s: float, chance: random.Random) -> str:
    """The header of a call that came with none: what `parse_trace` and `with_run_of` make of nothing, at once."""
    return f"{_new_root(epoch_s, chance)};{_new_parent(chance)};Sampled=0;Lineage={lineage_name(function)}:1"


def parse_trace(header: str, *, epoch_s: float, chance: random.Random) -> Trace:
    """Read a header; without one, or with one that names no Root, a trace of its own begins here.

    SDKs send the header on with some characters percent-encoded, so it is decoded first.
    """
    text = unquote(header) if header and len(header) <= HEADER_BYTES_MAX else ""
    parts = [part.strip() for part in text.split(";") if part.strip().isprintable() and "=" in part]
    fields = [part for part in parts if not part.startswith("Lineage=")]
    if not any(field.startswith("Root=") for field in fields):
        # Not sampled: there is no X-Ray here to send segments to.
        fields = [_new_root(epoch_s, chance), _new_parent(chance), "Sampled=0", *fields]
    found = next((part for part in parts if part.startswith("Lineage=")), "")
    return Trace(tuple(fields), tuple((name, int(runs)) for name, runs in _STEP.findall(found)))


@lru_cache(maxsize=256)
def lineage_name(function: str) -> str:
    """The eight digits a function goes by in a lineage."""
    return hashlib.sha256(function.encode()).hexdigest()[:8]


def _new_root(epoch_s: float, chance: random.Random) -> str:
    return f"Root=1-{int(epoch_s):08x}-{chance.getrandbits(96):024x}"


def _new_parent(chance: random.Random) -> str:
    return f"Parent={chance.getrandbits(64):016x}"
