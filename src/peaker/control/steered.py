"""Whether there is anything to decide about the number of servers, and the loop that does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from peaker.app import worker_count
from peaker.clock import Clock
from peaker.control.loop import Loop
from peaker.control.observe import Observer, Tables
from peaker.engines.local.fleet import LocalFleet
from peaker.errors import PeakerError
from peaker.meter.price import Prices
from peaker.plan.measured import FILE_NAME, load_measured
from peaker.policy.baseline import DEFAULT, Bounds
from peaker.policy.course import Course, Terms
from peaker.policy.server_capacity import Capacity, told
from peaker.policy.supervision import is_steered, servers_at_least
from peaker.settings import Settings
from peaker.state import StateDirectory

_logger = logging.getLogger("peaker.control")


def loop_of(
    state: StateDirectory,
    settings: Settings,
    tables: Tables,
    functions_may_run: Callable[[], bool],
    clock: Clock,
) -> Loop | None:
    """The loop for this app; None where the settings leave it nothing to decide."""
    if not is_steered(settings):
        return None
    fleet = LocalFleet(state.supervisor_socket)
    return Loop(
        state,
        observer=Observer(state, settings, tables, fleet, clock),
        course=Course(terms_of(settings, tables.prices), _told(settings)),
        fleet=fleet,
        functions_may_run=functions_may_run,
        clock=clock,
    )


def terms_of(settings: Settings, prices: Prices) -> Terms:
    """What the settings and prices fix of the course."""
    servers = settings.servers
    return Terms(
        policy=DEFAULT if servers.policy == "auto" else servers.policy,
        server_usd_per_hour=prices.server.usd_per_hour,
        bounds=Bounds(servers_min=servers_at_least(settings), servers_max=servers.count_max),
        step_s=servers.decide_every_s,
        stay_s=servers.stay_s_min,
        may_spill=settings.app.spill,
    )


def _told(settings: Settings) -> Capacity | None:
    """What `peaker measure` found beside the settings, until servers were seen full."""
    path = Path(settings.directory, FILE_NAME)
    if not path.exists():
        return None
    try:
        found = load_measured(path).capacity_per_s
    except PeakerError as error:
        _logger.warning("%s It is left alone.", error, extra={"action": "measured"})
        return None
    return told(found * worker_count(settings)) if found else None
