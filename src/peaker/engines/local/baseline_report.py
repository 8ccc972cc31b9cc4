"""Who decides on the number of servers, and what the control loop saw last; read from files, without any process."""

from __future__ import annotations

from typing import Any

from peaker.engines.local.hold import read_hold
from peaker.engines.local.journal_file import last_entry
from peaker.errors import StateError
from peaker.policy.supervision import is_steered
from peaker.settings import Settings
from peaker.state import StateDirectory


def baseline_report(state: StateDirectory, settings: Settings) -> dict[str, Any]:
    """`policy`: of the settings, "fixed" where they leave nothing to decide; `held`: the number set by hand, or None;
    `loop`: the last line of observations.jsonl, None where nothing is decided or nothing was seen; `error`: what of
    this could not be read.
    """  # noqa: D205 - one list
    if not is_steered(settings):
        return {"policy": "fixed", "held": None, "loop": None, "error": ""}
    held, loop, error = None, None, ""
    try:
        hold = read_hold(state)
        held = hold.servers if hold is not None else None
        loop = last_entry(state.observations)
    except StateError as unreadable:
        error = str(unreadable)
    return {"policy": settings.servers.policy, "held": held, "loop": loop, "error": error}
