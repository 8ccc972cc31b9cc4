"""Runs for events that are asked for again, on a virtual clock."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from peaker.functions.event_runs import KEPT_MAX, KEPT_S_MAX, EventRuns
from peaker.functions.invocations import Ran, no_caller
from peaker.functions.prepared import Prepared
from peaker.testing.virtual_loop import VirtualLoop, run_virtual
from peaker.wire.lambda_errors import InvokeApiError, too_many_requests


class Host:
    """Runs take a second and answer with how many there were before."""

    def __init__(self) -> None:
        clock = asyncio.get_running_loop()
        assert isinstance(clock, VirtualLoop)
        self.begun = 0
        self.refuses = False
        self.runs = EventRuns(self._run, clock)

    async def _run(self, _: Prepared, __: Any) -> Ran:
        if self.refuses:
            raise too_many_requests("x", "no room.")
        self.begun += 1
        payload = str(self.begun).encode()
        await asyncio.sleep(1)
        return Ran(payload=payload)

    async def ask(self, event: str = "e1", number: str = "0", *, again: bool = False) -> bytes:
        prepared = cast("Prepared", SimpleNamespace(request_id=event))
        return (await self.runs.run(prepared, number, is_again=again, set_on_gone=no_caller)).payload


def test_who_asks_again_is_given_the_run_that_is_under_way_though_its_first_caller_is_gone() -> None:
    async def main() -> None:
        host = Host()
        first = asyncio.create_task(host.ask())
        await asyncio.sleep(0.5)
        first.cancel()
        assert await host.ask(again=True) == b"1"
        assert host.begun == 1

    run_virtual(main)


def test_who_asks_again_after_its_end_is_given_its_answer_for_a_while() -> None:
    async def main() -> None:
        host = Host()
        await host.ask()
        await asyncio.sleep(KEPT_S_MAX - 10)
        assert await host.ask(again=True) == b"1"
        await host.ask("other")
        await asyncio.sleep(KEPT_S_MAX)
        await host.ask("another")  # The end of a run is when old ones are forgotten.
        assert await host.ask(again=True) == b"4"

    run_virtual(main)


def test_what_is_asked_for_the_first_time_is_run_whatever_is_known() -> None:
    async def main() -> None:
        host = Host()
        assert await host.ask() == b"1"
        assert await host.ask() == b"2"  # A dead letter that was sent again has no failures against it.
        assert await host.ask(number="1", again=True) == b"3"  # One more has failed since.
        assert await host.ask(again=True) == b"2"

    run_virtual(main)


def test_what_was_not_started_is_not_known() -> None:
    async def main() -> None:
        host = Host()
        host.refuses = True
        with pytest.raises(InvokeApiError):
            await host.ask()
        host.refuses = False
        assert await host.ask(again=True) == b"1"

    run_virtual(main)


def test_answers_are_known_of_so_many_runs_and_no_more() -> None:
    async def main() -> None:
        host = Host()
        await asyncio.gather(*(host.ask(f"e{number}") for number in range(KEPT_MAX + 5)))
        before = host.begun
        await host.ask("e0", again=True)
        await host.ask(f"e{KEPT_MAX + 4}", again=True)
        assert host.begun == before + 1

    run_virtual(main)
