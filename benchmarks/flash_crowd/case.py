"""The cases and their sizes: fixed here before any run, so that a figure cannot choose its own bar.

Two workers of eight slots behind a store of 50 ms hold 2 x 8 / 0.05 = 320 requests a second. The traffic is 146 a
second before the jump and about 700 after it, so servers alone cannot hold it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

HERE = Path(__file__).parent
TRACE = HERE / "twitter_2021_08_jump_1s.csv"
JUMP_AT_S = 120
"""The second of the file in which the jump begins: 40 requests before it, 89 in it, 164 in the next, 200 on average."""

BEFORE_S = 20
AFTER_S = 40
WORKERS = 2
SLOTS = 8
KEEP_ALIVE_S = 3
ZERO_INSTANCES_WITHIN_S = 15
TIMEOUT_S = 5
SLOW_TIMES = 10
SLOW_FOR_S = 60
SLOW_TRICKLE = 4
"""Queries at once beyond the servers' slots that a slow store may see: enough to notice that it has recovered."""
SLOW_NOTICE_S = 2
"""A store ten times slower answers its first query after half a second; until then nobody can know."""
RECOVERY_S_MAX = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to run the app through the jump."""

    name: str
    about: str
    web: str = "web:app"
    objective_p95_ms: float = 150.0
    scale: float = 3.5
    store_ms: float = 50.0
    placement: str = "hybrid"
    spill: bool = True
    like: str = "local"
    in_flight_max: int | str = SLOTS
    per_worker: int = SLOTS
    concurrency_max: int = 80
    slow_store: bool = False
    paths: tuple[str, ...] = ("/:2", "/catalogue/3:1", "/titles/7:4", "/titles/311:4")

    @property
    def from_s(self) -> int:
        """Where the traffic begins in the file."""
        return JUMP_AT_S - (110 if self.slow_store else BEFORE_S)

    @property
    def for_s(self) -> int:
        """How long it lasts; the case of the slow store ends before the jump."""
        return 15 + SLOW_FOR_S + 20 if self.slow_store else BEFORE_S + AFTER_S

    @property
    def event_at_s(self) -> int:
        """When, from the beginning, the jump or the slowness begins."""
        return 15 if self.slow_store else BEFORE_S

    def settings(self, store: str) -> str:
        """The peaker.toml of this case, with the store at this address."""
        texts = {
            "app": {
                "name": f"flash-{self.name}",
                "web": self.web,
                "spill": self.spill,
                "warm_up": "/titles/1",
                "placement_header": True,
            },
            "env": {"STORE_ADDRESS": store},
            "objective": {"latency_p95_ms": self.objective_p95_ms},
            "servers": {"workers": WORKERS, "in_flight_max": self.in_flight_max, "drain_s_max": 5},
            "functions": {
                "concurrency_max": self.concurrency_max,
                "keep_alive_s": KEEP_ALIVE_S,
                "like": self.like,
            },
        }
        lines = []
        for section, keys in texts.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""]
        lines += ["[[resource]]", 'name = "store"', f"connections_max = {self.connections_max}"]
        lines += [f"per_worker = {self.per_worker}", "per_instance = 1", ""]
        lines += ["[[route]]", 'path = "/*"', f'placement = "{self.placement}"']
        return "\n".join(lines) + "\n"

    @property
    def connections_max(self) -> int:
        """What the store takes: just what the workers and the instances may open.

        It is as quick with all of them as with one, so that only the app's own limits bind.
        """
        return WORKERS * self.per_worker + self.concurrency_max


CASES = (
    Case(name="hybrid", about="servers first, functions above them"),
    Case(name="servers", about="servers only", spill=False),
    Case(name="functions", about="functions only", placement="functions"),
    Case(name="lambda", about='hybrid, functions as slow to start as on AWS (like = "lambda")', like="lambda"),
    Case(
        name="cpu",
        about="hybrid, 20 ms of CPU in `async def` instead of the store",
        web="cpu:app",
        scale=0.3,
        concurrency_max=20,
        paths=("/titles/7",),
    ),
    Case(
        name="threads",
        about="hybrid, a `def` app that blocks 200 ms in one of a worker's 40 threads; slots found, not given",
        web="threads:app",
        store_ms=200.0,
        objective_p95_ms=500.0,
        in_flight_max="auto",
        per_worker=40,
        concurrency_max=160,
    ),
    Case(name="slow_store", about=f"hybrid, the store {SLOW_TIMES} times slower for {SLOW_FOR_S} s", slow_store=True),
)
BY_NAME = {case.name: case for case in CASES}
