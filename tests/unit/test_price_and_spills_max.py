"""How many requests may be on functions at once, and what one run costs."""

import pytest

from peaker.errors import SettingsError
from peaker.meter.price import prices_of
from peaker.policy.resources import spills_max
from peaker.settings import (
    AppSection,
    AwsSection,
    FunctionsSection,
    ResourceSection,
    ServersSection,
    Settings,
)

DB = ResourceSection(name="db", connections_max=80, per_worker=10, per_instance=2)


def settings(resource: ResourceSection = DB, *, concurrency_max: int) -> Settings:
    return Settings(
        app=AppSection(spill=True),
        functions=FunctionsSection(concurrency_max=concurrency_max),
        resource=(resource,),
    )


def test_at_run_time_more_workers_leave_less_for_functions() -> None:
    assert spills_max(settings(concurrency_max=20), workers=4) == 20
    assert spills_max(settings(concurrency_max=20), workers=6) == 10
    assert spills_max(settings(concurrency_max=20), workers=9) == 0


def test_a_resource_that_instances_do_not_use_limits_none_of_them() -> None:
    own = ResourceSection(name="cache", connections_max=10, per_worker=10, per_instance=0)
    assert spills_max(settings(own, concurrency_max=20), workers=1) == 20


def test_a_run_of_100_ms_with_512_mb_costs_87_cents_a_million() -> None:
    prices = prices_of(Settings())
    assert prices.run_microusd(100, 512) == pytest.approx(0.2 + 0.05 * 13.3334)
    assert prices.run_microusd(1, 128) == pytest.approx(0.2 + 0.000125 * 13.3334)


def test_an_x86_function_costs_a_quarter_more() -> None:
    prices = prices_of(Settings(functions=FunctionsSection(architecture="x86_64")))
    assert prices.run_microusd(100, 512) == pytest.approx(0.2 + 0.05 * 16.6667)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Settings(servers=ServersSection(instance_type="c7g.mega")), r"instance_type = 'c7g.mega'.*c7g\.large"),
        (Settings(aws=AwsSection(region="mars-north-1")), r"aws.region = 'mars-north-1'.*us-east-1"),
    ],
)
def test_what_has_no_price_is_refused_by_name_with_what_there_is(wrong: Settings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        prices_of(wrong)
