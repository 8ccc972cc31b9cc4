"""Pauses between deaths, role by role."""

from __future__ import annotations

from peaker.engines.local.restarts import Restarts
from peaker.policy.supervision import Kind, Role

WORKER, HOST = Role(Kind.WORKER, 1, 0), Role(Kind.HOST)


def test_each_role_has_its_own_pause() -> None:
    restarts = Restarts()
    assert restarts.died(WORKER, ready_for_s=None, now_s=10.0) == (1, 0.0)
    assert restarts.may_start(WORKER, 10.0)
    assert restarts.died(WORKER, ready_for_s=None, now_s=11.0) == (2, 0.5)
    assert not restarts.may_start(WORKER, 11.4)
    assert restarts.may_start(WORKER, 11.5)
    assert restarts.may_start(HOST, 11.0)
    assert restarts.next_s(11.0) == 11.5
    assert restarts.next_s(11.5) is None


def test_a_process_the_system_did_not_give_is_asked_for_again_after_a_second_at_the_least() -> None:
    restarts = Restarts()
    restarts.could_not_start(HOST, 5.0)
    assert restarts.next_s(5.0) == 6.0


def test_a_role_that_comes_back_begins_anew() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.died(WORKER, ready_for_s=None, now_s=1.0)
    restarts.keep([HOST])
    assert restarts.may_start(WORKER, 1.0)
    assert restarts.died(WORKER, ready_for_s=None, now_s=2.0) == (1, 0.0)
