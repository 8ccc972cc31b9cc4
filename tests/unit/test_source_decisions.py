"""What sources decide: batches of messages, files that are whole, shards that may be read, events that are the same."""

from __future__ import annotations

from typing import Any

import pytest

from peaker.app import functions
from peaker.aws_calls.joining import inbox_name
from peaker.events.sources.bucket import ObjectRule, change_of, is_second_telling, object_event
from peaker.events.sources.folder import changes_of
from peaker.events.sources.inotify import Written
from peaker.events.sources.listening import object_rules, waits_for_aws
from peaker.events.sources.positions import Seen
from peaker.events.sources.queue import batches_of
from peaker.events.sources.table import END, group_of, readable
from peaker.local_aws_section import LocalAwsSection
from peaker.object_pattern import ObjectPattern
from peaker.settings import FunctionSection, Settings
from peaker.triggers import Kind, TriggerSection


def message(body: str, group: str = "") -> dict[str, Any]:
    return {"Body": body, "Attributes": {"MessageGroupId": group} if group else {}}


def bodies(batches: list[list[dict[str, Any]]]) -> list[list[str]]:
    return [[one["Body"] for one in batch] for batch in batches]


def test_messages_are_cut_into_batches_in_order() -> None:
    batches, too_much = batches_of([message(str(number)) for number in range(5)], 2, is_fifo=False)
    assert (bodies(batches), too_much) == ([["0", "1"], ["2", "3"], ["4"]], [])


def test_a_batch_stays_below_the_limit_of_an_event() -> None:
    batches, too_much = batches_of([message("x" * 400) for _ in range(4)], 10, is_fifo=False, bytes_max=1000)
    assert ([len(batch) for batch in batches], too_much) == ([2, 2], [])
    assert [len(batch) for batch in batches_of([message("x" * 4000)], 10, is_fifo=False, bytes_max=1000)[0]] == [1]


def test_a_fifo_batch_has_one_group_and_a_group_one_batch() -> None:
    received = [message("a1", "a"), message("b1", "b"), message("a2", "a"), message("b2", "b"), message("a3", "a")]
    batches, too_much = batches_of(received, 2, is_fifo=True)
    assert bodies(batches) == [["a1", "a2"], ["b1", "b2"]]
    assert [one["Body"] for one in too_much] == ["a3"]


def test_nothing_of_a_group_overtakes_what_was_too_much() -> None:
    received = [message("x" * 500, "a"), message("y" * 900, "a"), message("z", "a")]
    batches, too_much = batches_of(received, 10, is_fifo=True, bytes_max=1000)
    assert [len(batch) for batch in batches] == [1]
    assert [one["Body"][0] for one in too_much] == ["y", "z"]


NOW_S = 1_800_000_000.0


def file(age_s: float, size: int = 1) -> Seen:
    return Seen(size, int((NOW_S - age_s) * 1e9))


def test_a_file_counts_when_it_was_closed_or_has_stood_still() -> None:
    there = {name: file(0.1) for name in ("closed", "writing", "unknown")} | {"still": file(2), "begun": file(2)}
    written = Written(begun={"begun"}, writing={"writing"}, whole={"closed"})
    changes = changes_of({}, there, written, epoch_s=NOW_S)
    assert set(changes.created) == {"closed", "still"}
    assert changes.waiting


def test_a_file_that_somebody_writes_is_waited_for_however_long_it_stands_still() -> None:
    changes = changes_of({}, {"writing": file(3600)}, Written(writing={"writing"}), epoch_s=NOW_S)
    assert (changes.created, changes.waiting) == ({}, False)


def test_a_file_with_a_time_of_long_ago_or_of_the_future_counts() -> None:
    changes = changes_of({}, {"copied": file(1e9), "ahead": file(-100)}, Written(), epoch_s=NOW_S)
    assert set(changes.created) == {"copied", "ahead"}


def test_what_is_as_it_was_is_no_news_and_what_is_gone_is() -> None:
    seen = {"same": file(10), "longer": file(10), "gone": file(10)}
    changes = changes_of(seen, {"same": file(10), "longer": file(5, 2)}, Written(), epoch_s=NOW_S)
    assert (set(changes.created), changes.removed) == ({"longer"}, ("gone",))


def shard(name: str, parent: str = "") -> dict[str, Any]:
    return {"ShardId": name, **({"ParentShardId": parent} if parent else {})}


def test_a_shard_is_read_after_its_parent() -> None:
    shards = [shard("a"), shard("b", "a"), shard("c", "trimmed"), shard("d", "c")]
    assert readable(shards, {}) == ["a", "c"]
    assert readable(shards, {"a": END}) == ["b", "c"]
    assert readable(shards, {"a": END, "b": "17", "c": END}) == ["b", "d"]


def test_the_group_of_a_change_is_its_key() -> None:
    assert group_of({"a": {"S": "1"}, "b": {"N": "2"}}) == group_of({"b": {"N": "2"}, "a": {"S": "1"}})
    assert group_of({"a": {"S": "1"}}) != group_of({"a": {"N": "1"}})


def notification(name: str, etag: str = "abc", **more: Any) -> dict[str, Any]:
    return {
        "eventName": name,
        "eventTime": "2026-11-24T03:31:48.920Z",
        "awsRegion": "eu-west-1",
        "s3": {"bucket": {"name": "b"}, "object": {"key": "a+b%2F%C3%BC.jpg", "eTag": etag, "size": 3, **more}},
    }


def test_motos_second_telling_of_a_multipart_upload_is_known() -> None:
    assert is_second_telling(notification("ObjectCreated:Put", "abc-2"))
    assert not is_second_telling(notification("ObjectCreated:CompleteMultipartUpload", "abc-2"))
    assert not is_second_telling(notification("ObjectCreated:Put", "abc"))


def test_an_event_of_an_object_is_the_same_event_however_often_it_is_told() -> None:
    rule = ObjectRule("f", Kind.OBJECT_CREATED, ObjectPattern.parse("bucket/a"))
    change = change_of(notification("ObjectCreated:Put"), "message-1")
    assert (change.key, change.region, change.size) == ("a b/ü.jpg", "eu-west-1", 3)
    first, second = (object_event(rule, change, message_id="message-1") for _ in range(2))
    assert first == second
    other = object_event(ObjectRule("g", rule.kind, rule.pattern), change, message_id="message-1")
    assert other.id != first.id
    assert object_event(rule, change, message_id="message-2").id != first.id


def test_a_removal_has_neither_size_nor_etag() -> None:
    change = change_of(notification("ObjectRemoved:Delete"), "m")
    assert (change.size, change.etag) == (None, "")


@pytest.mark.parametrize(
    ("name", "key", "matches"),
    [
        ("ObjectCreated:Put", "in/a.jpg", True),
        ("ObjectCreated:Copy", "in/a.jpg", True),
        ("ObjectRemoved:Delete", "in/a.jpg", False),
        ("ObjectCreated:Put", "out/a.jpg", False),
    ],
)
def test_a_rule_is_for_its_kind_and_pattern(name: str, key: str, matches: bool) -> None:  # noqa: FBT001
    assert ObjectRule("f", Kind.OBJECT_CREATED, ObjectPattern.parse("bucket/in/*.jpg")).matches(name, key) is matches


def settings() -> Settings:
    on = (
        TriggerSection(object_created="uploads/*.jpg"),
        TriggerSection(object_removed="uploads"),
        TriggerSection(object_created="dropped"),
        TriggerSection(queue="orders"),
        TriggerSection(schedule="rate(1 minute)"),
    )
    declared = FunctionSection(name="f", handler="m:f", on=on)
    return Settings(function=(declared,), local_aws=LocalAwsSection(folders={"dropped": "drop"}))


def test_rules_are_gathered_by_bucket() -> None:
    rules = object_rules(settings())
    assert {bucket: [rule.kind for rule in found] for bucket, found in rules.items()} == {
        "uploads": [Kind.OBJECT_CREATED, Kind.OBJECT_REMOVED],
        "dropped": [Kind.OBJECT_CREATED],
    }
    assert functions(settings())[0].name == "f"


def test_what_waits_for_a_stand_in_is_told() -> None:
    assert waits_for_aws(settings()) == ["object_created uploads/*.jpg", "object_removed uploads", "queue orders"]


def test_names_of_inboxes_are_names_of_queues() -> None:
    assert inbox_name("shop", "bucket/a.b") == "peaker-shop-bucket-a_b"
    long = inbox_name("shop", "topic/" + "t" * 256)
    assert len(long) == 80
    assert long != inbox_name("shop", "topic/" + "t" * 255)
