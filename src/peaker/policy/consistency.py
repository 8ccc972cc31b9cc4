"""Settings that are each in range and yet cannot hold together."""

from __future__ import annotations

from peaker.errors import SettingsError
from peaker.policy.supervision import WORKERS_MAX
from peaker.settings import Settings


def check_consistency(settings: Settings, workers_per_server: int) -> None:
    """Refuse counts and time-outs that contradict each other.

    A load balancer must hang up on an idle connection before the server does, or it sends a request into a closing
    one; and a request may not take longer than the balancer waits:
    keep_alive_s > proxy_idle_s > queue_wait_s_max + functions.timeout_s.

    Raises:
        SettingsError: names both settings and their values.
    """
    servers = settings.servers
    _check_counts(settings, workers_per_server)
    _require(
        servers.drain_idle_s <= servers.drain_s_max,
        f"servers.drain_idle_s = {servers.drain_idle_s:g} is longer than servers.drain_s_max = {servers.drain_s_max:g}",
        "Idle connections close within the time a worker has to stop.",
    )
    _require(
        servers.queue_wait_s_max <= servers.drain_s_max,
        f"servers.queue_wait_s_max = {servers.queue_wait_s_max:g} is longer than "
        f"servers.drain_s_max = {servers.drain_s_max:g}",
        "A request that waits when a worker stops must still get its turn.",
    )
    if servers.proxy_idle_s is None:
        return
    longest_s = servers.queue_wait_s_max + settings.functions.timeout_s
    _require(
        servers.keep_alive_s > servers.proxy_idle_s,
        f"servers.keep_alive_s = {servers.keep_alive_s:g} is not longer than "
        f"servers.proxy_idle_s = {servers.proxy_idle_s:g}",
        "The load balancer would send requests into connections that are closing.",
    )
    _require(
        longest_s < servers.proxy_idle_s,
        f"servers.queue_wait_s_max + functions.timeout_s = {longest_s:g} is not shorter than "
        f"servers.proxy_idle_s = {servers.proxy_idle_s:g}",
        "The load balancer would give up on requests that are still running.",
    )


def _check_counts(settings: Settings, workers_per_server: int) -> None:
    servers = settings.servers
    _require(
        servers.count_min <= servers.count_max,
        f"servers.count_min = {servers.count_min} is above servers.count_max = {servers.count_max}",
        "Raise servers.count_max.",
    )
    workers_max = servers.count_max * workers_per_server
    _require(
        workers_max <= WORKERS_MAX,
        f"servers.count_max = {servers.count_max} times {workers_per_server} workers is {workers_max} processes",
        f"One machine takes at most {WORKERS_MAX}.",
    )


def _require(holds: bool, what: str, remedy: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise SettingsError(f"{what}.", where="settings", remedy=remedy)
