"""How each process of the running app is started."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from peaker.app import environment, needs_host
from peaker.engines.local.aws_environment import made_variables
from peaker.engines.local.child import Child
from peaker.engines.local.listener import open_listener, url_of
from peaker.engines.local.starting_secrets import starting_secrets
from peaker.local_aws_section import LOCAL
from peaker.policy.supervision import Kind, Role
from peaker.settings import Settings
from peaker.stand_in_variables import above, region_of_stand_in, without_aws
from peaker.state import StateDirectory

MODULES: Mapping[Kind, str] = {
    Kind.WORKER: "peaker.servers.worker",
    Kind.HOST: "peaker.functions.host",
    Kind.EVENTS: "peaker.events.main",
    Kind.CONTROL: "peaker.control.main",
    Kind.AWS: "peaker.local_aws.main",
}
_LISTENER_OPTIONS = {
    Kind.WORKER: "--listen-fd",
    Kind.HOST: "--invoke-fd",
    Kind.CONTROL: "--ops-fd",
    Kind.AWS: "--aws-fd",
}


@dataclass(slots=True)
class Listeners:
    """The sockets that outlive the processes which use them; None for what is not there: `app` without a web app..."""

    ops: socket.socket
    app: socket.socket | None = None
    invoke: socket.socket | None = None
    aws: socket.socket | None = None

    def of(self, kind: Kind) -> socket.socket | None:
        """What a process of this kind listens on."""
        return {Kind.WORKER: self.app, Kind.HOST: self.invoke, Kind.CONTROL: self.ops, Kind.AWS: self.aws}.get(kind)

    def urls(self) -> tuple[str, str, str]:
        """App, ops and Lambda endpoint; "" for what is not there."""
        return url_of(self.app) if self.app else "", url_of(self.ops), url_of(self.invoke) if self.invoke else ""

    def close(self) -> None:
        """Close this process's copies; the others keep theirs."""
        for listener in (self.app, self.ops, self.invoke, self.aws):
            if listener is not None:
                listener.close()


def address_settings(settings: Settings) -> dict[Kind, tuple[str, str]]:
    """Name and value of the setting that says where a kind of process listens."""
    return {
        Kind.WORKER: ("app.listen", settings.app.listen),
        Kind.CONTROL: ("app.ops_listen", settings.app.ops_listen),
        Kind.HOST: ("functions.invoke_listen", settings.functions.invoke_listen),
        Kind.AWS: ("local_aws.listen", settings.local_aws.listen),
    }


def open_listeners(settings: Settings, adopted: Mapping[Kind, socket.socket]) -> Listeners:
    """Sockets handed over by running processes, and new ones for the rest.

    Raises:
        ListenError: one cannot be opened; those opened before it are closed again.
    """
    opened: dict[Kind, socket.socket] = dict(adopted)
    names = address_settings(settings)
    try:
        for kind, is_used in is_listened_on(settings).items():
            if is_used and kind not in opened:
                name, address = names[kind]
                opened[kind] = open_listener(address, name)
    except BaseException:
        for listener in opened.values():
            listener.close()
        raise
    return Listeners(opened[Kind.CONTROL], opened.get(Kind.WORKER), opened.get(Kind.HOST), opened.get(Kind.AWS))


def is_listened_on(settings: Settings) -> dict[Kind, bool]:
    """Which kinds of process an app has: it may have no web app, or no function that runs here."""
    return {
        Kind.WORKER: bool(settings.app.web),
        Kind.CONTROL: True,
        Kind.HOST: needs_host(settings),
        Kind.AWS: settings.aws.endpoint == LOCAL,
    }


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything needed to start a process of one generation."""

    settings: Settings
    state: StateDirectory
    generation: int
    listeners: Listeners
    modules: Mapping[Kind, str] = field(default_factory=lambda: MODULES)
    is_development: bool = False
    """Workers have the terminal, for debuggers; nothing that is stopped in one is killed for being slow."""
    secrets: Mapping[str, str] = field(init=False, repr=False)
    """Read when the generation begins; `dataclasses.replace` reads them again."""

    def __post_init__(self) -> None:
        """Read the secrets; raises SettingsError naming one that is missing."""
        object.__setattr__(self, "secrets", starting_secrets(self.settings))

    @property
    def aws_endpoint(self) -> str:
        """Where what stands in for AWS answers; "" without one."""
        if self.settings.aws.endpoint == LOCAL and self.listeners.aws is not None:
            return url_of(self.listeners.aws)
        return self.settings.aws.endpoint

    def command(self, role: Role, row: int | None, name: str = "") -> list[str]:
        """The command line, as docs/architecture.md has it."""
        # -P: the app's directory comes onto the path when the app is imported, not before, so that a module of the
        # app named like one of the standard library does not break Peaker itself.
        command = [sys.executable, "-P", "-m", self.modules[role.kind]]
        command += ["--state", str(self.state.root), "--generation", str(self.generation)]
        if row is not None:
            command += ["--row", str(row)]
        if role.kind is Kind.HOST and name not in ("", role.kind.value):
            command += ["--name", name]
        listener = self.listeners.of(role.kind)
        if listener is not None:
            command += [_LISTENER_OPTIONS[role.kind], str(listener.fileno())]
        return command

    def start(self, role: Role, row: int | None, name: str = "") -> Child:
        """Start it; raises PeakerError where that fails."""
        listener = self.listeners.of(role.kind)
        return Child.start(
            self.command(role, row, name),
            environment=self._environment(role.kind),
            directory=Path(self.settings.directory),
            descriptors=[listener.fileno()] if listener is not None else [],
            has_terminal=self.is_development and role.kind is Kind.WORKER,
        )

    def _environment(self, kind: Kind) -> dict[str, str]:
        """What runs the user's code, or checks a webhook's signature, is given the secrets; control is not."""
        if kind is Kind.AWS:
            return without_aws(os.environ)
        secrets = {} if kind is Kind.CONTROL else self.secrets
        declared = {**environment(self.settings), **secrets}
        if not self.aws_endpoint:
            return {**os.environ, **declared}
        given = self._stand_in_variables(declared)
        return {**without_aws(os.environ), **above(self.settings, declared, given), **given}

    def _stand_in_variables(self, declared: Mapping[str, str]) -> dict[str, str]:
        lambda_endpoint = url_of(self.listeners.invoke) if self.listeners.invoke is not None else ""
        region = region_of_stand_in(self.settings, declared)
        return made_variables(self.state, self.aws_endpoint, lambda_endpoint, region)
