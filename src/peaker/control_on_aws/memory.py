"""What control remembers between two minutes, and what it did: one DynamoDB table.

Items: `state` (what was learned, compressed), and `minute#YYYY-MM-DD` with one item a minute, gone after JOURNAL_S.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

JOURNAL_S = 30 * 86_400.0
STATE_BYTES_MAX = 390_000
"""An item is 400 KB at the most (DynamoDB quotas)."""

UNPACKED_BYTES_MAX = 16_000_000


class Memory:
    """State and journal of one app. Methods raise botocore's ClientError where DynamoDB refuses."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def claim(self, minute_s: float) -> bool:
        """Take a minute's step for this run; False where another has it: a schedule may come twice."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key("claim", "-"),
                UpdateExpression="SET minute_s = :now",
                ConditionExpression="attribute_not_exists(minute_s) OR minute_s < :now",
                ExpressionAttributeValues={":now": {"N": str(int(minute_s))}},
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def state(self) -> dict[str, Any] | None:
        """What was saved last; None before the first time, and where it cannot be read any more."""
        item = self._dynamodb.get_item(TableName=self._table, Key=_key("state", "-"), ConsistentRead=True).get("Item")
        if item is None:
            return None
        try:
            found = json.loads(zlib.decompressobj().decompress(bytes(item["packed"]["B"]), UNPACKED_BYTES_MAX))
        except (KeyError, ValueError, zlib.error):
            return None
        return found if isinstance(found, dict) else None

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep it; raises ValueError where it is larger than an item may be."""
        packed = zlib.compress(json.dumps(state).encode())
        if len(packed) > STATE_BYTES_MAX:
            raise ValueError(f"control's state is {len(packed):,} bytes, more than {STATE_BYTES_MAX:,}")
        self._dynamodb.put_item(TableName=self._table, Item={**_key("state", "-"), "packed": {"B": packed}})

    def write_down(self, epoch_s: float, entry: Mapping[str, Any]) -> None:
        """One line of the journal."""
        self._dynamodb.put_item(
            TableName=self._table,
            Item={
                **_key(f"minute#{_day(epoch_s)}", datetime.fromtimestamp(epoch_s, UTC).strftime("%H:%M:%S")),
                "entry": {"S": json.dumps(entry, sort_keys=True)},
                "expires_s": {"N": str(int(epoch_s + JOURNAL_S))},
            },
        )

    def journal(self, epoch_s: float, limit: int = 100) -> list[dict[str, Any]]:
        """The newest lines of that UTC day, the newest first."""
        answer = self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": f"minute#{_day(epoch_s)}"}},
            ScanIndexForward=False,
            Limit=limit,
        )
        return [json.loads(item["entry"]["S"]) for item in answer["Items"]]


def _key(kind: str, at: str) -> dict[str, Any]:
    return {"kind": {"S": kind}, "at": {"S": at}}


def _day(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d")
