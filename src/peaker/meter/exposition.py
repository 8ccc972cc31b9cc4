"""Metrics as text: Prometheus's text format 0.0.4, or OpenMetrics 1.0 where that is asked for.

Written by hand because it is two pages, and the client library would be the larger part of the control process.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]


class Kind(Enum):
    """What a family of samples is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket (not cumulative), the last one above all bounds; bounds and sum in the unit of the family."""

    bounds: Sequence[float]
    counts: Sequence[int]
    sum: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: `name` without `_total` or `_info`, but with its unit; samples by their labels."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    samples: list[tuple[Labels, float | Histogram]] = field(default_factory=list[tuple[Labels, "float | Histogram"]])

    def add(self, value: float | Histogram, **labels: str) -> Family:
        """One more sample; returns the family."""
        self.samples.append((labels, value))
        return self


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header names OpenMetrics with a weight that is not below that of plain text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind in weights:
            weight = next((value[2:] for value in parameters if value.startswith("q=")), "1")
            weights[kind] = max(weights[kind], float(weight) if weight.replace(".", "", 1).isdigit() else 0.0)
    return (
        weights["application/openmetrics-text"] > 0 and weights["application/openmetrics-text"] >= weights["text/plain"]
    )


def render(families: Iterable[Family], *, openmetrics: bool = False) -> str:
    """The page; families without samples are left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines += _family(family, openmetrics=openmetrics)
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _family(family: Family, *, openmetrics: bool) -> list[str]:
    suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(family.kind, "")
    name = family.name if openmetrics else family.name + suffix
    # The text format knows no info: there it is a gauge that is always 1.
    kind = "gauge" if family.kind is Kind.INFO and not openmetrics else family.kind.value
    lines = [f"# HELP {name} {_escaped(family.help, quotes=openmetrics)}", f"# TYPE {name} {kind}"]
    if openmetrics and family.unit:
        lines.append(f"# UNIT {name} {family.unit}")
    for labels, value in family.samples:
        if isinstance(value, Histogram):
            lines += _histogram(family.name, labels, value)
        else:
            lines.append(f"{family.name}{suffix}{_labels(labels)} {_number(value)}")
    return lines


def _histogram(name: str, labels: Labels, found: Histogram) -> list[str]:
    lines, total = [], 0
    for bound, count in zip((*found.bounds, math.inf), found.counts, strict=True):
        total += count
        lines.append(f"{name}_bucket{_labels({**labels, 'le': _number(bound)})} {total}")
    lines.append(f"{name}_sum{_labels(labels)} {_number(found.sum)}")
    lines.append(f"{name}_count{_labels(labels)} {total}")
    return lines


def _labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escaped(text: str, *, quotes: bool) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if quotes else escaped


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return repr(float(value)) if not float(value).is_integer() or abs(value) > 2**53 else str(int(value))
