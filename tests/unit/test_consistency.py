"""Settings that are each in range and cannot hold together are refused by name and value."""

from __future__ import annotations

import pytest

from peaker.errors import SettingsError
from peaker.policy.consistency import check_consistency
from peaker.settings import FunctionsSection, ServersSection, Settings, replaced


def test_the_defaults_hold_together() -> None:
    check_consistency(Settings(), workers_per_server=8)


def test_a_load_balancer_between_the_two_times_is_fine() -> None:
    servers = ServersSection(keep_alive_s=75, proxy_idle_s=60)
    check_consistency(Settings(servers=servers, functions=FunctionsSection(timeout_s=58)), workers_per_server=1)


@pytest.mark.parametrize(
    ("servers", "timeout_s", "message"),
    [
        ({"count_min": 3, "count_max": 2}, 30, r"servers\.count_min = 3 is above servers\.count_max = 2"),
        ({"count_max": 600}, 30, r"servers\.count_max = 600 times 2 workers is 1200 processes.*at most 1024"),
        ({"drain_idle_s": 5, "drain_s_max": 4}, 30, r"servers\.drain_idle_s = 5 is longer than .*drain_s_max = 4"),
        ({"queue_wait_s_max": 40}, 30, r"servers\.queue_wait_s_max = 40 is longer than .*drain_s_max = 30"),
        ({"proxy_idle_s": 75}, 30, r"servers\.keep_alive_s = 75 is not longer than servers\.proxy_idle_s = 75"),
        ({"proxy_idle_s": 60}, 59, r"queue_wait_s_max \+ functions\.timeout_s = 60 is not shorter than .* = 60"),
    ],
)
def test_what_contradicts_is_refused(servers: dict[str, float], timeout_s: float, message: str) -> None:
    settings = Settings(servers=ServersSection(**servers), functions=FunctionsSection(timeout_s=timeout_s))
    with pytest.raises(SettingsError, match=message):
        check_consistency(settings, workers_per_server=2)


def test_one_value_can_be_replaced_and_is_checked_like_those_of_the_file() -> None:
    settings = replaced(Settings(), "app.listen", "[::1]:0")
    assert settings.app.listen == "[::1]:0"
    assert replaced(Settings(), "servers.workers", 3).servers.workers == 3
    with pytest.raises(SettingsError, match=r"--listen: app\.listen = '8000' is not allowed; allowed: host:port"):
        replaced(Settings(), "app.listen", "8000", where="--listen")
