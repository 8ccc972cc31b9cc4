"""What the durable queue holds in memory of its file, so that it need not ask for it each time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from peaker.events.sqlite_columns import DEAD, FINISHED, RUNNING
from peaker.events.sqlite_file import Database


@dataclass(slots=True, kw_only=True)
class Running:
    """One event that is leased."""

    id: str
    place: int
    token: int
    began_s: float
    until_s: float
    attempt: int
    function: str
    source: str
    group: str
    history: str
    payload_bytes: int
    is_large: bool


@dataclass(slots=True)
class Tally:
    """Of one function and source; `waiting` includes those behind another of their group."""

    waiting: int = 0
    running: int = 0


@dataclass(slots=True)
class Held:
    """Counts, the running ones by id, and the ended ones in the order in which they ended."""

    place: int = 0
    serial: int = 0
    live: int = 0
    live_bytes: int = 0
    keys: int = 0
    next_key_s: float = math.inf
    dead_bytes: int = 0
    no_end_before_s: float = -math.inf
    """No lease runs out earlier, so that nobody looks through them until then."""

    lines: dict[tuple[str, str], Tally] = field(default_factory=dict[tuple[str, str], Tally])
    running: dict[str, Running] = field(default_factory=dict[str, Running])
    finished: deque[int] = field(default_factory=deque[int])
    dead: dict[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def of(cls, database: Database) -> Held:
        """As the file has it now."""
        held = cls()
        held.place = database.execute("SELECT coalesce(max(place), 0) FROM event").fetchone()[0]
        held.serial = max(
            database.execute("SELECT value FROM kept_number WHERE name = 'serial'").fetchone()[0],
            database.execute("SELECT coalesce(max(max(token, ended_as)), 0) FROM event").fetchone()[0],
        )
        by_line = (
            "SELECT function, source, state, count(*), sum(payload_bytes) FROM event WHERE state < 3 GROUP BY 1, 2, 3"
        )
        for function, source, state, events, size in database.execute(by_line).fetchall():
            held.came(function, source, state, size, events)
        of_running = (
            "SELECT id, place, token, began_s, until_s, attempts, function, source, grouped, history, payload_bytes, "
            "payload IS NULL FROM event WHERE state = ?"
        )
        names = tuple(Running.__dataclass_fields__)
        for row in database.execute(of_running, (RUNNING,)).fetchall():
            running = Running(**dict(zip(names, row, strict=True)))
            held.running[running.id] = running
        ended = "SELECT place, payload_bytes FROM event WHERE state = ? ORDER BY ended_as"
        held.finished.extend(row[0] for row in database.execute(ended, (FINISHED,)).fetchall())
        for place, size in database.execute(ended, (DEAD,)).fetchall():
            held.died(place, size)
        held.keys, next_s = database.execute("SELECT count(*), min(until_s) FROM dedup").fetchone()
        held.keys_ended(0, next_s)
        return held

    def keys_ended(self, gone: int, next_s: float | None) -> None:
        """Deduplication keys less, and when the next of them ends."""
        self.keys -= gone
        self.next_key_s = math.inf if next_s is None else next_s

    def next_place(self) -> int:
        """The end of the queue."""
        self.place += 1
        return self.place

    def next_serial(self) -> int:
        """Larger than any before."""
        self.serial += 1
        return self.serial

    def sources_waiting(self, function: str) -> list[str]:
        """Where anything of this function waits."""
        return [source for (of, source), tally in self.lines.items() if of == function and tally.waiting]

    def ran_out(self, function: str, now_s: float) -> list[Running]:
        """Leases of a function that are over."""
        if now_s < self.no_end_before_s:
            return []
        over = [running for running in self.running.values() if running.until_s <= now_s]
        if not over:
            self.no_end_before_s = min((running.until_s for running in self.running.values()), default=math.inf)
        return [running for running in over if running.function == function]

    def came(self, function: str, source: str, state: int, size: int, events: int = 1) -> None:
        """Live ones more."""
        tally = self.lines.setdefault((function, source), Tally())
        if state == RUNNING:
            tally.running += events
        else:
            tally.waiting += events
        self.live += events
        self.live_bytes += size

    def runs(self, running: Running) -> None:
        """It waited and runs."""
        self.running[running.id] = running
        self.no_end_before_s = min(self.no_end_before_s, running.until_s)
        tally = self.lines[running.function, running.source]
        tally.waiting -= 1
        tally.running += 1

    def waits(self, running: Running) -> None:
        """It ran and waits again."""
        del self.running[running.id]
        tally = self.lines[running.function, running.source]
        tally.running -= 1
        tally.waiting += 1

    def ended(self, running: Running) -> None:
        """It ran and is no longer live."""
        self.waits(running)
        self.left(running.function, running.source, running.payload_bytes)

    def left(self, function: str, source: str, size: int) -> None:
        """It waited and is no longer live."""
        tally = self.lines[function, source]
        tally.waiting -= 1
        if not (tally.waiting or tally.running):
            del self.lines[function, source]
        self.live -= 1
        self.live_bytes -= size

    def died(self, place: int, size: int) -> None:
        """A dead letter more."""
        self.dead[place] = size
        self.dead_bytes += size

    def rose(self, place: int) -> None:
        """A dead letter less."""
        self.dead_bytes -= self.dead.pop(place)
