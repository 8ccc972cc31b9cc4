"""Shards of a change stream that end and have children, as DynamoDB has them and moto has not; and restarts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from peaker.aws_calls.client import AwsClient, AwsRefused
from peaker.clock import SystemClock
from peaker.events.invoking import Call, Ran
from peaker.events.sources.source import Condition, Surroundings
from peaker.events.sources.table import TableSource
from peaker.messages import Event
from peaker.settings import Settings
from peaker.triggers import TriggerSection

STREAM = "arn:aws:dynamodb:us-east-1:123456789012:table/carts/stream/2030"
WITHIN_S = 30.0
LONG_AGO_S = 1_000_000_000


class Streams:
    """DynamoDB's side: shards of sequence numbers, `closed` ones end; an iterator is a shard and a place in it."""

    def __init__(self) -> None:
        self.shards: dict[str, list[int]] = {"parent": [1, 2, 3]}
        self.parents: dict[str, str] = {}
        self.closed: set[str] = set()
        self.has_expired = False

    async def json(self, service: str, operation: str, fields: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        assert service in ("streams", "dynamodb")
        return cast("dict[str, Any]", getattr(self, f"_{operation}")(fields))

    def _DescribeTable(self, _: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 - the operation's own name
        return {"Table": {"StreamSpecification": {"StreamEnabled": True}, "LatestStreamArn": STREAM}}

    def _DescribeStream(self, fields: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        """One shard a page."""
        names = list(self.shards)
        at = names.index(fields["ExclusiveStartShardId"]) + 1 if "ExclusiveStartShardId" in fields else 0
        name = names[at]
        shard = {"ShardId": name} | ({"ParentShardId": self.parents[name]} if name in self.parents else {})
        following = {"LastEvaluatedShardId": name} if at + 1 < len(names) else {}
        return {"StreamDescription": {"Shards": [shard], **following}}

    def _GetShardIterator(self, fields: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        numbers = self.shards[fields["ShardId"]]
        kind = fields["ShardIteratorType"]
        place = 0 if kind == "TRIM_HORIZON" else numbers.index(int(fields["SequenceNumber"])) + 1
        return {"ShardIterator": f"{fields['ShardId']}/{place}"}

    def _GetRecords(self, fields: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        if self.has_expired:
            self.has_expired = False
            raise AwsRefused("ExpiredIteratorException", "too old", status=400, where="GetRecords")
        name, _, place = fields["ShardIterator"].partition("/")
        numbers = self.shards[name][int(place) :][:2]
        records = [
            {"eventID": str(number), "eventName": "INSERT", "dynamodb": {
                "SequenceNumber": str(number), "Keys": {"id": {"S": "one"}},
                "ApproximateCreationDateTime": LONG_AGO_S if number <= 3 else time.time()}} for number in numbers
        ]  # fmt: skip
        after = int(place) + len(numbers)
        is_over = name in self.closed and after >= len(self.shards[name])
        return {"Records": records} | ({} if is_over else {"NextShardIterator": f"{name}/{after}"})


class NoFunctions:
    async def run(self, call: Call) -> Ran:
        raise AssertionError(call)

    def is_there(self) -> bool:
        return True


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def put(self, event: Event) -> str:
        self.events.append(event)
        return event.id

    @property
    def numbers(self) -> list[int]:
        return [int(json.loads(event.payload)["dynamodb"]["SequenceNumber"]) for event in self.events]


def source(streams: Streams, kept: Kept, path: Path, position: str = "TRIM_HORIZON") -> TableSource:
    around = Surroundings(
        settings=Settings(),
        put=kept.put,
        invoke=NoFunctions(),
        client=cast("AwsClient", streams),
        clock=SystemClock(),
        positions=path,
    )
    return TableSource(TriggerSection(table="carts", starting_position=position), "f", around)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - nothing tells when a list grows
            await asyncio.sleep(0.01)


def test_a_child_is_read_after_its_parents_end_and_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        streams, kept = Streams(), Kept()
        first = source(streams, kept, tmp_path / "positions")
        first.start()
        await until(lambda: len(kept.events) == 3)
        await first.stop(1)
        streams.shards |= {"child": [10, 11, 12]}
        streams.parents["child"] = "parent"
        streams.shards["parent"].append(4)
        streams.closed.add("parent")
        again = source(streams, kept, tmp_path / "positions")
        again.start()
        await until(lambda: len(kept.events) == 7)
        await again.stop(1)
        assert kept.numbers == [1, 2, 3, 4, 10, 11, 12]
        assert {event.group for event in kept.events} == {kept.events[0].group}
        assert again.describe()["taken"] == 4

    asyncio.run(main())


def test_an_iterator_that_has_expired_is_made_anew_at_the_same_place(tmp_path: Path) -> None:
    async def main() -> None:
        streams, kept = Streams(), Kept()
        running = source(streams, kept, tmp_path / "positions")
        running.start()
        await until(lambda: len(kept.events) == 3)
        streams.has_expired = True
        await until(lambda: running.condition is Condition.FAILING)
        assert "ExpiredIteratorException" in running.describe()["error"]
        streams.shards["parent"].append(4)
        await until(lambda: len(kept.events) == 4)
        await running.stop(1)
        assert kept.numbers == [1, 2, 3, 4]

    asyncio.run(main())


def test_the_latest_is_what_comes_after_the_first_start_of_all_whatever_is_between(tmp_path: Path) -> None:
    """1. a first start sees old changes, 2. others come while nothing runs, to a new child too, 3. those are seen."""

    async def main() -> None:
        streams, kept = Streams(), Kept()
        first = source(streams, kept, tmp_path / "positions", position="LATEST")
        first.start()
        await until(lambda: first.condition is Condition.LISTENING)
        await first.stop(1)
        streams.shards["parent"].append(4)
        streams.closed.add("parent")
        streams.shards |= {"child": [10]}
        streams.parents["child"] = "parent"
        again = source(streams, kept, tmp_path / "positions", position="LATEST")
        again.start()
        await until(lambda: len(kept.events) == 2)
        await again.stop(1)
        assert kept.numbers == [4, 10]

    asyncio.run(main())
