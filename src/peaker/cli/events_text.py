"""What `peaker events` tells a person."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from peaker.cli import present

ERROR_CHARACTERS_MAX = 60
PAYLOAD_CHARACTERS_MAX = 4_000


def events_text(found: dict[str, Any], *, is_cut: bool) -> str:
    """Counts by function, and the events that were listed; `found` is what --json shows."""
    now_s = time.time()
    oldest = f" (the oldest came {_since(found['oldest_at_s'], now_s)})" if found["oldest_at_s"] else ""
    lines = [f"events: {found['waiting']:,} waiting, {found['running']:,} running{oldest}, {found['dead']:,} dead"]
    if found["dead_dropped"]:
        lines.append(f"  {found['dead_dropped']:,} dead letters were dropped for newer ones ([events] dead_max)")
    if found["functions"]:
        names = ("waiting", "running", "finished", "dead")
        rows = [[one["function"], *(f"{one[name]:,}" for name in names)] for one in found["functions"]]
        lines += ["", present.table([["function", *names], *rows])]
    for state in ("dead", "running", "waiting", "finished"):
        events = [event for event in found["events"] if event["state"] == state]
        if events:
            lines += ["", present.table([[state, "function", "from", *_COLUMNS[state]], *_rows(events, now_s)])]
    if is_cut:
        lines += ["", "  and more: --limit, --function and --only choose"]
    if found["dead"]:
        lines += ["", "  `peaker events show ID` has payload and errors; `redrive` runs dead letters again"]
    return "\n".join(lines)


_COLUMNS = {
    "dead": ["died", "attempts", "because", "error"],
    "running": ["lease ends", "attempts", "", "error before"],
    "waiting": ["due", "attempts", "", "error before"],
    "finished": ["finished", "attempts", "", "error before"],
}


def _rows(events: list[dict[str, Any]], now_s: float) -> list[list[str]]:
    rows = []
    for event in events:
        moment = _since(event["due_s"], now_s)
        because = event["reason"] or ("behind another of its group" if event["is_behind"] else "")
        error = " ".join(event["error"].split())[:ERROR_CHARACTERS_MAX]
        rows.append([event["id"], event["function"], event["source"], moment, str(event["attempts"]), because, error])
    return rows


def event_text(found: dict[str, Any]) -> str:
    """One event whole; `found` is what --json shows."""
    event = found["event"]
    lines = [
        f"{found['id']}: {found['state']}" + (f", {found['reason']}" if found["reason"] else ""),
        f"  function  {found['function']}" + (f":{event['qualifier']}" if event["qualifier"] else ""),
        f"  from      {found['source']}, accepted {_moment(found['accepted_at_s'])}",
        f"  {_DUE[found['state']]:<9} {_moment(found['due_s'])}",
    ]
    if found["hops"]:
        lines.append(f"  hops      {found['hops']} runs led to it")
    if found["group"]:
        lines.append(f"  group     {found['group']}")
    lines += [f"  payload   {found['payload_bytes']:,} bytes", *_payload(found["payload"])]
    for attempt in found["attempts_made"]:
        outcome = f"{attempt['outcome']} after {present.milliseconds(attempt['took_s'] * 1000)}"
        lines.append(f"  attempt {attempt['number']}: {_moment(attempt['began_s'])}, {outcome}")
        lines += [f"    {line}" for line in attempt["error"].splitlines()]
    if found["log"]:
        lines += ["", "  in the function log:", *(f"    {line}" for line in found["log"])]
    return "\n".join(lines)


_DUE = {"waiting": "due", "running": "lease to", "finished": "finished", "dead": "died"}


def _payload(payload: str | None) -> list[str]:
    if payload is None:
        return ["    gone: of a finished event none is kept"]
    try:
        text = json.dumps(json.loads(payload), indent=2)
    except ValueError:
        text = payload
    cut = ["    ..  (--json has all of it)"] if len(text) > PAYLOAD_CHARACTERS_MAX else []
    return [*(f"    {line}" for line in text[:PAYLOAD_CHARACTERS_MAX].splitlines()), *cut]


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _since(epoch_s: float, now_s: float) -> str:
    """`12 s ago`, `in 3 min`."""
    seconds = now_s - epoch_s
    amount = abs(seconds)
    told = (
        f"{amount:.0f} s" if amount < 120 else f"{amount / 60:.0f} min" if amount < 7200 else f"{amount / 3600:.0f} h"
    )
    return f"{told} ago" if seconds >= 0 else f"in {told}"
