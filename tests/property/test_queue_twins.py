"""Whatever is asked of them in whatever order, the durable queue and its twin in memory answer alike."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from peaker.clock import VirtualClock
from peaker.errors import QueueFull
from peaker.events.memory_queue import MemoryQueue
from peaker.events.queue import Bounds, Entry, Lease, Outcome, Queue, State
from peaker.events.sqlite_queue import SqliteQueue
from peaker.messages import Event

BOUNDS = Bounds(events_max=8, bytes_max=6_000, dead_max=3, dead_bytes_max=3_000, finished_max=3, keys_max=4)

events = st.builds(
    Event,
    id=st.sampled_from([f"e{number}" for number in range(12)]),
    function=st.sampled_from("fg"),
    source=st.sampled_from(["invoke", "queue"]),
    payload=st.sampled_from([b"", b"small", b"x" * 2_000]),  # the last stands in a table of its own
    dedup_key=st.sampled_from(["", "", "k1", "k2", "k3"]),
    dedup_s=st.sampled_from([0.0, 5.0, 20.0]),
    group=st.sampled_from(["", "a", "b"]),
    not_before_s=st.sampled_from([0.0, 1_767_225_605.0, 1_767_225_630.0]),
)
ids = st.lists(st.sampled_from([f"e{number}" for number in range(12)]), max_size=3)
choice = st.randoms(use_true_random=False)


class Unsynced(sqlite3.Connection):
    """What is synced when is tested elsewhere (tests/faults/test_queue_power_loss.py); here it would only take time."""

    def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:
        return super().execute("PRAGMA synchronous = OFF" if "PRAGMA synchronous" in statement else statement, values)


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Unsynced)


class Twins(RuleBasedStateMachine):
    """Every call goes to both; every answer is compared, and what can be seen of them after it."""

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = VirtualClock()
        self.folder = Path(tempfile.mkdtemp())
        self.memory = MemoryQueue(clock=self.clock, bounds=BOUNDS)
        self.durable = self.opened()
        self.leases: list[tuple[Lease, Lease]] = []

    def opened(self) -> SqliteQueue:
        return SqliteQueue(self.folder / "events.sqlite", clock=self.clock, bounds=BOUNDS, connect=connect)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.durable.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    def both(self, call: Callable[[Queue], Awaitable[Any]]) -> tuple[Any, Any]:
        async def answer(queue: Queue) -> Any:
            try:
                return await call(queue)
            except QueueFull as full:
                return str(full)

        return self.runner.run(answer(self.memory)), self.runner.run(answer(self.durable))

    def alike(self, call: Callable[[Queue], Awaitable[Any]]) -> None:
        in_memory, durable = self.both(call)
        assert in_memory == durable

    def pick(self, chance: Any) -> tuple[list[Lease], list[Lease]]:
        """Leases of now or of long ago, the same for both."""
        picked = chance.sample(self.leases, min(len(self.leases), chance.choice([1, 1, 3])))
        return [pair[0] for pair in picked], [pair[1] for pair in picked]

    def end(self, chance: Any, call: Callable[[Queue, list[Lease]], Awaitable[Any]]) -> None:
        in_memory, durable = self.pick(chance)
        self.alike(lambda queue: call(queue, in_memory if queue is self.memory else durable))

    @rule(put=st.lists(events, min_size=1, max_size=4))
    def put(self, put: list[Event]) -> None:
        self.alike(lambda queue: queue.put(put))

    @rule(
        function=st.sampled_from("fg"), at_most=st.integers(1, 4), source=st.sampled_from([None, "queue"]),
        bytes_max=st.sampled_from([None, 2_500]),
    )  # fmt: skip
    def lease(self, function: str, at_most: int, source: str | None, bytes_max: int | None) -> None:
        in_memory, durable = self.both(
            lambda queue: queue.lease(function, at_most=at_most, lease_s=10, source=source, bytes_max=bytes_max)
        )
        assert [self.told(lease) for lease in in_memory] == [self.told(lease) for lease in durable]
        self.leases = (self.leases + list(zip(in_memory, durable, strict=True)))[-12:]

    @staticmethod
    def told(lease: Lease) -> tuple[object, ...]:
        """All but the token, whose numbers are a queue's own."""
        return lease.event, lease.until_s, lease.attempt, lease.failures, lease.not_started, lease.lost

    @rule(chance=choice)
    def finish(self, chance: Any) -> None:
        self.end(chance, lambda queue, leases: queue.finish(leases, request_id="r"))

    @rule(
        chance=choice,
        delay_s=st.sampled_from([0.0, 7.0]),
        outcome=st.sampled_from([Outcome.FAILED, Outcome.NOT_STARTED]),
    )
    def retry(self, chance: Any, delay_s: float, outcome: Outcome) -> None:
        at_s = self.clock.epoch_s() + delay_s
        self.end(chance, lambda queue, leases: queue.retry(leases, not_before_s=at_s, outcome=outcome, error="no"))

    @rule(chance=choice)
    def bury(self, chance: Any) -> None:
        self.end(chance, lambda queue, leases: queue.bury(leases, reason="r", outcome=Outcome.FAILED, error="no"))

    @rule(chance=choice)
    def release(self, chance: Any) -> None:
        self.end(chance, lambda queue, leases: queue.release(leases))

    @rule(chance=choice)
    def extend(self, chance: Any) -> None:
        self.end(chance, lambda queue, leases: queue.extend(leases, 15))

    @rule(known=ids)
    def redrive(self, known: list[str]) -> None:
        self.alike(lambda queue: queue.redrive(known))

    @rule(known=ids)
    def discard(self, known: list[str]) -> None:
        self.alike(lambda queue: queue.discard(known))

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def begin_anew(self) -> None:
        """The durable one is closed and opened: nothing may be seen of that."""
        self.runner.run(self.durable.close())
        self.durable = self.opened()

    @invariant()
    def they_look_alike(self) -> None:
        if not hasattr(self, "runner"):
            return
        self.alike(lambda queue: queue.counts())
        self.alike(lambda queue: queue.lines(due_max=3))
        self.alike(lambda queue: queue.next_moment())
        seen = [self.runner.run(queue.listing(limit=50)).entries for queue in (self.memory, self.durable)]
        assert seen[0] == seen[1]
        self.only_the_first_of_each_group_may_run(seen[1])

    @staticmethod
    def only_the_first_of_each_group_may_run(entries: Sequence[Entry]) -> None:
        groups: defaultdict[tuple[str, str, str], list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.state in (State.WAITING, State.RUNNING):
                groups[entry.function, entry.source, entry.group].append(entry)
        for (_, _, group), live in groups.items():
            assert [entry.is_behind for entry in live] == [bool(group) and place > 0 for place in range(len(live))]

    @rule(known=st.sampled_from([f"e{number}" for number in range(12)]), state=st.sampled_from([None, *State]))
    def look(self, known: str, state: State | None) -> None:
        self.alike(lambda queue: queue.get(known))
        seen = [
            self.runner.run(queue.listing(state=state, function="f")).entries for queue in (self.memory, self.durable)
        ]
        assert seen[0] == seen[1]


TestTwins = Twins.TestCase
TestTwins.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
