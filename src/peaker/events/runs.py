"""One run for one event or batch, from its lease to its end in the queue."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from peaker.clock import Clock
from peaker.errors import QueueFull, QueueUnavailable
from peaker.events.invoking import Call, Invoke, Ran
from peaker.events.queue import Lease, Outcome, Queue
from peaker.events.tally import Tally
from peaker.messages import Event
from peaker.policy.dispatch import Lane, failed_of_batch
from peaker.policy.retry import Ending, GiveUp, History, Reason, give_up_before, next_step
from peaker.wire.batches import batch_payload, failures_named, is_stream, record_id
from peaker.wire.destination_record import SUCCESS, Ended, destination_record
from peaker.wire.lambda_errors import ASYNC_PAYLOAD_BYTES_MAX

_Result = TypeVar("_Result")

PARTIAL = "named in batchItemFailures"
_PAUSE_S = 0.1
_PAUSE_S_MAX = 5.0

_logger = logging.getLogger("peaker.events")

_OUTCOMES = {
    Ending.FAILED: Outcome.FAILED,
    Ending.NOT_STARTED: Outcome.NOT_STARTED,
    Ending.REFUSED: Outcome.NOT_STARTED,
}


@dataclass(slots=True, eq=False)
class Run:
    """What is held for one run; `until_s` (monotonic) is when the function's time is over at the latest.

    `line` is function and source, `ids` those of all events that were leased; `leases` of those that are to be run.
    """

    lane: Lane
    leases: list[Lease]
    until_s: float
    line: tuple[str, str]
    request_id: str = ""
    ran: Ran | None = None
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Before any of them is found to be too old."""
        self.ids = tuple(lease.event.id for lease in self.leases)


class Runs:
    """Runs leases and ends them. It decides nothing itself: policy/retry.py and policy/dispatch.py do."""

    def __init__(
        self,
        queue: Queue,
        invoke: Invoke,
        *,
        clock: Clock,
        chance: random.Random,
        arn_of: Callable[[str, str], str],
        tally: Tally,
    ) -> None:
        self._queue = queue
        self._invoke = invoke
        self._clock = clock
        self._chance = chance
        self._arn_of = arn_of
        self.tally = tally

    async def prepare(self, run: Run) -> bool:
        """Bury what is not to be tried at all; False where nothing is left."""
        now_s = self._clock.epoch_s()
        left = []
        for lease in run.leases:
            reason = give_up_before(
                age_s=now_s - lease.event.accepted_at_s, hops=lease.event.hops, rules=run.lane.rules
            )
            if reason is None:
                left.append(lease)
            else:
                await self._bury(run, lease, reason, Ran(ending=Ending.REFUSED, error=_why(reason, run.lane)))
        run.leases[:] = left
        is_batch = bool(run.lane.batch_size)
        run.request_id = str(uuid.UUID(int=self._chance.getrandbits(128), version=4)) if is_batch else ""
        return bool(left)

    async def invoke(self, run: Run) -> None:
        """Have the function run; `run.ran` is how that went."""
        self.tally.started += len(run.leases)
        event = run.leases[0].event
        if run.lane.batch_size:
            payload = batch_payload(
                [lease.event.payload for lease in run.leases], [lease.attempt for lease in run.leases]
            )
        else:
            payload, run.request_id = event.payload, event.id
        run.ran = await self._invoke.run(
            Call(
                function=event.function,
                payload=payload,
                request_id=run.request_id,
                timeout_s=run.lane.timeout_s,
                qualifier=event.qualifier,
                headers=event.headers,
                failures=run.leases[0].failures,
                is_again=run.leases[0].lost + run.leases[0].not_started > 0,
            )
        )

    async def end(self, run: Run) -> None:
        """Write down what came of it, in the queue."""
        ran = run.ran
        assert ran is not None
        if ran.host_is_away:
            await self._lasting(lambda: self._queue.release(run.leases))
            return
        failed = self._failed(run, ran)
        fine = [lease for place, lease in enumerate(run.leases) if place not in failed]
        if fine:
            await self._finish(run, fine, ran)
        if failed and ran.ending is Ending.SUCCEEDED:
            ran = Ran(ending=Ending.FAILED, error=PARTIAL, answer=ran.answer, executed_version=ran.executed_version)
        for place in sorted(failed):
            await self._again(run, run.leases[place], ran)

    @staticmethod
    def _failed(run: Run, ran: Ran) -> frozenset[int]:
        if ran.ending is not Ending.SUCCEEDED:
            return frozenset(range(len(run.leases)))
        if not (run.lane.batch_size and run.lane.takes_partial):
            return frozenset()
        named = failures_named(ran.answer or b"")
        if named == []:
            return frozenset()
        records = [lease.event.payload for lease in run.leases]
        ids = [record_id(record, place) for place, record in enumerate(records)]
        return failed_of_batch(named, ids, from_first=is_stream(records[0]))

    async def _finish(self, run: Run, leases: Sequence[Lease], ran: Ran) -> None:
        if run.lane.on_success:
            await self._deliver(run.lane, run.lane.on_success, leases[0], SUCCESS, ran)
        late = await self._lasting(lambda: self._queue.finish(leases, request_id=run.request_id))
        self.tally.finished += len(leases) - len(late)
        self.tally.late += len(late)

    async def _again(self, run: Run, lease: Lease, ran: Ran) -> None:
        """It was not done: try it again later, or give it up."""
        if ran.ending is Ending.FAILED:
            self.tally.failed += 1
        else:
            self.tally.not_started += 1
        history = History(
            failures=lease.failures + (ran.ending is Ending.FAILED),
            not_started=lease.not_started + 1,
            age_s=self._clock.epoch_s() - lease.event.accepted_at_s,
        )
        step = next_step(ran.ending, history, rules=run.lane.rules, chance=self._chance.random())
        if isinstance(step, GiveUp):
            await self._bury(run, lease, ran.reason or step.reason, ran)
            return
        not_before_s = self._clock.epoch_s() + step.after_s
        late = await self._lasting(
            lambda: self._queue.retry(
                [lease],
                not_before_s=not_before_s,
                outcome=_OUTCOMES[ran.ending],
                error=ran.error,
                request_id=run.request_id,
            )
        )
        self.tally.retried += not late
        self.tally.late += len(late)

    async def _bury(self, run: Run, lease: Lease, reason: Reason, ran: Ran) -> None:
        event = lease.event
        if run.lane.on_failure:
            await self._deliver(run.lane, run.lane.on_failure, lease, reason.value, ran)
        late = await self._lasting(
            lambda: self._queue.bury(
                [lease],
                reason=reason.value,
                outcome=_OUTCOMES[ran.ending],
                error=ran.error,
                request_id=run.request_id or event.id,
            )
        )
        self.tally.late += len(late)
        if not late:
            self.tally.dead += 1
            told = f"{event.function} {event.id} from {event.source} is a dead letter: {reason.value}: {ran.error}"
            _logger.warning("%s", told, extra={"action": "event"})

    async def _deliver(self, lane: Lane, target: str, lease: Lease, condition: str, ran: Ran) -> None:
        """Put the record of an event that ends as an event for its destination, before it ends.

        Killed in between, it is put again: the id it is made of the lease keeps the second of the same lease out.
        """
        event = lease.event
        record = destination_record(
            Ended(
                request_id=event.id,
                function_arn=self._arn_of(event.function, event.qualifier),
                condition=condition,
                invoke_count=lease.failures + lease.lost + (ran.answer is not None),
                payload=event.payload,
                epoch_s=self._clock.epoch_s(),
                answer=ran.answer,
                function_error=ran.function_error,
                executed_version=ran.executed_version,
            )
        )
        if len(record) > ASYNC_PAYLOAD_BYTES_MAX:
            self._undelivered(event, target, f"the record has {len(record)} bytes; allowed: {ASYNC_PAYLOAD_BYTES_MAX}")
            return
        digest = hashlib.sha256(f"{event.id}/{lease.token}/{condition}".encode()).digest()
        following = Event(
            id=str(uuid.UUID(bytes=digest[:16], version=4)),
            function=target.removeprefix("function:"),
            payload=record,
            source=f"destination/{event.function}",
            headers=event.headers,
            # One run more is allowed for being told that there were too many; a chain that goes on from there ends.
            hops=min(event.hops + 1, lane.rules.hops_max - 1),
        )
        try:
            await self._lasting(lambda: self._queue.put([following]))
        except QueueFull as error:
            self._undelivered(event, target, str(error))
        else:
            self.tally.accepted += 1
            self.tally.delivered += 1

    def _undelivered(self, event: Event, target: str, why: str) -> None:
        self.tally.undelivered += 1
        _logger.error("the record of %s for %s is lost: %s", event.id, target, why, extra={"action": "event"})

    async def _lasting(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """Until the disk takes it: nothing was changed by a call that failed, and making it again is right."""
        pause_s = _PAUSE_S
        while True:
            try:
                return await call()
            except QueueUnavailable as error:
                _logger.error("the queue cannot be written, trying again: %s", error, extra={"action": "event"})  # noqa: TRY400
                await asyncio.sleep(pause_s)
                pause_s = min(_PAUSE_S_MAX, pause_s * 2)


def _why(reason: Reason, lane: Lane) -> str:
    if reason is Reason.RECURSIVE_LOOP:
        return f"{lane.rules.hops_max} runs in a row have led to it, as many as may (events.hops_max)."
    return f"it is older than {lane.rules.age_s_max:g} s."
