"""How many requests may be on functions at once, and what one run costs."""

import pytest

from peaker.meter.price import run_microusd
from peaker.policy.resources import spills_max
from peaker.settings import AppSection, FunctionsSection, ResourceSection, Settings

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
    assert run_microusd(100, 512) == pytest.approx(0.2 + 0.05 * 13.3334)
    assert run_microusd(1, 128) == pytest.approx(0.2 + 0.000125 * 13.3334)
