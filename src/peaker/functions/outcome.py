"""How an invocation ends: with an answer, or with the end of its instance."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass

from peaker.errors import AppStartError, FunctionCrashed


class InstanceDied(FunctionCrashed):
    """The instance's process ended while it ran an invocation; the effect is unknown.

    `error_type` and `message` are what Lambda would answer: `Sandbox.Timedout`, `Runtime.ExitError` or
    `Runtime.OutOfMemory`; `payload` is that answer as JSON.
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
        document = {"errorType": self.error_type, "errorMessage": f"RequestId: {request_id} Error: {self.message}"}
        return json.dumps(document).encode()


class InitFailed(AppStartError):  # noqa: N818 - named for what was told
    """A runtime has told, by `init/error`, that it cannot start; `body` is what its caller is answered."""

    def __init__(self, error_type: str, body: bytes) -> None:
        self.error_type = error_type or "Runtime.Unknown"
        self.body = body
        super().__init__(f"the runtime failed to start: {self.error_type}: {body[:500].decode(errors='replace')}")


@dataclass(slots=True, kw_only=True)  # not frozen: that costs a call for each field of each invocation
class Outcome:
    """One invocation that came back from its instance."""

    payload: bytes
    function_error: str = ""
    """"" for success, else `Unhandled`."""
    cold: bool = False
    init_ms: float = 0.0
    duration_ms: float = 0.0
    max_memory_mb: int = 0
    """The most the instance has held up to now: the zygote's resident size and what it grew by itself."""
    log_lines_dropped: int = 0


def death_by(status: int, kill_reason: str, *, was_out_of_memory: bool) -> InstanceDied:
    """Lambda's words for a process that ended with this wait status.

    `kill_reason` says why we killed it, "" if we did not.
    """
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL and kill_reason:
        return InstanceDied(kill_reason, error_type="Runtime.ExitError")
    if code == -signal.SIGKILL and was_out_of_memory:
        return InstanceDied("Runtime exited with error: signal: killed", error_type="Runtime.OutOfMemory")
    if code == 0:
        return InstanceDied("Runtime exited without providing a reason", error_type="Runtime.ExitError")
    how = f"exit status {code}" if code > 0 else f"signal: {_signal_words(-code)}"
    return InstanceDied(f"Runtime exited with error: {how}", error_type="Runtime.ExitError")


def _signal_words(number: int) -> str:
    """As the system says it: `killed`, `segmentation fault`."""
    return (signal.strsignal(number) or f"signal {number}").lower()
