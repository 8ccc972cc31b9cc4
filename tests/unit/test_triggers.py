"""What starts a function: each kind with its own keys and AWS's ranges, and no function that starts itself for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from peaker.cli.check import command as check
from peaker.errors import SettingsError
from peaker.object_pattern import ObjectPattern
from peaker.settings import Settings, load_settings
from peaker.triggers import Kind

SECRETS = '[secrets]\nSTRIPE_KEY = "env:STRIPE_KEY"\n'
FUNCTION = '[[function]]\nname = "f"\nhandler = "shop.jobs:run"\n'


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "peaker.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def with_trigger(*lines: str) -> str:
    return SECRETS + FUNCTION + "[[function.on]]\n" + "\n".join(lines) + "\n"


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, text)
    return str(refused.value).replace(f"{tmp_path}/", "")


def test_each_kind_is_read_with_its_settings_and_survives_the_generation_file(tmp_path: Path) -> None:
    text = (
        SECRETS
        + FUNCTION
        + """
[[function.on]]
schedule = "cron(0 9 ? * MON-FRI *)"
timezone = "Europe/Berlin"
input = '{"report": "daily"}'
missed_s_max = 3600
[[function.on]]
object_created = "uploads/in/*.jpg"
[[function.on]]
object_removed = "uploads"
[[function.on]]
queue = "orders"
batch_size = 500
window_s = 5
maximum_concurrency = 10
[[function.on]]
topic = "sign-ups"
[[function.on]]
http = "/hooks/stripe"
signature = "stripe"
secret = "STRIPE_KEY"
[[function.on]]
table = "orders"
starting_position = "TRIM_HORIZON"
"""
    )
    settings = loaded(tmp_path, text)
    triggers = settings.function[0].on

    assert [trigger.kind for trigger in triggers] == [
        Kind.SCHEDULE,
        Kind.OBJECT_CREATED,
        Kind.OBJECT_REMOVED,
        Kind.QUEUE,
        Kind.TOPIC,
        Kind.HTTP,
        Kind.TABLE,
    ]
    assert (triggers[0].timezone, triggers[0].missed_s_max) == ("Europe/Berlin", 3600)
    assert (triggers[3].records_max, triggers[3].window_s, triggers[3].maximum_concurrency) == (500, 5, 10)
    assert (triggers[6].records_max, triggers[6].starting_position) == (100, "TRIM_HORIZON")
    assert Settings.from_json(settings.to_json()) == settings


def test_a_stage_may_bring_other_triggers_and_a_mistake_in_one_has_its_line(tmp_path: Path) -> None:
    text = (
        FUNCTION + '[[stage.prod.function]]\nname = "f"\nhandler = "a:b"\n[[stage.prod.function.on]]\nqueue = "x y"\n'
    )

    assert refusal(tmp_path, text).startswith("peaker.toml:8: function.on.queue = 'x y' is not allowed; allowed: ")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((), "peaker.toml:6: [[function.on]] names none; allowed: exactly one of schedule, object_created"),
        (('queue = "a"', 'topic = "b"'), "[[function.on]] names queue and topic; allowed: exactly one of"),
        (('que = "a"',), "peaker.toml:7: unknown key 'que' in [[function.on]]. Did you mean 'queue'?"),
        (
            ('queue = "a"', 'timezone = "UTC+1"'),
            "function.on.timezone = 'UTC+1' is not for queue; it belongs to schedule.",
        ),
        (
            ('topic = "a"', "batch_size = 5"),
            "function.on.batch_size = 5 is not for topic; it belongs to queue and table.",
        ),
        (('table = "abc"', "maximum_concurrency = 5"), "is not for table; it belongs to queue."),
        (('schedule = "cron(0 24 * * ? *)"',), "peaker.toml:7: function.on.schedule: hours is '24'; allowed: 0 to 23"),
        (
            ('schedule = "rate(1 day)"', 'timezone = "Europe/Berlln"'),
            "function.on.timezone = 'Europe/Berlln' is not known",
        ),
        (('schedule = "rate(1 day)"', 'timezone = "Europe"'), "function.on.timezone = 'Europe' is not known"),
        (
            ('schedule = "at(2027-03-28T02:30:00)"', 'timezone = "Europe/Berlin"'),
            "the clocks of Europe/Berlin are set forward over it",
        ),
        (('schedule = "rate(1 day)"', "input = '{'"), "function.on.input = '{' is not JSON"),
        (
            ('schedule = "rate(1 day)"', "missed_s_max = 604801"),
            "missed_s_max = 604801 is not allowed; allowed: 0 to 604,800",
        ),
        (
            ('object_created = "Up/*"',),
            "function.on.object_created = 'Up/*' is not allowed; allowed: a bucket, or bucket/pre",
        ),
        (('object_created = "uploads/*/*"',), "with at most one *"),
        (
            ('queue = "a"', "batch_size = 10_001", "window_s = 1"),
            "batch_size = 10001 is not allowed; allowed: 1 to 10,000",
        ),
        (
            ('queue = "a"', "batch_size = 11"),
            "batch_size = 11 without a window; allowed: 1 to 10, or more with window_s of at",
        ),
        (('queue = "a"', "window_s = 301"), "function.on.window_s = 301 is not allowed; allowed: 0 to 300"),
        (('queue = "a"', "maximum_concurrency = 1"), "maximum_concurrency = 1 is not allowed; allowed: 2 to 1,000"),
        (('queue = "a.fifo"', "batch_size = 11", "window_s = 1"), "of the FIFO queue 'a.fifo'; allowed: 1 to 10."),
        (('queue = "a.fifo"', "window_s = 1"), "a FIFO queue has no batching window"),
        (('topic = "a.fifo"',), "FIFO topics start none"),
        (('table = "ab"',), "function.on.table = 'ab' is not allowed; allowed: a DynamoDB name: 3 to 255"),
        (
            ('table = "abc"', 'starting_position = "NOW"'),
            "starting_position = 'NOW' is not allowed; allowed: LATEST, TRIM_HOR",
        ),
        (
            ('http = "hooks"', 'signature = "none"'),
            "function.on.http = 'hooks' is not allowed; allowed: a path that begins",
        ),
        (
            ('http = "/hooks"',),
            "[[function.on]] http = '/hooks' has no signature; allowed: none, github, stripe, hmac-sha256.",
        ),
        (
            ('http = "/h"', 'signature = "github"'),
            "function.on.secret = '' is no name in [secrets]; there are: STRIPE_KEY.",
        ),
        (('http = "/h"', 'signature = "none"', 'secret = "STRIPE_KEY"'), "is for a signature, and signature is 'none'"),
        (
            ('http = "/h"', 'signature = "hmac-sha256"', 'secret = "STRIPE_KEY"'),
            "function.on.signature_header = '' with signature = 'hmac-sha256'",
        ),
        (('http = "/h"', 'signature = "none"', "body_bytes_max = 700_001"), "body_bytes_max = 700001 is not allowed"),
    ],
)
def test_what_cannot_be_is_refused_by_name_value_and_range(tmp_path: Path, lines: tuple[str, ...], told: str) -> None:
    assert told in refusal(tmp_path, with_trigger(*lines))


def test_one_path_and_method_lead_to_one_function(tmp_path: Path) -> None:
    hook = '[[function.on]]\nhttp = "/hooks"\nsignature = "none"\n'
    other = FUNCTION.replace('"f"', '"g"') + hook

    assert "function.on.http = '/hooks' stands twice: in f and in g." in refusal(tmp_path, FUNCTION + hook + other)
    assert len(loaded(tmp_path, FUNCTION + hook + other + 'method = "PUT"\n').function) == 2


def bucket_function(name: str, created: str, writes: str) -> str:
    return (
        f'[[function]]\nname = "{name}"\nhandler = "a:b"\nwrites = ["{writes}"]\n'
        f'[[function.on]]\nobject_created = "{created}"\n'
    )


@pytest.mark.parametrize("writes", ["uploads", "uploads/", "uploads/a/b/", "uploads/*-small.jpg", "uploads/a/*.jpg"])
def test_a_function_that_its_own_output_starts_again_is_refused(tmp_path: Path, writes: str) -> None:
    told = refusal(tmp_path, bucket_function("thumbnail", "uploads/a/*.jpg", writes))

    assert told.startswith(
        "peaker.toml:4: thumbnail writes objects that start it again: thumbnail -> thumbnail, as function.writes"
    )
    assert "Let it write to another bucket" in told


@pytest.mark.parametrize("writes", ["thumbs/", "uploads/b/", "uploads/a/*.png", "uploads/thumbs/*.jpg"])
def test_a_function_that_writes_elsewhere_is_taken(tmp_path: Path, writes: str) -> None:
    assert loaded(tmp_path, bucket_function("thumbnail", "uploads/a/*.jpg", writes)).function[0].writes == [writes]


def test_functions_that_start_each_other_for_ever_are_refused_with_their_chain(tmp_path: Path) -> None:
    chain = bucket_function("resize", "raw", "small") + bucket_function("label", "small", "labels")

    assert len(loaded(tmp_path, chain).function) == 2
    assert "resize -> label -> index -> resize" in refusal(
        tmp_path, chain + bucket_function("index", "labels", "raw/new/")
    )


def test_what_is_written_is_a_pattern_of_objects(tmp_path: Path) -> None:
    told = refusal(tmp_path, bucket_function("f", "raw", "Not A Bucket"))

    assert told.startswith(
        "peaker.toml:4: function.writes = 'Not A Bucket' is not allowed; allowed: a bucket, or bucket/prefix"
    )


def test_a_pattern_means_keys_by_prefix_and_suffix() -> None:
    pattern = ObjectPattern.parse("uploads/in/*.jpg")

    assert (pattern.bucket, pattern.prefix, pattern.suffix) == ("uploads", "in/", ".jpg")
    assert [pattern.matches(key) for key in ("in/a.jpg", "in/b/c.jpg", "in/a.png", "a.jpg")] == [
        True,
        True,
        False,
        False,
    ]
    assert ObjectPattern.parse("uploads").matches("anything at all")
    assert ObjectPattern.parse("uploads/in/").matches("in/a")


def test_check_shows_what_starts_a_function_and_when_it_is_next(tmp_path: Path) -> None:
    loaded(
        tmp_path,
        FUNCTION
        + '[[function.on]]\nschedule = "cron(0 7 1 1 ? 2199)"\ntimezone = "Europe/Berlin"\n'
        + '[[function.on]]\nschedule = "at(2001-01-01T00:00:00)"\n[[function.on]]\nschedule = "rate(1 day)"\n'
        + '[[function.on]]\nqueue = "orders"\n',
    )
    shown = CliRunner().invoke(check, ["--config", str(tmp_path / "peaker.toml"), "--no-import"]).output

    assert "    on schedule cron(0 7 1 1 ? 2199) in Europe/Berlin: next 2199-01-01T07:00+01:00\n" in shown
    assert "    on schedule at(2001-01-01T00:00:00) in UTC: no moment is left\n" in shown
    assert "    on schedule rate(1 day)\n    on queue orders\n" in shown
