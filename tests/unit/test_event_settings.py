"""Settings of events: what is refused, and what each function is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from peaker.app import functions, takes_events
from peaker.errors import SettingsError
from peaker.events.lanes import lanes_of
from peaker.settings import load_settings

TWO = '[[function]]\nname = "a"\nhandler = "m:a"\n{more}\n[[function]]\nname = "b"\nhandler = "m:b"\n'


def _written(directory: Path, text: str) -> Path:
    path = directory / "peaker.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            'on_failure = "function:c"',
            ":4: function.on_failure = 'function:c' of 'a' is no function of this app; allowed: function:b",
        ),
        (
            'on_success = "function:a"',
            ":4: function.on_success = 'function:a' of 'a' is the function itself, which would",
        ),
        (
            'on_success = "b"',
            "function.on_success = 'b' is not allowed; allowed: function:NAME, queue:NAME or topic:NAME",
        ),
        ("retries_max = 3", "function.retries_max = 3 is not allowed; allowed: 0 to 2"),
        ("event_age_s_max = 59", "function.event_age_s_max = 59 is not allowed; allowed: 60 to 21,600"),
        ("timeout_s = 901", "what takes longer is no function: make it a [[job]], which has no time limit"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(_written(tmp_path, TWO.format(more=more)))
    assert told in str(caught.value)


def test_a_function_has_its_own_rules_above_those_of_all(tmp_path: Path) -> None:
    text = "[events]\nretries_max = 1\nage_s_max = 100\nretry_s = 5\nhops_max = 3\n"
    more = 'retries_max = 0\non_failure = "function:b"\nconcurrency_max = 4\n'
    more += '[[function.on]]\nqueue = "orders"\nbatch_size = 5\nmaximum_concurrency = 3\nwindow_s = 2\n'
    settings = load_settings(_written(tmp_path, text + TWO.format(more=more)))
    a, b = lanes_of(settings)["a"], lanes_of(settings)["b"]
    assert (a.alone.rules.retries_max, b.alone.rules.retries_max) == (0, 1)
    assert (a.alone.rules.age_s_max, a.alone.rules.retry_s, a.alone.rules.hops_max) == (100.0, 5.0, 3)
    assert (a.alone.at_once_max, a.alone.batch_size, a.alone.on_failure) == (4, 0, "function:b")
    batches = a.of("queue/orders")
    assert (batches.at_once_max, batches.batch_size, batches.window_s) == (3, 5, 2.0)
    assert a.of("invoke") is a.alone


def test_without_a_function_of_its_own_an_app_takes_no_events(tmp_path: Path) -> None:
    web = load_settings(_written(tmp_path, '[app]\nweb = "shop:app"\nspill = true\n'))
    assert [spec.web for spec in functions(web)] == [True]
    assert not takes_events(web)
    assert takes_events(load_settings(_written(tmp_path, TWO.format(more=""))))
