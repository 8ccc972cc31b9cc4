"""Views by film and minute, rolled up every minute. A minute that was missed is made up for by the next run."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

from places import ANALYTICS, VIEWS, write


def rollup(event: dict[str, Any], _context: Any) -> dict[str, int]:
    """`event` is EventBridge's: minutes before its time are over, and are written once and for all."""
    until_s = datetime.fromisoformat(event["time"]).timestamp() // 60 * 60
    minutes: defaultdict[float, Counter[str]] = defaultdict(Counter)
    for line in VIEWS.read_text(encoding="utf-8").splitlines() if VIEWS.exists() else ():
        view = json.loads(line)
        if view["at_s"] < until_s:
            minutes[view["at_s"] // 60 * 60][view["film"]] += 1
    for begins_s, views in minutes.items():
        name = f"{datetime.fromtimestamp(begins_s, UTC):%Y-%m-%dT%H%M}.json"
        write(ANALYTICS / name, json.dumps(views, sort_keys=True).encode())
    return {"minutes": len(minutes)}
