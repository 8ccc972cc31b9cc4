"""What becomes of an event after an attempt, and what a batch and its partial answer mean."""

from __future__ import annotations

import json

import pytest

from peaker.policy.dispatch import (
    Lane,
    batch_moment_s,
    brake_after_run,
    brake_after_throttle,
    failed_of_batch,
    room,
)
from peaker.policy.retry import (
    Ending,
    GiveUp,
    History,
    Reason,
    Retry,
    RetryRules,
    give_up_before,
    next_step,
    not_started_s,
)
from peaker.wire.batches import batch_payload, failures_named, is_stream, record_id

LANE = Lane(function="f", at_once_max=10, timeout_s=30.0, batch_size=5, window_s=20.0)


def test_a_failure_is_tried_again_after_one_and_two_minutes_and_then_no_more() -> None:
    steps = [next_step(Ending.FAILED, History(failures=failures)) for failures in (1, 2, 3)]
    assert steps == [Retry(60.0), Retry(120.0), GiveUp(Reason.RETRIES_EXHAUSTED)]


@pytest.mark.parametrize(("retries_max", "runs"), [(0, 1), (1, 2), (2, 3)])
def test_retries_max_is_counted_after_the_first_run(retries_max: int, runs: int) -> None:
    rules = RetryRules(retries_max=retries_max)
    assert isinstance(next_step(Ending.FAILED, History(failures=runs), rules=rules), GiveUp)
    if runs > 1:
        assert isinstance(next_step(Ending.FAILED, History(failures=runs - 1), rules=rules), Retry)


def test_what_did_not_start_waits_from_half_of_to_all_of_a_doubling_time() -> None:
    assert [not_started_s(count) for count in (1, 2, 3, 9, 10, 10_000)] == [1, 2, 4, 256, 300, 300]
    history = History(not_started=3)
    assert next_step(Ending.NOT_STARTED, history, chance=0.0) == Retry(2.0)
    assert next_step(Ending.NOT_STARTED, history, chance=1.0) == Retry(4.0)


def test_an_event_that_would_be_too_old_at_its_next_attempt_is_given_up_now() -> None:
    rules = RetryRules(age_s_max=100.0)
    assert next_step(Ending.FAILED, History(failures=1, age_s=40.0), rules=rules) == Retry(60.0)
    assert next_step(Ending.FAILED, History(failures=1, age_s=40.1), rules=rules) == GiveUp(Reason.EVENT_AGE_EXCEEDED)


def test_what_will_never_be_started_is_given_up_at_once() -> None:
    assert next_step(Ending.REFUSED, History(not_started=1)) == GiveUp(Reason.REFUSED)


def test_too_old_and_too_long_a_chain_are_not_tried() -> None:
    assert give_up_before(age_s=21_600.0, hops=15) is None
    assert give_up_before(age_s=21_600.1, hops=0) is Reason.EVENT_AGE_EXCEEDED
    assert give_up_before(age_s=0.0, hops=16) is Reason.RECURSIVE_LOOP


def test_room_is_the_least_of_lane_function_and_brake() -> None:
    assert room(LANE, in_lane=2, in_function=2, function_max=10, brake=None) == 8
    assert room(LANE, in_lane=2, in_function=9, function_max=10, brake=None) == 1
    assert room(LANE, in_lane=2, in_function=2, function_max=10, brake=3) == 1
    assert room(LANE, in_lane=4, in_function=4, function_max=10, brake=3) == 0


def test_a_throttle_halves_what_may_run_and_each_run_gives_one_back() -> None:
    assert [brake_after_throttle(running) for running in (1, 2, 9)] == [1, 1, 4]
    assert brake_after_run(4, 10) == 5
    assert brake_after_run(9, 10) is None


def test_a_batch_is_whole_when_full_or_when_its_window_is_over() -> None:
    assert batch_moment_s(LANE, due=5, first_due_s=100.0) == 100.0
    assert batch_moment_s(LANE, due=4, first_due_s=100.0) == 120.0


def test_a_partial_answer_fails_what_it_names_and_a_wrong_one_everything() -> None:
    ids = ["a", "b", "c"]
    assert failed_of_batch(["b"], ids, from_first=False) == {1}
    assert failed_of_batch(["b"], ids, from_first=True) == {1, 2}
    assert failed_of_batch([], ids, from_first=True) == frozenset()
    assert failed_of_batch(["x"], ids, from_first=False) == {0, 1, 2}
    assert failed_of_batch(None, ids, from_first=False) == {0, 1, 2}


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (b"null", []),
        (b"", []),
        (b"{}", []),
        (b'{"batchItemFailures": []}', []),
        (b'{"batchItemFailures": null}', []),
        (b'{"batchItemFailures": [{"itemIdentifier": "m1"}]}', ["m1"]),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', None),
        (b'{"batchItemFailures": [{"id": "m1"}]}', None),
        (b'{"batchItemFailures": "m1"}', None),
        (b'{"failures": []}', []),
        (b'"fine"', []),
        (b"no json", None),
    ],
)
def test_the_forms_of_a_partial_answer_are_read(answer: bytes, named: list[str] | None) -> None:
    assert failures_named(answer) == named


def test_records_are_known_by_message_id_or_sequence_number_or_place() -> None:
    message = json.dumps({"messageId": "m1", "attributes": {"ApproximateReceiveCount": "1"}}).encode()
    change = json.dumps({"eventID": "x", "dynamodb": {"SequenceNumber": "111"}}).encode()
    assert [record_id(record, 7) for record in (message, change, b'{"n":1}')] == ["m1", "111", "7"]
    assert [is_stream(record) for record in (message, change)] == [False, True]
    records = json.loads(batch_payload([message, change], [3, 1]))["Records"]
    assert records[0]["attributes"]["ApproximateReceiveCount"] == "3"
    assert records[1] == json.loads(change)
