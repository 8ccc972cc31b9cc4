"""What there should be, and when the dead are started again."""

from __future__ import annotations

from peaker.policy.supervision import (
    Kind,
    Role,
    failures_in_a_row,
    free_row,
    restart_delay_s,
    roles_wanted,
    servers_at_least,
    table_rows,
)
from peaker.settings import AppSection, ServersSection, Settings


def test_a_server_is_its_workers_beside_one_host_and_one_control() -> None:
    assert roles_wanted(2, 2, host=True) == (
        Role(Kind.HOST),
        Role(Kind.CONTROL),
        Role(Kind.WORKER, 1, 0),
        Role(Kind.WORKER, 1, 1),
        Role(Kind.WORKER, 2, 0),
        Role(Kind.WORKER, 2, 1),
    )
    assert roles_wanted(1, 1, host=False) == (Role(Kind.CONTROL), Role(Kind.WORKER, 1, 0))


def test_one_server_is_always_there_for_the_gate_lives_in_it() -> None:
    assert servers_at_least(Settings(app=AppSection(web="shop:app"), servers=ServersSection(count_min=0))) == 1
    assert servers_at_least(Settings(servers=ServersSection(count_min=2))) == 0
    app = AppSection(web="shop:app")
    assert servers_at_least(Settings(app=app, servers=ServersSection(count_min=3, count_max=4))) == 3


def test_the_first_death_is_mended_at_once_and_each_further_one_later_up_to_half_a_minute() -> None:
    assert [restart_delay_s(failures) for failures in (1, 2, 3, 4, 8, 1000)] == [0, 0.5, 1, 2, 30, 30]


def test_a_death_after_a_steady_time_counts_as_a_first_one() -> None:
    assert failures_in_a_row(5, ready_for_s=2.5) == 1
    assert failures_in_a_row(5, ready_for_s=1.5) == 6
    assert failures_in_a_row(0, ready_for_s=None) == 1


def test_the_lowest_free_row_is_taken_and_none_when_all_are() -> None:
    assert free_row(3, {0, 2}) == 1
    assert free_row(2, {0, 1}) is None


def test_the_tables_have_room_for_those_that_drain_beside_their_heirs() -> None:
    assert table_rows(workers_max=4, workers_per_server=2) == 8
    assert table_rows(workers_max=1000, workers_per_server=2) == 1064
    assert table_rows(workers_max=400, workers_per_server=100) == 500
