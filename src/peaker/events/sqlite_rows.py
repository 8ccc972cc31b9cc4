"""What each call of the queue does to the rows of its file, within a transaction that the caller begins and ends.

What is asked often stands in memory beside the file (`Held`): how many events wait by function and source, which run,
which ended first. It is read from the file at its opening, and again after a transaction that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from peaker.clock import Clock
from peaker.events.keeping import (
    check_keys,
    check_room,
    cut,
    tell_dropped,
    with_attempt,
)
from peaker.events.queue import Attempt, Bounds, Lease, Line, Outcome, Put
from peaker.events.sqlite_columns import (
    BEHIND,
    DEAD,
    EVENT_COLUMNS,
    WAITING,
    event_of,
    event_values,
    history_of,
    history_text,
)
from peaker.events.sqlite_file import Database, Row
from peaker.events.sqlite_held import Held, Running
from peaker.messages import Event

_INSERT = f"INSERT INTO event ({EVENT_COLUMNS}, place, state, due_s, payload_bytes) VALUES ({', '.join('?' * 16)})"  # noqa: S608
_INSERT_LARGE = "INSERT INTO large_payload VALUES (?, ?)"
_DUE = (
    f"SELECT due_s, place, attempts, failures, not_started, lost, history, payload_bytes, {EVENT_COLUMNS} FROM event "  # noqa: S608
    "WHERE function = ? AND source = ? AND state = 0 AND due_s <= ? ORDER BY due_s, place LIMIT ?"
)
_DUE_COLUMNS_BEFORE = 8
_LEASED = "UPDATE event SET state = 2, token = ?, began_s = ?, until_s = ?, attempts = ? WHERE place = ?"
_FINISHED = (
    "UPDATE event SET state = 3, token = 0, ended_s = ?, ended_as = ?, history = ?, error = '', payload = x'', "
    "payload_bytes = 0 WHERE place = ?"
)
_HEAD = (
    "SELECT place, state FROM event INDEXED BY event_group "
    "WHERE function = ? AND source = ? AND grouped = ? AND grouped <> '' AND state < 3 ORDER BY place LIMIT 1"
)


class Rows:
    """The file's rows and what is held of them."""

    def __init__(self, database: Database, *, clock: Clock, bounds: Bounds) -> None:
        self._database = database
        self._execute = database.execute
        self._clock = clock
        self._bounds = bounds
        self.held = Held()

    def load(self) -> None:
        """Read what is held in memory anew. Serials go on: leases of this opening may still be out."""
        serial = self.held.serial
        self.held = Held.of(self._database)
        self.held.serial = max(serial, self.held.serial)

    def begin_serials(self) -> None:
        """Tokens of this opening are above those of every one before, also where some of those never came to disk."""
        self._execute("UPDATE kept_number SET value = (value / 4294967296 + 1) * 4294967296 WHERE name = 'serial'")
        self.held.serial = self._execute("SELECT value FROM kept_number WHERE name = 'serial'").fetchone()[0]

    # Accepting ------------------------------------------------------------------------------------------------------

    def put(self, events: Sequence[Event]) -> Put:
        """Accept all or none; the events are checked already."""
        now_s = self._clock.epoch_s()
        self._forget_keys(now_s)
        taken: dict[str, Event] = {}
        keys: dict[tuple[str, str, str], tuple[float, str]] = {}
        duplicates: dict[str, str] = {}
        for event in events:
            key = (event.function, event.source, event.dedup_key) if event.dedup_key and event.dedup_s else None
            if event.id in taken or self._knows(event.id):
                duplicates[event.id] = event.id
            elif key is not None and (earlier := self._holder(key) or keys.get(key, (0.0, ""))[1]):
                duplicates[event.id] = earlier
            else:
                taken[event.id] = event
                if key is not None:
                    keys[key] = (now_s + event.dedup_s, event.id)
        more_bytes = sum(len(event.payload) for event in taken.values())
        self._check_room(len(taken), more_bytes)
        check_keys(self._bounds, keys=self.held.keys, more=len(keys))
        if keys:
            rows = [(*key, until_s, holder) for key, (until_s, holder) in keys.items()]
            self._database.executemany("INSERT INTO dedup VALUES (?, ?, ?, ?, ?)", rows)
            self.held.keys += len(keys)
            self.held.next_key_s = min(self.held.next_key_s, *(until_s for until_s, _ in keys.values()))
        for event in taken.values():
            self._insert(event, now_s)
        return Put(accepted=tuple(taken), duplicates=duplicates)

    def _insert(self, event: Event, now_s: float) -> None:
        accepted = event if event.accepted_at_s else replace(event, accepted_at_s=now_s)
        place = self.held.next_place()
        size = len(event.payload)
        state = self._state_at_end_of_group(event.function, event.source, event.group)
        values = event_values(accepted)
        self._execute(_INSERT, (*values, place, state, max(event.not_before_s, now_s), size))
        if values[-1] is None:
            self._execute(_INSERT_LARGE, (place, event.payload))
        self.held.came(event.function, event.source, state, size)

    def _knows(self, event_id: str) -> bool:
        return self._execute("SELECT 1 FROM event WHERE id = ?", (event_id,)).fetchone() is not None

    def _holder(self, key: tuple[str, str, str]) -> str:
        held = "SELECT id FROM dedup WHERE function = ? AND source = ? AND key = ?"
        row = self._execute(held, key).fetchone()
        return row[0] if row else ""

    def _forget_keys(self, now_s: float) -> None:
        if self.held.keys and self.held.next_key_s <= now_s:
            self._execute("DELETE FROM dedup WHERE until_s <= ?", (now_s,))
            gone = self._execute("SELECT changes()").fetchone()[0]
            self.held.keys_ended(gone, self._execute("SELECT min(until_s) FROM dedup").fetchone()[0])

    def _check_room(self, more: int, more_bytes: int) -> None:
        check_room(
            self._bounds, events=self.held.live, payload_bytes=self.held.live_bytes, more=more, more_bytes=more_bytes
        )

    def _state_at_end_of_group(self, function: str, source: str, group: str) -> int:
        if not group:
            return WAITING
        return BEHIND if self._execute(_HEAD, (function, source, group)).fetchone() else WAITING

    def _step_forward(self, function: str, source: str, group: str) -> None:
        """The head of its group is gone: the next one may run."""
        if not group:
            return
        row = self._execute(_HEAD, (function, source, group)).fetchone()
        if row is not None and row[1] == BEHIND:
            self._execute("UPDATE event SET state = 0 WHERE place = ?", (row[0],))

    # Leasing --------------------------------------------------------------------------------------------------------

    def lease(
        self, function: str, *, at_most: int, lease_s: float, source: str | None, bytes_max: int | None
    ) -> list[Lease]:
        """Those due longest first; first what nobody holds any more is given back."""
        now_s = self._clock.epoch_s()
        self._take_back(function, now_s)
        due: list[Row] = []
        for known in self.held.sources_waiting(function):
            if source in (None, known):
                due += self._execute(_DUE, (function, known, now_s, at_most)).fetchall()
        due.sort(key=lambda row: (row[0], row[1]))
        leases: list[Lease] = []
        room = bytes_max
        for row in due[:at_most]:
            if room is not None:
                room -= row[7]
                if room < 0 and leases:
                    break
            leases.append(self._leased(row, now_s, now_s + lease_s))
        return leases

    def _leased(self, row: Row, now_s: float, until_s: float) -> Lease:
        _, place, attempts, failures, not_started, lost, history, size = row[:_DUE_COLUMNS_BEFORE]
        stored = row[_DUE_COLUMNS_BEFORE:]
        payload = stored[-1]
        is_large = payload is None
        if is_large:
            payload = self._execute("SELECT payload FROM large_payload WHERE place = ?", (place,)).fetchone()[0]
        event = event_of(stored, payload)
        token = self.held.next_serial()
        self._execute(_LEASED, (token, now_s, until_s, attempts + 1, place))
        self.held.runs(
            Running(
                id=event.id, place=place, token=token, began_s=now_s, until_s=until_s, attempt=attempts + 1,
                function=event.function, source=event.source, group=event.group, history=history,
                payload_bytes=size, is_large=is_large,
            )
        )  # fmt: skip
        return Lease(
            event=event, token=token, until_s=until_s, attempt=attempts + 1,
            failures=failures, not_started=not_started, lost=lost,
        )  # fmt: skip

    def _take_back(self, function: str, now_s: float) -> None:
        """Leases that ran out: the attempt is lost, the event waits again where it was."""
        for running in self.held.ran_out(function, now_s):
            history = self._history(running, Outcome.LOST, ended_s=running.until_s)
            self._execute(
                "UPDATE event SET state = 0, token = 0, lost = lost + 1, not_started = 0, history = ?, ended_s = ? "
                "WHERE place = ?",
                (history, now_s, running.place),
            )
            self.held.waits(running)

    def extend(self, leases: Sequence[Lease], lease_s: float) -> tuple[str, ...]:
        """A heartbeat."""
        until_s = self._clock.epoch_s() + lease_s

        def extend(running: Running) -> None:
            self._execute("UPDATE event SET until_s = ? WHERE place = ?", (until_s, running.place))
            running.until_s = until_s

        return self._each(leases, extend)

    def release(self, leases: Sequence[Lease]) -> tuple[str, ...]:
        """Not begun."""

        def release(running: Running) -> None:
            self._execute(
                "UPDATE event SET state = 0, token = 0, attempts = attempts - 1 WHERE place = ?", (running.place,)
            )
            self.held.waits(running)

        return self._each(leases, release)

    # Ending ---------------------------------------------------------------------------------------------------------

    def finish(self, leases: Sequence[Lease], request_id: str) -> tuple[str, ...]:
        """Done: the payload goes, the row stays for a while."""
        now_s = self._clock.epoch_s()

        def finish(running: Running) -> None:
            self.held.ended(running)
            if running.is_large:
                self._execute("DELETE FROM large_payload WHERE place = ?", (running.place,))
            if self._bounds.finished_max:
                history = self._history(running, Outcome.SUCCEEDED, ended_s=now_s, request_id=request_id)
                self._execute(_FINISHED, (now_s, self.held.next_serial(), history, running.place))
                self.held.finished.append(running.place)
            else:
                self._execute("DELETE FROM event WHERE place = ?", (running.place,))
            while len(self.held.finished) > self._bounds.finished_max:
                self._execute("DELETE FROM event WHERE place = ?", (self.held.finished.popleft(),))
            self._step_forward(running.function, running.source, running.group)

        return self._each(leases, finish)

    def retry(
        self, leases: Sequence[Lease], *, not_before_s: float, outcome: Outcome, error: str, request_id: str
    ) -> tuple[str, ...]:
        """Once more, later."""
        now_s = self._clock.epoch_s()
        counted = (
            "failures = failures + 1, not_started = 0" if outcome is Outcome.FAILED else "not_started = not_started + 1"
        )

        def retry(running: Running) -> None:
            history = self._history(running, outcome, ended_s=now_s, error=error, request_id=request_id)
            self._execute(
                f"UPDATE event SET state = 0, token = 0, due_s = ?, ended_s = ?, history = ?, {counted}, "  # noqa: S608
                "error = CASE ? WHEN '' THEN error ELSE ? END WHERE place = ?",
                (not_before_s, now_s, history, cut(error), cut(error), running.place),
            )
            self.held.waits(running)

        return self._each(leases, retry)

    def bury(
        self, leases: Sequence[Lease], *, reason: str, outcome: Outcome, error: str, request_id: str
    ) -> tuple[str, ...]:
        """Given up on; the oldest dead letters go where there is no room for it."""
        now_s = self._clock.epoch_s()

        def bury(running: Running) -> None:
            history = self._history(running, outcome, ended_s=now_s, error=error, request_id=request_id)
            self._execute(
                "UPDATE event SET state = 4, token = 0, ended_s = ?, ended_as = ?, history = ?, reason = ?, "
                "error = CASE ? WHEN '' THEN error ELSE ? END WHERE place = ?",
                (now_s, self.held.next_serial(), history, reason, cut(error), cut(error), running.place),
            )
            self.held.ended(running)
            self.held.died(running.place, running.payload_bytes)
            self._step_forward(running.function, running.source, running.group)
            self._make_room_for_dead()

        return self._each(leases, bury)

    def _make_room_for_dead(self) -> None:
        held = self.held
        while len(held.dead) > self._bounds.dead_max or (
            held.dead_bytes > self._bounds.dead_bytes_max and len(held.dead) > 1
        ):
            oldest = next(iter(held.dead))
            tell_dropped(
                *self._execute(
                    "SELECT id, function, source, reason, error FROM event WHERE place = ?", (oldest,)
                ).fetchone()
            )
            self._forget(oldest)
            held.rose(oldest)
            self._execute("UPDATE kept_number SET value = value + 1 WHERE name = 'dead_dropped'")

    def _forget(self, place: int) -> None:
        self._execute("DELETE FROM event WHERE place = ?", (place,))
        self._execute("DELETE FROM large_payload WHERE place = ?", (place,))

    @staticmethod
    def _history(running: Running, outcome: Outcome, *, ended_s: float, error: str = "", request_id: str = "") -> str:
        ended = Attempt(
            number=running.attempt, began_s=running.began_s, took_s=max(0.0, ended_s - running.began_s),
            outcome=outcome, error=cut(error), request_id=request_id or running.id,
        )  # fmt: skip
        return history_text(with_attempt(history_of(running.history), ended))

    def _each(self, leases: Sequence[Lease], act: Callable[[Running], None]) -> tuple[str, ...]:
        """Do it with each that is still held under its token; the ids of the others."""
        refused = []
        for lease in leases:
            running = self.held.running.get(lease.event.id)
            if running is not None and running.token == lease.token:
                act(running)
            else:
                refused.append(lease.event.id)
        return tuple(refused)

    # By a person's hand ---------------------------------------------------------------------------------------------

    def redrive(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Dead letters wait again, as if they had just been put."""
        now_s = self._clock.epoch_s()
        columns = "id, place, function, source, grouped, payload_bytes"
        dead = self._of(ids, columns, f"state = {DEAD}")
        self._check_room(len(dead), sum(row[5] for row in dead))
        for _, place, function, source, group, size in dead:
            state = self._state_at_end_of_group(function, source, group)
            new = self.held.next_place()
            self._execute(
                "UPDATE event SET place = ?, state = ?, due_s = ?, reason = '', "
                "attempts = 0, failures = 0, not_started = 0, lost = 0 WHERE place = ?",
                (new, state, now_s, place),
            )
            self._execute("UPDATE large_payload SET place = ? WHERE place = ?", (new, place))
            self.held.rose(place)
            self.held.came(function, source, state, size)
        return tuple(row[0] for row in dead)

    def discard(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Forget what waits or is dead."""
        gone = self._of(
            ids, "id, place, function, source, grouped, payload_bytes, state",
            f"state IN ({WAITING}, {BEHIND}, {DEAD})",
        )  # fmt: skip
        for _, place, function, source, group, size, state in gone:
            self._forget(place)
            if state == DEAD:
                self.held.rose(place)
            else:
                self.held.left(function, source, size)
                self._step_forward(function, source, group)
        return tuple(row[0] for row in gone)

    def _of(self, ids: Sequence[str], columns: str, condition: str) -> list[Row]:
        """Rows of those of `ids` that are in a state, in the order given."""
        statement = f"SELECT {columns} FROM event WHERE id = ? AND {condition}"  # noqa: S608
        found = (self._execute(statement, (known,)).fetchone() for known in dict.fromkeys(ids))
        return [row for row in found if row is not None]

    # Looking --------------------------------------------------------------------------------------------------------

    def lines(self, due_max: int) -> list[Line]:
        """What waits and runs by function and source."""
        now_s = self._clock.epoch_s()
        of_line = "FROM event WHERE function = ? AND source = ? AND state = 0"
        due_of = f"SELECT count(*) FROM (SELECT 1 {of_line} AND due_s <= ? LIMIT ?)"  # noqa: S608
        lines = []
        for (function, source), tally in sorted(self.held.lines.items()):
            first_due_s = self._execute(f"SELECT min(due_s) {of_line}", (function, source)).fetchone()[0]
            is_due = first_due_s is not None and first_due_s <= now_s
            due = self._execute(due_of, (function, source, now_s, due_max)).fetchone()[0] if is_due else 0
            lines.append(
                Line(
                    function=function, source=source, waiting=tally.waiting, running=tally.running, due=due,
                    first_due_s=first_due_s,
                )
            )  # fmt: skip
        return lines

    def next_moment(self) -> float | None:
        """The next due time or end of a lease."""
        moments = [running.until_s for running in self.held.running.values()]
        moments += [line.first_due_s for line in self.lines(1) if line.first_due_s is not None]
        return min(moments, default=None)
