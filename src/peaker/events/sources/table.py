"""Changes of a DynamoDB table, for one function, in order for each key.

A stream is read shard by shard, parents before their children. Each change becomes an event in the durable queue, in
the group of its key, and only then is the position moved on: killed in between, the same changes are read again and
known by their ids. So a change that fails holds up those of its own key and no others; it is tried again as every event
is, and is a dead letter after that. (On Lambda it would hold up its whole shard until it succeeds or is a day old.)

Source: Amazon DynamoDB Streams API, DescribeStream, GetShardIterator, GetRecords.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from peaker.aws_calls.client import TIMEOUT_S, AwsRefused
from peaker.aws_calls.resources import stream_of
from peaker.errors import PeakerError
from peaker.events.sources.inbox import event_id
from peaker.events.sources.positions import Positions
from peaker.events.sources.source import Source, Surroundings
from peaker.local_aws_section import LOCAL
from peaker.messages import Event
from peaker.triggers import TriggerSection
from peaker.wire import dynamodb
from peaker.wire.aws_event import to_payload

RECORDS_MAX = 100
WAIT_S = 20
"""Peaker's own stand-in holds an empty answer back for this long; others answer at once, and are asked each second."""
ASK_AGAIN_S = 1.0
END = "end"
_TRIMMED = "TrimmedDataAccessException"


class NoTable(PeakerError):  # noqa: N818 - named for what is known
    """There is no such table, or it has no stream."""


class TableSource(Source):
    """One table that starts one function."""

    def __init__(self, trigger: TriggerSection, function: str, around: Surroundings) -> None:
        super().__init__(f"table/{trigger.table}", around)
        self._trigger = trigger
        self._function = function
        self._positions: Positions | None = None
        self._stream = ""
        self._from_s = 0
        self._iterators: dict[str, str] = {}
        """Of each shard that is read now."""

    def describe(self) -> dict[str, Any]:
        """As every source, and the function."""
        return {**super().describe(), "function": self._function}

    async def join(self) -> None:
        """Find the stream and go on where it was left; raises NoTable where there is none (yet)."""
        if self._positions is None:
            self._positions = await asyncio.to_thread(Positions, self.around.positions)
        self._stream = await stream_of(self.around.aws, self._trigger.table)
        if not self._stream:
            raise NoTable(
                f"there is no table {self._trigger.table!r}.", where=self.name, remedy="[local_aws.tables] makes it."
            )
        self._from_s = await self._first_moment()
        self._iterators = {}
        await self._open_shards()
        self._is_well()

    async def read(self) -> None:
        """Ask every open shard once."""
        wait_s = WAIT_S if len(self._iterators) == 1 else 0
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        was_empty = True
        for shard in list(self._iterators):
            was_empty = not await self._read_shard(shard, wait_s) and was_empty
        if was_empty:
            await asyncio.sleep(max(0.0, ASK_AGAIN_S - (loop.time() - began_s)))

    async def finish(self, timeout_s: float) -> None:  # noqa: ARG002 - nothing is held that would take time
        """Let go of the file."""
        if self._positions is not None:
            await asyncio.to_thread(self._positions.close)
            self._positions = None

    async def _read_shard(self, shard: str, wait_s: int) -> bool:
        answer = await self.around.aws.json(
            "streams",
            "GetRecords",
            {"ShardIterator": self._iterators[shard], "Limit": RECORDS_MAX},
            headers={"x-peaker-wait-s": str(wait_s)},
            timeout_s=TIMEOUT_S + wait_s,
        )
        records = answer.get("Records") or []
        if records:
            await self.put([self._event_of(record) for record in records if created_s(record) >= self._from_s])
            await self._move(shard, records[-1]["dynamodb"]["SequenceNumber"])
        following = answer.get("NextShardIterator")
        if following:
            self._iterators[shard] = following
        else:  # The shard is closed and read to its end: its children are open now.
            await self._move(shard, END)
            await self._open_shards()
        return bool(records)

    async def _open_shards(self) -> None:
        shards = await self._shards()
        names = {shard["ShardId"] for shard in shards}
        places = {name: await self._place(name) for name in names}
        self._iterators = {
            name: self._iterators.get(name) or await self._iterator(name, places[name])
            for name in readable(shards, places)
        }

    async def _shards(self) -> Sequence[Mapping[str, Any]]:
        asked: dict[str, Any] = {"StreamArn": self._stream}
        shards: list[Mapping[str, Any]] = []
        while True:
            told = (await self.around.aws.json("streams", "DescribeStream", asked))["StreamDescription"]
            shards += told.get("Shards", [])
            if not told.get("LastEvaluatedShardId"):
                return shards
            asked["ExclusiveStartShardId"] = told["LastEvaluatedShardId"]

    async def _iterator(self, shard: str, place: str) -> str:
        asked = {"StreamArn": self._stream, "ShardId": shard}
        if place:
            after = {**asked, "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": place}
            try:
                return str((await self.around.aws.json("streams", "GetShardIterator", after))["ShardIterator"])
            except AwsRefused as error:
                if error.code != _TRIMMED:
                    raise
        oldest = {**asked, "ShardIteratorType": "TRIM_HORIZON"}
        return str((await self.around.aws.json("streams", "GetShardIterator", oldest))["ShardIterator"])

    async def _first_moment(self) -> int:
        """Epoch second from which on changes count, kept since the first start of all; 0 for all there are.

        An iterator of kind LATEST would miss what comes between two starts before there is any position, and the first
        of a shard's child. Peaker's own stand-in is as old as the run: "the latest" when it began is its beginning.
        """
        assert self._positions is not None
        name = f"{self._function}/{self._stream}"
        if not (kept := await asyncio.to_thread(self._positions.position, name)):
            is_all = self._trigger.starting_position == "TRIM_HORIZON" or self.around.settings.aws.endpoint == LOCAL
            kept = "0" if is_all else str(int(self.around.clock.epoch_s()))
            await asyncio.to_thread(self._positions.move, name, kept)
        return int(kept)

    async def _place(self, shard: str) -> str:
        assert self._positions is not None
        return await asyncio.to_thread(self._positions.position, self._place_name(shard))

    async def _move(self, shard: str, place: str) -> None:
        assert self._positions is not None
        await asyncio.to_thread(self._positions.move, self._place_name(shard), place)

    def _place_name(self, shard: str) -> str:
        return f"{self._function}/{self._stream}/{shard}"

    def _event_of(self, record: Mapping[str, Any]) -> Event:
        name = event_id(self._stream, record["eventID"], record["dynamodb"]["SequenceNumber"], self._function)
        return Event(
            id=name,
            function=self._function,
            payload=to_payload(dynamodb.record_of(record, self._stream)),
            source=self.name,
            dedup_key=name,
            group=group_of(record["dynamodb"].get("Keys", {})),
        )


def created_s(record: Mapping[str, Any]) -> float:
    """Epoch second of a change; one that does not say counts as new."""
    told = record["dynamodb"].get("ApproximateCreationDateTime")
    return float(told) if isinstance(told, (int, float)) else math.inf


def group_of(keys: Mapping[str, Any]) -> str:
    """The same for the same key of the table, whatever the order of its attributes."""
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:32]


def readable(shards: Sequence[Mapping[str, Any]], places: Mapping[str, str]) -> list[str]:
    """Shards that may be read now: not at their end, and with no parent that is listed and not at its own."""
    names = {shard["ShardId"] for shard in shards}
    return [
        shard["ShardId"]
        for shard in shards
        if places.get(shard["ShardId"]) != END
        and (shard.get("ParentShardId") not in names or places.get(shard["ParentShardId"]) == END)
    ]
