"""What `peaker replay --out` writes: the client's latencies beside what the app's own meter counted meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from peaker import __version__
from peaker.engines.local.measuring.process_cost import machine_name
from peaker.engines.local.metered_span import SpanUsed
from peaker.simulate.measurement import Measurement
from peaker.simulate.measures import Measures
from peaker.traffic.sent import Sent


def measurement_of(
    app: str, traffic: Sent, began_epoch_s: float, summary: dict[str, Any], used: SpanUsed
) -> Measurement:
    """The measurement of one replay from its summary (`Tally.summary`) and what was used."""
    latency_ms = summary["all"]["latency_ms"]
    counted = max(1, used.requests)
    return Measurement(
        app=app,
        made_by=f"peaker {__version__}",
        began_at=datetime.fromtimestamp(began_epoch_s, UTC).isoformat(timespec="seconds"),
        machine=machine_name(),
        traffic=traffic,
        measures=Measures(
            latency_p50_ms=latency_ms["p50"],
            latency_p95_ms=latency_ms["p95"],
            latency_p99_ms=latency_ms["p99"],
            spilled_share=used.on_function / counted,
            refused_share=used.refused / counted,
            cold_starts=float(used.cold_starts),
            server_s=used.server_s,
            gb_s=used.gb_s,
            usd=used.usd,
        ),
        answered=summary["answered"],
        failed=summary["failed"],
        is_void=summary["void"] or summary["sent"] < traffic.requests,
        notes=tuple(_notes(traffic, summary, used)),
    )


def _notes(traffic: Sent, summary: dict[str, Any], used: SpanUsed) -> list[str]:
    notes: list[str] = []
    if summary["sent"] < traffic.requests:
        notes.append(f"stopped: {summary['sent']:,} of {traffic.requests:,} requests were sent.")
    if used.requests != summary["sent"]:
        notes.append(
            f"the app counted {used.requests:,} requests and {summary['sent']:,} were sent: others asked as well, or "
            "some did not arrive."
        )
    if used.servers_before != used.servers_after:
        notes.append(f"servers went from {used.servers_before} to {used.servers_after} meanwhile.")
    others = summary["failed"] - summary["failures"].get("refused", 0)
    if others:
        notes.append(f"{others:,} requests failed otherwise than by a 503.")
    return notes
