"""Generations of code and settings, and the change from one to the next: a reload.

A generation is one numbered file of settings and the processes that were started with it: workers, and the function
host they spill to. During a reload two of them live side by side. The new one is started beside the old; once all of
it is ready it is the current one and the old workers drain; the old function host goes with the last of them. If any
process of the new one fails before that, the new one goes and the old one stays as it was.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from peaker.control_socket import Status
from peaker.engines.local.launch import Launch
from peaker.engines.local.member import Member
from peaker.errors import PeakerError, SettingsError
from peaker.policy.supervision import Kind, Role
from peaker.settings import Settings

FIXED = (
    "app.name",
    "app.listen",
    "app.ops_listen",
    "functions.invoke_listen",
    "aws.endpoint",
    "local_aws.listen",
    "servers.count_max",
    "servers.workers",
    "directory",
)
"""Settings of what outlives a generation: the listening sockets, the shared tables, the names of cgroups."""


class ReloadFailed(PeakerError):  # noqa: N818 - named for the outcome
    """The new generation did not start; the old one serves on."""


@dataclass(slots=True)
class Reload:
    """A generation that is being started beside the current one; `ready` tells whoever waits how it went."""

    generation: int
    ready: asyncio.Future[None]
    new_launch: Launch | None = None
    """None while its settings are read and checked."""
    gave_way: set[Role] = field(default_factory=set[Role])
    """Roles whose old worker drains before its heir starts, for want of a row of the shared tables."""

    @property
    def is_begun(self) -> bool:
        """Its processes may be started."""
        return self.new_launch is not None and not self.ready.done()

    @property
    def launch(self) -> Launch:
        """How its processes are started."""
        assert self.new_launch is not None
        return self.new_launch

    def is_ready(self, members: Iterable[Member], wanted: Collection[Role]) -> bool:
        """Every role is filled by a ready process of this generation; what is one for all comes later."""
        ready = {
            member.role
            for member in members
            if member.generation == self.generation and member.status is Status.READY and not member.is_draining
        }
        return all(role in ready for role in wanted if not role.kind.is_shared)

    def succeed(self) -> None:
        """All of it is ready."""
        self.ready.set_result(None)

    def fail(self, reason: str) -> None:
        """Tell whoever waits; nothing happens when it is over already."""
        if not self.ready.done():
            self.ready.set_exception(ReloadFailed(reason))


def is_outgoing_host_needed(host: Member, members: Iterable[Member]) -> bool:
    """Workers of its generation are left: what they spill runs in no other version."""
    return any(
        member.role.kind is Kind.WORKER and member.generation == host.generation and not member.child.has_exited
        for member in members
    )


def differences(running: Settings, settings: Settings) -> list[str]:
    """Names of all settings that differ, `section.key` within a section."""
    names = []
    for section in dataclasses.fields(Settings):
        old, new = getattr(running, section.name), getattr(settings, section.name)
        if old == new:
            continue
        if dataclasses.is_dataclass(old) and dataclasses.is_dataclass(new):
            keys = (key.name for key in dataclasses.fields(old))
            names += [f"{section.name}.{key}" for key in keys if getattr(old, key) != getattr(new, key)]
        else:
            names.append(section.name)
    return names


def require_reloadable(running: Settings, settings: Settings) -> None:
    """Refuse what cannot change while the app runs.

    Raises:
        SettingsError: names every such setting that differs.
    """
    refused = [name for name in differences(running, settings) if name in FIXED]
    if bool(running.app.web) != bool(settings.app.web):
        refused.append("app.web (there was none, or there is none now)")
    if refused:
        raise SettingsError(
            f"a reload cannot change: {', '.join(refused)}.",
            where=settings.directory,
            remedy="Put them back, or `peaker stop` and run again.",
        )
