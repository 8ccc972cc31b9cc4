"""What a pool needs of instances and of whatever starts them, and how the platform's pace is modelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from peaker.functions.launcher import Outcome
from peaker.functions.stream import ResponseStream
from peaker.policy.stream_pace import UNPACED, StreamPace


class RunningInstance(Protocol):
    """What a pool needs of an instance (functions/launcher.py: Instance)."""

    name: str
    init_ms: float
    on_exit: Callable[[Any], None] | None

    @property
    def alive(self) -> bool:
        """Whether it can run another invocation."""
        ...

    async def run(
        self,
        payload: bytes,
        *,
        request_id: str,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        cold: bool = False,
        stream: ResponseStream | None = None,
    ) -> Outcome:
        """Run one invocation; raises InstanceDied. Where the function streams, its response goes into `stream`."""
        ...

    def when_free(self, done: Callable[[], None]) -> None:
        """Call `done` once it can run another invocation after the one it has answered."""
        ...

    def kill(self) -> None:
        """End it now; `on_exit` follows."""
        ...

    def close(self) -> None:
        """Let it end; `on_exit` follows."""
        ...

    def freeze(self) -> None:
        """Stop its CPU time."""
        ...

    def thaw(self) -> None:
        """Give it CPU time again."""
        ...


class Starter(Protocol):
    """What a pool needs of a launcher (functions/launcher.py: Launcher)."""

    async def fork(self) -> RunningInstance:
        """Start an instance; raises AppStartError, or Unavailable while there is no zygote."""
        ...


class StartModel(Protocol):
    """How starting and invoking differ from what this machine does by itself (functions/lambda_like.py)."""

    freezes: bool
    stream_pace: StreamPace

    def may_start(self, now_s: float) -> bool:
        """Whether the platform would start another instance for a request now."""
        ...

    def start_s(self, took_s: float) -> float:
        """How long a start takes in all where this machine took `took_s`; at least that."""
        ...

    def overhead_s(self) -> float:
        """What an invocation takes beside its run."""
        ...


class AsFastAsCanBe:
    """`like = "local"`: nothing is added."""

    freezes = False
    stream_pace = UNPACED

    def may_start(self, now_s: float) -> bool:  # noqa: ARG002 - as in the interface
        """Always."""
        return True

    def start_s(self, took_s: float) -> float:
        """As long as it took."""
        return took_s

    def overhead_s(self) -> float:
        """None."""
        return 0.0
