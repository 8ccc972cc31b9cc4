"""The pure decisions about instances: how many a resource allows, when one starts, when one ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peaker.errors import ResourceError
from peaker.policy.keep_alive import instances_to_end, next_end_s
from peaker.policy.resources import check_resources, instances_allowed
from peaker.policy.starts import Need, PoolCounts, admits, spare_retry_s, start_need
from peaker.settings import ResourceSection, ServersSection, Settings


def with_resources(*resources: ResourceSection, count_max: int = 2) -> Settings:
    return Settings(servers=ServersSection(count_max=count_max), resource=resources)


def test_workers_come_first_and_the_rest_is_for_instances() -> None:
    settings = with_resources(ResourceSection(name="db", connections_max=80, per_worker=10, per_instance=2))
    limit = instances_allowed(settings, workers=2)
    assert limit is not None
    assert (limit.resource, limit.instances_max) == ("db", (80 - 2 * 2 * 10) // 2)
    assert "80 connections - 2 servers x 2 workers x 10 connections = 40" in limit.reason


def test_the_tightest_resource_binds_and_one_without_instances_does_not() -> None:
    settings = with_resources(
        ResourceSection(name="db", connections_max=80, per_worker=1, per_instance=1),
        ResourceSection(name="cache", connections_max=20, per_worker=1, per_instance=1),
        ResourceSection(name="queue", connections_max=4, per_worker=1, per_instance=0),
    )
    limit = instances_allowed(settings, workers=2)
    assert limit is not None
    assert (limit.resource, limit.instances_max) == ("cache", 16)
    assert instances_allowed(Settings(), workers=2) is None


def test_workers_that_could_exceed_a_resource_are_refused() -> None:
    settings = with_resources(ResourceSection(name="db", connections_max=30, per_worker=10))
    with pytest.raises(
        ResourceError, match="2 servers x 2 workers x 10 connections = 40, over its connections_max = 30"
    ):
        instances_allowed(settings, workers=2)


def test_functions_that_could_exceed_a_resource_are_refused_with_the_sums() -> None:
    settings = with_resources(ResourceSection(name="db", connections_max=80, per_worker=10))
    assert check_resources(settings, 2, {"shop-web": 30, "thumbnail": 10}) is not None
    with pytest.raises(
        ResourceError, match=r"functions may be 41 instances \(concurrency_max: shop-web 31 \+ thumbnail 10"
    ):
        check_resources(settings, 2, {"shop-web": 31, "thumbnail": 10})


def test_instances_idle_for_keep_alive_end_the_oldest_first() -> None:
    idle_since_s = [0.0, 5.0, 9.0]
    assert instances_to_end(idle_since_s, now_s=9.9, keep_alive_s=10) == 0
    assert instances_to_end(idle_since_s, now_s=10.0, keep_alive_s=10) == 1
    assert instances_to_end(idle_since_s, now_s=99.0, keep_alive_s=10) == 3
    assert instances_to_end(idle_since_s, now_s=99.0, keep_alive_s=10, keep=2) == 1
    assert instances_to_end(idle_since_s, now_s=9.0, keep_alive_s=0) == 3


idle_times = st.lists(st.floats(0, 1000), max_size=10).map(sorted)


@given(idle_times, st.floats(0, 500), st.integers(0, 5), st.floats(0, 2000))
def test_only_what_is_over_ends_and_looking_at_the_time_told_finds_it(
    idle_since_s: list[float], keep_alive_s: float, keep: int, now_s: float
) -> None:
    count = instances_to_end(idle_since_s, now_s=now_s, keep_alive_s=keep_alive_s, keep=keep)
    assert len(idle_since_s) - count >= min(keep, len(idle_since_s))
    assert all(now_s - since_s >= keep_alive_s - 0.0011 for since_s in idle_since_s[:count])
    end_s = next_end_s(idle_since_s, keep_alive_s=keep_alive_s, keep=keep)
    assert (end_s is None) is (len(idle_since_s) <= keep)
    if end_s is not None:
        assert instances_to_end(idle_since_s, now_s=end_s, keep_alive_s=keep_alive_s, keep=keep) > 0


counts = st.builds(
    PoolCounts,
    waiting=st.integers(0, 10), starting=st.integers(0, 10), busy=st.integers(0, 10),
    idle=st.integers(5, 10), spares=st.integers(0, 5), ending=st.integers(0, 3),
)  # fmt: skip


@given(counts, st.integers(1, 40), st.integers(0, 10))
def test_a_start_is_never_above_concurrency_max_and_requests_come_before_spares(
    now: PoolCounts, concurrency_max: int, buffer: int
) -> None:
    need = start_need(now, concurrency_max=concurrency_max, buffer=buffer)
    if now.live >= concurrency_max:
        assert need is Need.NONE
    elif now.waiting > now.starting:
        assert need is Need.REQUEST
    elif need is Need.SPARE:
        assert now.spares + now.starting - now.waiting < buffer


@given(counts, st.integers(1, 40))
def test_whoever_is_admitted_has_an_instance_a_start_or_room_for_one(now: PoolCounts, concurrency_max: int) -> None:
    if not admits(now, concurrency_max):
        return
    after = PoolCounts(waiting=now.waiting + 1, starting=now.starting, busy=now.busy, idle=0)
    assert after.starting >= after.waiting or after.live < concurrency_max


def test_spares_that_fail_are_tried_ever_more_rarely() -> None:
    assert [spare_retry_s(failures) for failures in (0, 1, 2, 3, 7, 100)] == [0, 1, 2, 4, 60, 60]
