"""One call of a handler: results, errors and context in Lambda's own shapes."""

import json
import logging
import time
from typing import Any

import pytest

from peaker.functions import handler
from peaker.functions.context import Client, ClientContext, LambdaContext, client_context_from, function_arn, w3c_from


def context(deadline_s: float = 0.0) -> LambdaContext:
    return LambdaContext(
        aws_request_id="id-1",
        invoked_function_arn=function_arn("f", "eu-west-1"),
        deadline_s=deadline_s,
        function_name="f",
        function_version="$LATEST",
        memory_limit_in_mb="128",
        log_group_name="/aws/lambda/f",
        log_stream_name="stream",
    )


def call(function: handler.Handler, payload: bytes = b"{}") -> tuple[Any, str]:
    result, function_error = handler.call(function, payload, context())
    return json.loads(result), function_error


def test_a_result_is_passed_on_as_json() -> None:
    assert call(lambda event, _: {"got": event, "ü": None}, b'{"a": [1]}') == ({"got": {"a": [1]}, "ü": None}, "")


def test_an_event_that_is_not_json_is_not_given_to_the_handler() -> None:
    result, function_error = call(lambda *_: pytest.fail("called"), b"{")
    assert function_error == "Unhandled"
    assert result["errorType"] == "Runtime.UnmarshalError"
    assert result["errorMessage"].startswith("Unable to unmarshal input: ")


def test_an_error_names_its_type_message_and_request() -> None:
    def fail(event: Any, _: LambdaContext) -> None:
        raise KeyError(event["missing"])

    result, function_error = call(fail, b'{"missing": "this"}')
    assert function_error == "Unhandled"
    assert (result["errorType"], result["errorMessage"], result["requestId"]) == ("KeyError", "'this'", "id-1")
    assert "in fail" in result["stackTrace"][0]


def test_a_coroutine_is_not_awaited_as_on_lambda() -> None:
    async def entry(_: Any, __: LambdaContext) -> str:
        return "never"

    made = []

    def call_it(event: Any, context: LambdaContext) -> Any:
        made.append(entry(event, context))
        return made[0]

    result, _ = call(call_it)
    made[0].close()
    assert result["errorMessage"] == "Unable to marshal response: Object of type coroutine is not JSON serializable"


def test_an_object_that_lies_about_itself_is_an_error_too() -> None:
    class Hostile(dict[str, str]):
        def items(self) -> Any:
            raise RuntimeError("no items for you")

    result, _ = call(lambda *_: Hostile(a="b"))
    assert result["errorType"] == "Runtime.MarshalError"


def test_sys_exit_is_let_through() -> None:
    def leave(*_: Any) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        call(leave)


def test_remaining_time_counts_down_to_zero() -> None:
    assert 900 < context(time.monotonic() + 1).get_remaining_time_in_millis() <= 1000
    assert context(time.monotonic() - 5).get_remaining_time_in_millis() == 0


def test_a_client_context_is_only_made_of_an_object() -> None:
    made = client_context_from({"custom": {"a": 1}, "env": {}, "client": {"app_title": "x", "other": 1}})
    assert made is not None
    assert (made.custom, made.env) == ({"a": 1}, {})
    assert made.client == Client(app_title="x")
    assert client_context_from({}) == ClientContext(custom=None, env=None, client=None)
    assert client_context_from(None) is None
    assert client_context_from([1]) is None


def test_logs_through_the_root_logger_stay_untouched_by_import() -> None:
    """Only a zygote or instance installs Lambda's handler; importing the module must not."""
    assert not any(
        type(one).__module__.startswith("peaker.") for h in logging.getLogger().handlers for one in [h, *h.filters]
    )


def test_a_trace_context_is_taken_from_beside_the_client_context() -> None:
    sent = {"custom": {}, "w3c": {"traceparent": "00-a-b-01", "baggage": 7, "other": "x"}}
    assert w3c_from(sent) == {"traceparent": "00-a-b-01"}
    assert w3c_from({"w3c": "x"}) == w3c_from(None) == {}


def test_bytes_are_passed_on_as_they_are() -> None:
    assert handler.call(lambda *_: b"\x00 no json", b"{}", context()) == (b"\x00 no json", "")


def test_an_exception_that_has_no_text_ends_the_instance() -> None:
    class Mute(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def fail(*_: Any) -> None:
        raise Mute

    with pytest.raises(RuntimeError, match="no words"):
        call(fail)


def test_an_event_deeper_than_python_goes_is_no_event() -> None:
    result, _ = call(lambda *_: None, b"[" * 200_000 + b"]" * 200_000)
    assert result["errorType"] == "Runtime.UnmarshalError"
