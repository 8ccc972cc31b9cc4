"""What a replay sends, or a prediction is made for, as a value; two with the same hash are the same requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from peaker.traffic.arrivals import Spread
from peaker.traffic.mix import Target
from peaker.traffic.trace import Trace

HASH_DIGITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Traffic as it is sent: `speed` and `scale` are in the figures already. `paths` are `METHOD /path:weight`.

    `name` is that of the file, without its folder.
    """

    name: str
    requests: int
    duration_s: float
    mean_per_s: float
    peak_per_s: float
    speed: float
    scale: float
    from_s: float
    spread: str
    seed: int
    paths: tuple[str, ...]
    hash: str


def sent_of(
    trace: Trace,
    spread: Spread,
    seed: int,
    targets: Sequence[Target],
    *,
    speed: float = 1.0,
    scale: float = 1.0,
    from_s: float = 0.0,
) -> Sent:
    """The traffic of a trace that is cut, scaled and made faster already."""
    return Sent(
        name=PurePath(trace.name).name,
        requests=trace.total,
        duration_s=trace.duration_s,
        mean_per_s=trace.mean_per_s,
        peak_per_s=trace.peak_per_s,
        speed=speed,
        scale=scale,
        from_s=from_s,
        spread=str(spread),
        seed=seed,
        paths=tuple(f"{target.method} {target.path}:{target.weight:g}" for target in targets),
        hash=traffic_hash(trace, spread, seed, targets),
    )


def traffic_hash(trace: Trace, spread: Spread, seed: int, targets: Sequence[Target]) -> str:
    """32 hexadecimal digits of SHA-256 over everything that decides what is asked when.

    Where the file stands, what it is called, and headers (which may hold secrets) are not in it; weights count in
    proportion.
    """
    whole = sum(target.weight for target in targets)
    asked = [[target.method, target.path, f"{target.weight / whole:.9f}"] for target in targets]
    document = {
        "counts": list(trace.counts),
        "step_s": f"{trace.step_s:.9f}",
        "spread": str(spread),
        "seed": seed,
        "asked": asked,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:HASH_DIGITS]
