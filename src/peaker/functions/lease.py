"""One instance of a pool for one invocation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from peaker.functions.launcher import InstanceDied, Outcome
from peaker.functions.starting import RunningInstance
from peaker.functions.stream import ResponseStream

if TYPE_CHECKING:
    from peaker.functions.pool import Pool


class InstanceState(Enum):
    """STARTING -> BUSY <-> IDLE; all -> ENDING; all -> GONE, which only the end of the process brings.

    An instance that is still being forked has no state yet.
    """

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class HeldInstance:
    """An instance and what its pool knows of it; `used` once it has run an invocation."""

    instance: RunningInstance
    state: InstanceState
    idle_since_s: float
    used: bool = False


class Lease:
    """One instance for one invocation; ends with `run` or with `release`."""

    def __init__(self, pool: Pool, held: HeldInstance, *, cold: bool) -> None:
        self._pool = pool
        self._held = held
        self.cold = cold

    @property
    def instance(self) -> RunningInstance:
        """The one that was got."""
        return self._held.instance

    async def run(
        self,
        payload: bytes,
        *,
        request_id: str,
        headers: Mapping[str, str] | None = None,
        stream: ResponseStream | None = None,
    ) -> Outcome:
        """Run the invocation and give the instance back.

        A caller that goes away does not stop it: the instance is used up, billed and reused. Cancelling this kills it.

        Raises:
            InstanceDied: it crashed, ran out of memory or was killed at `timeout_s`.
        """
        pool, held = self._pool, self._held
        pool.totals.invocations += 1
        pool.totals.cold_starts += self.cold
        held.used = True
        try:
            overhead_s = pool.overhead_s()
            if overhead_s:
                await asyncio.sleep(overhead_s)
            outcome = await held.instance.run(
                payload,
                request_id=request_id,
                deadline_s=pool.deadline_s(),
                headers=headers,
                cold=self.cold,
                stream=stream,
            )
        except InstanceDied as error:
            pool.note_death(held, error)
            raise
        except BaseException:
            held.instance.kill()  # The answer still to come would belong to nobody.
            pool.give_back(held)
            raise
        held.instance.when_free(lambda: pool.give_back(held))
        return outcome

    def release(self) -> None:
        """Give the instance back unused."""
        self._pool.give_back(self._held)
