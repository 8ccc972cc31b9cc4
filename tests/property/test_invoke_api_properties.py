"""Trace headers, retries and names, whatever comes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from peaker.policy.retry import EVENT_AGE_S_MAX, Ending, GiveUp, History, Reason, Retry, next_step
from peaker.wire.function_names import parse_name
from peaker.wire.functions_api import parse_read
from peaker.wire.invoke_api import parse_call
from peaker.wire.lambda_errors import InvokeApiError
from peaker.wire.trace_header import LINEAGE_MAX, parse_trace

NAMES = st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=20)


def outcome(parse: Callable[[], Any]) -> Any:
    """What it returns, or Lambda's error."""
    try:
        return parse()
    except InvokeApiError as error:
        return error


@given(st.lists(NAMES, max_size=60))
def test_a_lineage_counts_each_function_of_a_chain_however_often_sdks_encode_it(chain: list[str]) -> None:
    header = ""
    for name in chain:
        trace = parse_trace(header, epoch_s=0.0, chance=random.Random(1))
        header = trace.with_run_of(name)
        # As botocore sends it on (botocore.handlers.add_recursion_detection_header).
        header = quote(header, safe="-=;:+&[]{}\"',")
    told = parse_trace(header, epoch_s=0.0, chance=random.Random(1))
    recent = list(dict.fromkeys(reversed(chain)))[:LINEAGE_MAX]
    assert len(told.lineage) == len(recent)
    if len(recent) == len(set(chain)):
        assert {name: told.runs_of(name) for name in recent} == {name: chain.count(name) for name in recent}


@given(st.text(max_size=300))
def test_whatever_a_caller_sends_as_a_trace_becomes_one_that_can_be_sent_on(header: str) -> None:
    trace = parse_trace(header, epoch_s=1_767_225_600.0, chance=random.Random(1))
    passed_on = trace.with_run_of("f")
    assert "Root=" in passed_on
    assert passed_on.isprintable()
    assert passed_on.count("Lineage=") == 1
    again = parse_trace(passed_on, epoch_s=0.0, chance=random.Random(2))
    assert again.runs_of("f") == trace.runs_of("f") + 1


@given(
    ending=st.sampled_from([Ending.FAILED, Ending.NOT_STARTED]),
    times=st.integers(1, 10_000),
    age_s=st.floats(0, 2 * EVENT_AGE_S_MAX),
    chance=st.floats(0, 1),
)
def test_every_event_is_tried_again_in_its_time_or_given_up_for_a_reason(
    ending: Ending, times: int, age_s: float, chance: float
) -> None:
    step = next_step(ending, History(failures=times, not_started=times, age_s=age_s), chance=chance)
    if isinstance(step, Retry):
        assert 0.5 <= step.after_s <= 300.0
        assert age_s + step.after_s <= EVENT_AGE_S_MAX
    else:
        assert isinstance(step, GiveUp)
        assert (step.reason is Reason.RETRIES_EXHAUSTED) == (ending is Ending.FAILED and times > 2)


def test_an_event_that_always_fails_ends_and_one_that_is_always_throttled_ends_at_six_hours() -> None:
    age_s, tries = 0.0, 1
    while isinstance(step := next_step(Ending.NOT_STARTED, History(not_started=tries, age_s=age_s)), Retry):
        age_s, tries = age_s + step.after_s, tries + 1
    assert step == GiveUp(Reason.EVENT_AGE_EXCEEDED)
    assert EVENT_AGE_S_MAX - 300 < age_s <= EVENT_AGE_S_MAX
    assert tries == 80  # 1 + 2 + .. + 256 s, then every 300 s.


@given(st.text(max_size=200), st.text(max_size=150))
def test_a_name_is_read_or_refused_as_a_bad_request(text: str, qualifier: str) -> None:
    named = outcome(lambda: parse_name(text, qualifier))
    if isinstance(named, InvokeApiError):
        assert named.status == 400
    else:
        assert named.function in text
        assert named.qualifier in text + qualifier


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]), st.text(max_size=200))
def test_any_request_line_is_a_call_or_an_error_of_lambda(method: str, rest: str) -> None:
    for parse in (lambda: parse_call(method, "/" + rest, {}), lambda: parse_read(method, "/2015-03-31/" + rest)):
        error = outcome(parse)
        if isinstance(error, InvokeApiError):
            assert 400 <= error.status < 500
            assert error.body()
