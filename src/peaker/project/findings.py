"""What was found: frozen values, each with the place it was seen at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a sign is a sign of."""

    STATE = "state"
    CLIENT = "client"
    THREAD = "thread"
    WEBSOCKET = "websocket"
    STREAMING = "streaming"
    BACKGROUND = "background"
    TIME = "time"


TITLES = {
    Kind.STATE: "state kept in the process or on its disk",
    Kind.CLIENT: "clients made while the code is imported",
    Kind.THREAD: "threads and schedulers",
    Kind.WEBSOCKET: "WebSockets",
    Kind.STREAMING: "responses that stream",
    Kind.BACKGROUND: "work after the response",
    Kind.TIME: "work that may take long",
}

CONSEQUENCES = {
    Kind.STATE: "two processes do not see each other's",
    Kind.CLIENT: "instances are copies of a process, and what is connected in it makes their starts slower",
    Kind.THREAD: "a process with threads cannot be copied, so instances start slower, and each has its own",
    Kind.WEBSOCKET: "they stay on the servers by themselves",
    Kind.STREAMING: "they stay on the servers, unless the route says stream = true",
    Kind.BACKGROUND: "it stays on the servers, for a function ends with its response",
    Kind.TIME: "functions are ended after functions.timeout_s, and 900 s at the most",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One sign: where it stands, and what it is in a few words. `routes` are the paths it concerns, where known."""

    kind: Kind
    path: str
    line: int
    what: str
    routes: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """`path:line`."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebApp:
    """An ASGI or WSGI application: `target` as `[app] web` has it, importable from `import_root`."""

    target: str
    framework: str
    path: str
    line: int
    import_root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A Lambda handler; None and () are what is not said. `notes` is what cannot be carried over."""

    name: str
    handler: str
    path: str = ""
    line: int = 0
    memory_mb: int | None = None
    timeout_s: float | None = None
    concurrency_max: int | None = None
    buffer: int | None = None
    layers: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    import_root: str = ""
    triggers: tuple[tuple[tuple[str, str], ...], ...] = ()
    """What starts it: keys and texts of one `[[function.on]]` each."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a SAM or CloudFormation template says; `notes` is what cannot be carried over."""

    path: str
    functions: tuple[Function, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    memory_mb: int | None = None
    timeout_s: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All of it. `unread` says what was not looked at, and why: then no sign is no proof of anything."""

    name: str
    files: int
    apps: tuple[WebApp, ...] = ()
    handlers: tuple[Function, ...] = ()
    templates: tuple[Template, ...] = ()
    signs: tuple[Sign, ...] = ()
    variables: tuple[str, ...] = ()
    warm_up: str = ""
    has_dotenv: bool = False
    loads_dotenv: bool = False
    unread: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def of(self, *kinds: Kind) -> Sequence[Sign]:
        """The signs of these kinds."""
        return [sign for sign in self.signs if sign.kind in kinds]

    @property
    def may_spill(self) -> bool:
        """No sign of state, and nothing that was not looked at."""
        return not self.of(Kind.STATE) and not self.unread
