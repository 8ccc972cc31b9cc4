"""Servers as the fleet sees them: each is a group of worker processes."""

from __future__ import annotations

from collections.abc import Iterable

from peaker.control_socket import Status
from peaker.engines.local.member import Member
from peaker.interfaces import Server, ServerStatus
from peaker.policy.supervision import Kind


def servers_of(members: Iterable[Member], workers_per_server: int) -> list[Server]:
    """The servers there are now; one that drains beside its heir is listed once, as the heir."""
    by_number: dict[int, list[Member]] = {}
    for member in members:
        if member.role.kind is Kind.WORKER:
            by_number.setdefault(member.role.server, []).append(member)
    return [
        Server(
            name=f"server-{number}",
            status=_status(workers, workers_per_server),
            started_at_s=min(worker.started_epoch_s for worker in workers),
        )
        for number, workers in sorted(by_number.items())
    ]


def _status(workers: list[Member], workers_per_server: int) -> ServerStatus:
    """During a reload a server has workers of two generations: it is ready as long as those of one are."""
    current = [worker for worker in workers if not worker.is_draining]
    if not current:
        return ServerStatus.DRAINING
    for generation in {worker.generation for worker in current}:
        of_one = [worker for worker in current if worker.generation == generation]
        if len(of_one) == workers_per_server and all(worker.status is Status.READY for worker in of_one):
            return ServerStatus.READY
    if any(worker.status is Status.FAILED for worker in current):
        return ServerStatus.FAILED
    return ServerStatus.STARTING
