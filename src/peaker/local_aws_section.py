"""What there is in the stand-ins for AWS: `[local_aws]`, and what its values mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peaker.section_reader import setting
from peaker.setting_checks import ADDRESS, Check, matching

LOCAL = "local"
"""As `aws.endpoint`: the stand-in that Peaker starts."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo")
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_KEY = re.compile(r"([A-Za-z0-9_.-]{1,255})(?::([SNB]))?")
_LOOPBACK = re.compile(r"(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\]):\d{1,5}")


@dataclass(frozen=True, slots=True)
class TableKey:
    """One attribute of a table's primary key; `kind` is S, N or B."""

    name: str
    kind: str = "S"


def table_keys(text: str) -> tuple[TableKey, ...]:
    """`"id"`, `"customer, at:N"`: the partition key, and the sort key where there is one; raises ValueError."""
    found = [_KEY.fullmatch(part.strip()) for part in text.split(",")]
    keys = tuple(TableKey(match[1], match[2] or "S") for match in found if match is not None)
    if len(keys) != len(found) or len(keys) > 2 or len({key.name for key in keys}) < len(keys):
        raise ValueError(f"{text!r} names no key of a table")
    return keys


def _names(pattern: re.Pattern[str]) -> Any:
    return lambda values: all(isinstance(value, str) and pattern.fullmatch(value) for value in values)


def _are_tables(values: Mapping[str, Any]) -> bool:
    try:
        return all(_TABLE.fullmatch(name) and table_keys(str(keys)) for name, keys in values.items())
    except ValueError:
        return False


def _are_folders(values: Mapping[str, Any]) -> bool:
    return all(_BUCKET.fullmatch(name) and isinstance(path, str) and path for name, path in values.items())


ENDPOINT = matching(
    r"|local|https?://(?![^/]*amazonaws\.)[^\s/?#@]+/?",
    '"", "local", or the address of another stand-in such as http://localhost:4566 (AWS itself is none)',
)
_LISTEN = Check(
    "127.0.0.1:port, or another loopback address: anybody who reaches it may do anything there",
    lambda value: ADDRESS(value) == "" and _LOOPBACK.fullmatch(value) is not None,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAwsSection:
    """What is made in the stand-ins for AWS when the app starts, beside what `[[function.on]]` names."""

    listen: str = setting("127.0.0.1:0", "Where Peaker's own stand-in is served; port 0 takes a free one.", _LISTEN)
    buckets: list[str] = setting([], "S3 buckets.", Check("names of S3 buckets", _names(_BUCKET)))
    queues: list[str] = setting(
        [], "SQS queues; a name that ends in .fifo makes a FIFO queue.", Check("names of SQS queues", _names(_QUEUE))
    )
    topics: list[str] = setting([], "SNS topics.", Check("names of SNS topics", _names(_TOPIC)))
    tables: dict[str, str] = setting(
        {},
        'DynamoDB tables with their keys: orders = "id", or "customer, at:N" with a sort key; kinds are S, N and B.',
        Check('a name of 3 to 255 characters with a key, "id", "id:N" or "id, at:N"', _are_tables),
    )
    folders: dict[str, str] = setting(
        {},
        'Folders of this machine that stand for buckets: uploads = "data/uploads".',
        Check("names of S3 buckets, each with the path of a folder", _are_folders),
    )
