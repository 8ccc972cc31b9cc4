"""What the events process tells of itself."""

from __future__ import annotations

from typing import Any

from peaker.control_socket import CommandRefused, ControlClient, ControlUnavailable
from peaker.engines.local.state_dir import ProcessRecord
from peaker.state import StateDirectory

ANSWER_S_MAX = 2.0


async def events_report(state: StateDirectory, process: ProcessRecord | None, *, asks: bool) -> dict[str, Any] | None:
    """None where there is no such process; `counts` is None where it does not answer, or is not asked."""
    if process is None:
        return None
    about: dict[str, Any] = {"pid": process.pid, "counts": None, "totals": {}, "runs": 0}
    if not asks:
        return about
    try:
        client = await ControlClient.connect(state.control_socket(process.name), timeout_s=ANSWER_S_MAX)
    except ControlUnavailable:
        return about
    try:
        told = await client.command("events", timeout_s=ANSWER_S_MAX)
    except (ControlUnavailable, CommandRefused):
        return about
    finally:
        client.close()
    return about | {name: value for name, value in told.items() if name not in {"ok", "id"}}
