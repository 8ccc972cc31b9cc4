"""What a measured replay is made of: the client's latencies, the meter's counts, and what limits both."""

from __future__ import annotations

from typing import Any

import pytest
from proofs import sent

from peaker.cli.replay_measure import measurement_of
from peaker.engines.local.metered_span import SpanUsed
from peaker.simulate.measurement import Measurement

USED = SpanUsed(
    requests=450,
    on_function=90,
    refused=9,
    invocations=90,
    cold_starts=7,
    gb_s=2.0,
    server_s=3.0,
    usd=0.0004,
    servers_before=1,
    servers_after=1,
)
SUMMARY: dict[str, Any] = {
    "all": {"latency_ms": {"p50": 40.0, "p95": 80.0, "p99": None}},
    "sent": 450,
    "answered": 441,
    "failed": 9,
    "failures": {"refused": 9},
    "void": False,
}


def measured(used: dict[str, Any] | None = None, **summary: Any) -> Measurement:
    changed = SpanUsed(**{**{name: getattr(USED, name) for name in USED.__slots__}, **(used or {})})
    return measurement_of("shop", sent(), 1_764_000_000.0, {**SUMMARY, **summary}, changed)


def test_latencies_are_the_clients_and_all_else_the_meters() -> None:
    found = measured()
    measures = found.measures
    assert (measures.latency_p50_ms, measures.latency_p95_ms, measures.latency_p99_ms) == (40.0, 80.0, None)
    assert [measures.spilled_share, measures.refused_share] == pytest.approx([0.2, 0.02])
    assert (measures.cold_starts, measures.server_s, measures.gb_s, measures.usd) == (7.0, 3.0, 2.0, 0.0004)
    assert (found.answered, found.failed, found.is_void, found.notes) == (441, 9, False, ())
    assert found.began_at == "2025-11-24T16:00:00+00:00"


@pytest.mark.parametrize(
    ("used", "summary", "said"),
    [
        ({"requests": 460}, {}, "the app counted 460 requests and 450 were sent"),
        ({"servers_after": 2}, {}, "servers went from 1 to 2"),
        ({}, {"failed": 12}, "3 requests failed otherwise"),
    ],
)
def test_what_makes_the_figures_less_sure_is_said(used: dict[str, Any], summary: dict[str, Any], said: str) -> None:
    found = measured(used, **summary)
    assert said in " ".join(found.notes)
    assert not found.is_void


def test_a_replay_that_was_stopped_or_late_is_void() -> None:
    stopped = measured({"requests": 200}, sent=200)
    assert stopped.is_void
    assert "200 of 450 requests were sent" in " ".join(stopped.notes)
    assert measured(void=True).is_void
