"""What the control loop saw, decided and why, and what it cost: two bounded journals below `logs/`.

`observations.jsonl` has a line for each step, `decisions.jsonl` one for each change of the number of servers, for what
held one back, and for what a change has cost, seen afterwards. `peaker why` tells both in sentences.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from peaker.control.observe import Observation
from peaker.engines.local.journal_file import JournalFile
from peaker.policy.course import Course, Step
from peaker.policy.hindsight import Pending
from peaker.state import StateDirectory

OBSERVATIONS_BYTES_MAX = 4_000_000
DECISIONS_BYTES_MAX = 2_000_000
"""Of each journal there is at most twice as much: the file that is written, and the one before it."""

BEGAN, CHANGED, KEPT, HELD, RELEASED, STARTED, JUDGED = (
    "began",
    "changed",
    "kept",
    "held",
    "released",
    "started",
    "judged",
)
"""Kinds of lines in decisions.jsonl."""

_logger = logging.getLogger("peaker.control")


class Journal:
    """Writes both. A disk that is full costs lines, never a decision: it is said once, and again when it works."""

    def __init__(self, state: StateDirectory) -> None:
        self._observations = JournalFile(state.observations, bytes_max=OBSERVATIONS_BYTES_MAX)
        self._decisions = JournalFile(state.decisions, bytes_max=DECISIONS_BYTES_MAX, keeps=True)
        self._lost = 0

    def observed(self, observation: Observation, step: Step, course: Course, held_servers: int | None) -> None:
        """One step."""
        load, economics = observation.load, step.economics
        paid = observation.ready + observation.starting
        self._write(
            self._observations,
            {
                "at": round(observation.epoch_s, 3),
                "span_s": observation.span_s,
                "missing": observation.missing,
                "fleet_error": observation.fleet_error,
                "served": load.served if load is not None else None,
                "elsewhere": load.elsewhere if load is not None else None,
                "demand_servers": step.demand_servers,
                "ready": observation.ready,
                "starting": observation.starting,
                "wanted": step.decision.servers,
                "asked": step.steered.servers,
                "held_by": step.steered.held_by.value,
                "held_servers": held_servers,
                "functions_usd": observation.functions_usd,
                "servers_usd": paid * economics.server_usd_per_hour * observation.span_s / 3600,
                "server_per_s": course.capacity.per_s,
                "capacity_from": course.capacity.source,
                "request_usd": course.price.per_request_usd,
                "server_usd_per_hour": economics.server_usd_per_hour,
                "function_usd_per_server_hour": economics.function_usd_per_server_hour,
                "server_start_s": economics.server_start_s,
                "is_start_measured": course.start_s is not None,
                "counts": asdict(course.counts),
            },
        )

    def decided(self, kind: str, epoch_s: float, **fields: Any) -> None:
        """One line about what was done, or not."""
        self._write(self._decisions, {"kind": kind, "at": round(epoch_s, 3), **fields})

    def judged(self, epoch_s: float, pending: Pending) -> None:
        """What a change has cost, beside what leaving it would have."""
        document = pending.to_document()
        document["of"] = document.pop("number")
        document["changed_at"] = round(document.pop("epoch_s"), 3)
        self.decided(JUDGED, epoch_s, **document, demand_mean=pending.demand_mean, was_wrong=pending.was_wrong)

    def _write(self, file: JournalFile, entry: Mapping[str, Any]) -> None:
        try:
            file.write(_short(entry))
        except OSError as error:
            if not self._lost:
                _logger.warning("the journal is not written: %s", error, extra={"action": "journal"})
            self._lost += 1
            return
        if self._lost:
            _logger.warning("the journal is written again; %d lines were lost", self._lost, extra={"action": "journal"})
            self._lost = 0


def reasons(step: Step) -> dict[str, Any]:
    """The figures of a decision, as a line has them; `policy_held_by` is what held the rule itself back."""
    economics = step.economics
    found = asdict(step.decision.reason)
    found["policy_held_by"] = found.pop("held_by")
    return {
        **found,
        "wanted": step.decision.servers,
        "held_by": step.steered.held_by.value,
        "server_usd_per_hour": economics.server_usd_per_hour,
        "function_usd_per_server_hour": economics.function_usd_per_server_hour,
        "server_start_s": economics.server_start_s,
    }


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Six digits tell enough, but for moments."""
    moments = ("at", "changed_at")
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) and name not in moments else value
        for name, value in entry.items()
    }
