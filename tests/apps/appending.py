"""A function that leaves a mark of each run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def append(event: dict[str, Any], _: object) -> None:
    time.sleep(event.get("wait_s", 0))
    with Path(event["file"]).open("a") as notes:
        notes.write(f"{event['number']}\n")
