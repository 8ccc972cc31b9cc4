"""A handler's result as JSON, beside what AWS's own encoder makes of it."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaker.functions.result_json import ESCAPES, to_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def awss_own(result: Any) -> str:
    """What awslambdaric writes on this version of Python."""
    from awslambdaric.lambda_runtime_marshaller import Encoder

    before = os.environ.get("AWS_EXECUTION_ENV")
    os.environ["AWS_EXECUTION_ENV"] = "AWS_Lambda_python3.11" if ESCAPES else "AWS_Lambda_python3.12"
    try:
        return str(Encoder().encode(result))
    finally:
        os.environ.pop("AWS_EXECUTION_ENV")
        if before is not None:
            os.environ["AWS_EXECUTION_ENV"] = before


@given(PLAIN)
def test_plain_values_are_written_as_awss_own_encoder_writes_them(result: Any) -> None:
    try:
        expected = awss_own(result).encode()
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            to_json(result)
        return
    assert to_json(result) == expected


@pytest.mark.parametrize(
    "result",
    [
        Decimal("1.10"),
        [Decimal("123456789012345678901234567890.000000000000000000001"), "x"],
        Decimal("NaN"),
        Decimal("-Infinity"),
        Decimal("1E+3"),
        math.nan,
        [math.inf, -math.inf],
        b"bytes as text",
        {"a": [b"\xc3\xbc"]},
        {"gr\u00fc\u00dfe": "\u2028 \U0001f600"},
        10**400,
        {2: 3, 1.5: None, True: False, None: "n"},
        (1, (2, 3)),
    ],
)
def test_unusual_values_are_written_as_awss_own_encoder_writes_them(result: Any) -> None:
    assert to_json(result) == awss_own(result).encode()


@pytest.mark.parametrize("result", [{1, 2}, object(), dt.datetime.now(tz=dt.UTC), uuid.uuid4(), 1j])
def test_what_has_no_json_is_refused_in_the_same_words(result: Any) -> None:
    with pytest.raises(TypeError) as refused:
        to_json(result)
    with pytest.raises(TypeError) as refused_by_aws:
        awss_own(result)
    assert str(refused.value) == str(refused_by_aws.value)


def test_text_that_looks_like_a_number_in_disguise_stays_text() -> None:
    assert json.loads(to_json(["decimal 00 1", Decimal(1), 'a "decimal 5" b'])) == [
        "decimal 00 1",
        1,
        'a "decimal 5" b',
    ]
