"""The host's side of one function: its zygote, and the instances forked from it.

A `Launcher` keeps one zygote on the best rung that is safe for the user's code and forks instances from it. An
`Instance` runs one invocation at a time. Neither decides anything about how many there are: that is the pool's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from peaker.app import FunctionSpec
from peaker.errors import FunctionCrashed
from peaker.functions.limits import Limits
from peaker.settings import Settings

OnLog = Callable[[str, str], None]
"""Called with the request id ("" while the instance starts) and one line of the function's output, without its end."""


class Rung(Enum):
    """How much of the user's code a zygote holds when it forks; the best that is safe."""

    WARMED = "warmed"
    """Imported, started, asked the warm-up request, stopped again."""
    IMPORTED = "imported"
    """Imported, nothing run."""
    FRESH = "fresh"
    """Nothing: every instance imports the code itself."""


class InstanceDied(FunctionCrashed):  # noqa: N818 - named for the outcome
    """The instance's process ended while it ran an invocation; the effect is unknown.

    `error_type` and `message` are what Lambda would answer: `Sandbox.Timedout`, `Runtime.ExitError` or
    `Runtime.OutOfMemory`; `payload()` is that answer as JSON.
    """

    def __init__(self, message: str, *, error_type: str) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type

    @property
    def timed_out(self) -> bool:
        """Whether it was killed at its deadline."""
        return self.error_type == "Sandbox.Timedout"

    def payload(self, request_id: str) -> bytes:
        """The JSON body that goes with X-Amz-Function-Error: Unhandled."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One invocation that came back from its instance."""

    payload: bytes
    function_error: str = ""
    """"" for success, else `Unhandled`."""
    cold: bool = False
    init_ms: float = 0.0
    duration_ms: float = 0.0
    max_memory_mb: int = 0
    log_lines_dropped: int = 0


class Instance:
    """One forked copy of a function. Made by `Launcher.fork`, ready to run."""

    name: str
    """Unique over hosts and time; the last part of the log stream."""
    pid: int
    started_at_s: float
    """Monotonic time at which the fork was asked for."""
    init_ms: float
    """From there to ready: fork, imports that were left to do, lifespan."""
    invocations: int
    """Invocations begun."""
    on_exit: Callable[[Instance], None] | None
    """Set by the owner; called once when the process has ended, for whatever reason, also after `kill` and `close`."""

    @property
    def alive(self) -> bool:
        """Whether the process is there and its channel open."""
        raise NotImplementedError

    async def run(
        self,
        payload: bytes,
        *,
        request_id: str,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        cold: bool = False,
    ) -> Outcome:
        """Run one invocation; one at a time.

        Args:
            payload: the event as JSON.
            request_id: unique; tags the log lines and is `context.aws_request_id`.
            deadline_s: reading of `time.monotonic` at which the instance is killed if it has not answered.
            headers: of the Invoke request, names in lower case; `traceparent`, `x-amzn-trace-id` and
                `x-amz-client-context` reach the function.
            cold: whether this invocation waited for the start; told to the function's caller in the run notes.

        Raises:
            InstanceDied: it exited, was killed by the kernel, or was killed here at the deadline. The process is gone
                (or as good as) and the instance must not be used again.
        """
        raise NotImplementedError

    def kill(self) -> None:
        """End it now, with everything it started; returns at once, `on_exit` follows."""
        raise NotImplementedError

    def close(self) -> None:
        """Let it end by itself (lifespan shutdown) within two seconds, then kill; returns at once, `on_exit` follows."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Stop its CPU time between invocations, as Lambda does."""
        raise NotImplementedError

    def thaw(self) -> None:
        """Give it CPU time again."""
        raise NotImplementedError


class Launcher:
    """Starts and restarts one function's zygote and forks instances from it.

    `settings.functions.like` says whether instances get Lambda's CPU share and read-only disk.
    """

    spec: FunctionSpec
    rung: Rung
    rung_reason: str
    """One sentence that says why it is not WARMED; "" where it is."""
    zygote_pid: int
    """0 while there is none."""
    zygote_rss_bytes: int
    warnings: list[str]
    """Sentences for the user about what this machine cannot enforce."""

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        settings: Settings,
        environment: Mapping[str, str],
        limits: Limits,
        on_log: OnLog,
        on_death: Callable[[str], None] | None = None,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Start the zygote at the best safe rung; also used again after `on_death`. Living instances are not touched.

        Raises:
            AppImportError: the target does not import; names the user's error.
            AppStartError: it imports but does not start (lifespan failed, or it does not fit into memory_mb).
        """
        raise NotImplementedError

    async def fork(self) -> Instance:
        """Fork an instance and wait until it is ready to run; safe to call many at once.

        Raises:
            AppStartError: the instance did not get ready (its lifespan failed, its import failed, it took too long).
            Unavailable: there is no zygote now.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """End the zygote and all instances and remove what was made for them."""
        raise NotImplementedError
