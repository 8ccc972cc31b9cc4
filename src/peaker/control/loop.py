"""The control loop: observe, decide, act, write down. Once every `servers.decide_every_s`.

All that decides is in `policy/course.py`. The loop asks the fleet for a number of servers and no more; whoever has the
servers goes on serving when it dies, and the next one goes on from `baseline.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

from peaker.clock import Clock
from peaker.control.journal import BEGAN, CHANGED, HELD, KEPT, RELEASED, STARTED, Journal, reasons
from peaker.control.observe import Observation, Observer, StartTimes
from peaker.engines.local.hold import read_hold
from peaker.engines.local.state_dir import write_private
from peaker.errors import CapacityUnavailable, PeakerError, StateError
from peaker.interfaces import Fleet
from peaker.policy.course import Course, Step, StepSeen
from peaker.policy.steering import HeldBy
from peaker.state import StateDirectory

SAVE_S = 60.0
LOOK_S = 1.0
"""How often it looks whether a server that starts is ready."""

FILE_BYTES_MAX = 16_000_000

_logger = logging.getLogger("peaker.control")


class Loop:
    """Steers the servers of one app."""

    def __init__(
        self,
        state: StateDirectory,
        *,
        observer: Observer,
        course: Course,
        fleet: Fleet,
        functions_may_run: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._state = state
        self._observer = observer
        self._course = course
        self._fleet = fleet
        self._functions_may_run = functions_may_run
        self._clock = clock
        self._journal = Journal(state)
        self._starts = StartTimes()
        self._held: int | None = None
        self._held_by = HeldBy.NOTHING
        self._saved_s = clock.now_s()

    async def run(self, until: asyncio.Event) -> None:
        """Step after step, until the event is set; then keep what was learned."""
        self._begin()
        every_s = self._course.terms.step_s
        next_s = self._clock.now_s()
        while not until.is_set():
            if self._clock.now_s() >= next_s:
                await self._step_or_say()
                # The moments stay apart by whole steps; those that were missed are not made up for.
                next_s += every_s * max(1, 1 + int((self._clock.now_s() - next_s) / every_s))
            elif self._starts.is_under_way:
                await self._look_at_starts()
            wait_s = max(0.0, next_s - self._clock.now_s())
            if self._starts.is_under_way:
                wait_s = min(wait_s, LOOK_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await until.wait()
        self._save_or_say()

    async def step(self) -> Step:
        """One step: see, decide, ask for servers if it is another number than there is.

        Raises:
            StateError: run.json or hold.json cannot be read; nothing was decided.
        """
        observation = await self._observer.observe()
        held = self._read_held(observation)
        step = self._course.step(
            StepSeen(
                now_s=observation.now_s,
                epoch_s=observation.epoch_s,
                load=observation.load,
                ready=observation.ready,
                starting=observation.starting,
                asked=observation.asked,
                held_servers=held,
                functions_may_run=self._functions_may_run(),
                functions_usd=observation.functions_usd,
                functions_requests=observation.functions_requests,
                request_usd_guess=observation.request_usd_guess,
            )
        )
        if step.judged is not None:
            self._journal.judged(observation.epoch_s, step.judged)
        held_by = await self._act(observation, step) if held is None else step.steered.held_by
        self._tell_kept(observation, step, held_by)
        self._journal.observed(observation, step, self._course, held)
        if observation.now_s - self._saved_s >= SAVE_S:
            self._save_or_say()
        return step

    async def _act(self, observation: Observation, step: Step) -> HeldBy:
        """Ask for the servers; gives what holds it back in the end."""
        before, after = observation.asked, step.steered.servers
        if after == before:
            return step.steered.held_by
        try:
            await self._fleet.set_server_count(after)
        except CapacityUnavailable as error:
            if self._held_by is not HeldBy.UNREACHABLE:
                _logger.warning("servers: %d wanted, %d stay: %s", after, before, error, extra={"action": "scale"})
            return HeldBy.UNREACHABLE
        if after > before:
            self._starts.asked(observation.now_s)
        ended = self._course.changed(before, after, step, now_s=observation.now_s, epoch_s=observation.epoch_s)
        if ended is not None:
            self._journal.judged(observation.epoch_s, ended)
        fields = {"number": self._course.counts.changes, "before": before, "after": after, **reasons(step)}
        fields["may_spill"] = self._course.terms.may_spill
        self._journal.decided(CHANGED, observation.epoch_s, **fields)
        self._save_or_say()
        return step.steered.held_by

    def _tell_kept(self, observation: Observation, step: Step, held_by: HeldBy) -> None:
        """Something begins to hold back what is wanted: a line once, not each step."""
        is_news = held_by is not self._held_by and held_by not in (HeldBy.NOTHING, HeldBy.PAUSED)
        self._held_by = held_by
        # What spend or bounds have changed stands in the line of the change itself.
        if is_news and (step.steered.servers == observation.asked or held_by is HeldBy.UNREACHABLE):
            fields = {**reasons(step), "held_by": held_by.value}
            self._journal.decided(KEPT, observation.epoch_s, servers=observation.asked, **fields)

    def _read_held(self, observation: Observation) -> int | None:
        hold = read_hold(self._state)
        held = hold.servers if hold is not None else None
        if held != self._held:
            kind = RELEASED if held is None else HELD
            self._journal.decided(kind, observation.epoch_s, servers=held if held is not None else observation.asked)
            self._held = held
        return held

    async def _step_or_say(self) -> None:
        try:
            await self.step()
        except (PeakerError, OSError) as error:
            # Servers stay as they are; the next step looks again.
            _logger.error("nothing was decided: %s", error, extra={"action": "decide"})  # noqa: TRY400
            return
        await self._look_at_starts()

    async def _look_at_starts(self) -> None:
        try:
            servers = await self._fleet.servers()
        except CapacityUnavailable:
            return  # The step tells of it.
        now_s, epoch_s = self._clock.now_s(), self._clock.epoch_s()
        for took_s in self._starts.see(servers, now_s=now_s, epoch_s=epoch_s):
            self._course.started(took_s)
            self._journal.decided(STARTED, epoch_s, took_s=took_s, start_s=self._course.start_s)

    def _begin(self) -> None:
        now_s, epoch_s, note = self._clock.now_s(), self._clock.epoch_s(), ""
        is_restored = False
        try:
            if (saved := _read(self._state)) is not None:
                self._course.restore(saved, now_s=now_s, epoch_s=epoch_s)
                is_restored = True
        except StateError as error:
            note = str(error)
            _logger.warning("%s It is learned anew.", error, extra={"action": "restore"})
        try:
            hold = read_hold(self._state)
            self._held = hold.servers if hold is not None else None
        except StateError:
            pass  # Each step reads it, and says so.
        self._journal.decided(BEGAN, epoch_s, policy=self._course.terms.policy, restored=is_restored, note=note)

    def _save_or_say(self) -> None:
        now_s = self._saved_s = self._clock.now_s()
        document = self._course.state(now_s=now_s, epoch_s=self._clock.epoch_s())
        try:
            write_private(self._state.baseline, json.dumps(document, separators=(",", ":")) + "\n")
        except OSError as error:
            _logger.error("what was learned cannot be kept: %s", error, extra={"action": "save"})  # noqa: TRY400


def _read(state: StateDirectory) -> dict[str, Any] | None:
    """What was kept; None before anything was. Raises StateError where it cannot be used."""
    try:
        if state.baseline.stat().st_size > FILE_BYTES_MAX:
            raise StateError(f"it is larger than {FILE_BYTES_MAX} bytes.", where=str(state.baseline))
        document = json.loads(state.baseline.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(f"what was learned cannot be read: {error}.", where=str(state.baseline)) from error
    if not isinstance(document, dict):
        raise StateError("what was learned is no object.", where=str(state.baseline))
    return document
