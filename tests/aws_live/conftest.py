"""Only by `PEAKER_AWS_LIVE=1`: these tests make things in a real AWS account, and cost money."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("PEAKER_AWS_LIVE") == "1":
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="it costs money: PEAKER_AWS_LIVE=1 runs it in your AWS account"))
