"""The reference page of the Invoke API says what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from peaker.event_sections import EventsSection
from peaker.functions.prepared import RECURSION_RUNS_MAX
from peaker.policy.retry import EVENT_AGE_S_MAX, HOPS_MAX, NOT_STARTED_S_MAX, RETRIES_MAX, RETRY_S, Reason
from peaker.wire import lambda_errors, sigv4
from peaker.wire.functions_api import MAX_ITEMS_DEFAULT, Operation
from peaker.wire.invoke_api import CLIENT_CONTEXT_BYTES_MAX, InvocationType

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "invoke-api.md").read_text(encoding="utf-8")


def rows() -> set[tuple[str, str]]:
    """Status and name of every error on the page."""
    return set(re.findall(r"^\| (\d{3}) \| (\w+) \|", PAGE, re.MULTILINE))


def test_every_error_the_code_makes_is_on_the_page() -> None:
    made = set()
    for _, factory in inspect.getmembers(lambda_errors, inspect.isfunction):
        if inspect.signature(factory).return_annotation != "InvokeApiError" or factory is lambda_errors.refused:
            continue
        required = [
            parameter
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is parameter.empty
        ]
        error = factory(*(1 if parameter.annotation == "int" else "x" for parameter in required))
        made.add((str(error.status), error.kind))
    assert len(made) > 8
    assert made <= rows()


def test_every_error_on_the_page_stands_in_the_code() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(lambda_errors.__file__).parents[1].rglob("*.py"))
    assert {kind for _, kind in rows() if f'"{kind}"' not in source} == set()


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    for number in (
        lambda_errors.PAYLOAD_BYTES_MAX,
        lambda_errors.ASYNC_PAYLOAD_BYTES_MAX,
        CLIENT_CONTEXT_BYTES_MAX,
        RECURSION_RUNS_MAX,
        EventsSection().waiting_max,
        EventsSection().waiting_mb_max,
        HOPS_MAX,
        RETRIES_MAX,
        MAX_ITEMS_DEFAULT,
        int(EVENT_AGE_S_MAX),
        int(NOT_STARTED_S_MAX),
        int(sigv4.CLOCK_SKEW_S_MAX / 60),
        int(RETRY_S),
        int(2 * RETRY_S),
    ):
        assert re.search(rf"(?<!\d){number}(?!\d)", PAGE), number


def test_operations_reasons_and_types_are_on_the_page() -> None:
    words = {operation.value for operation in Operation} | {kind.value for kind in InvocationType}
    words |= {reason.value for reason in Reason}
    words |= {lambda_errors.FUNCTION_CONCURRENCY, lambda_errors.HOST_CONCURRENCY, lambda_errors.EVENT_RATE}
    assert {word for word in words if word not in PAGE} == set()
