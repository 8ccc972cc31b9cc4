"""Functions whose runtime is a program of its own that speaks the Runtime API.

They are started as Python ones are: by a zygote, which here holds no user code, so that limits, sessions, reaping and
logs are one mechanism. The forked copy executes the program. From then on the instance is heard on its Runtime API
instead of its channel.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from peaker import frames
from peaker.functions import proc
from peaker.functions.command import resolve_command
from peaker.functions.context import function_arn
from peaker.functions.forked import Instance
from peaker.functions.launcher import Launcher
from peaker.functions.outcome import InitFailed
from peaker.functions.rung import Rung
from peaker.functions.runtime_api import RESPONSE_BYTES_MAX, Listener, RuntimeApi, RuntimeInvocation, RuntimeResult
from peaker.functions.runtime_port import RuntimePort, runtime_limits
from peaker.units import KIB

INIT_S_MAX = 10.0
"""Until the runtime asks for its first event ("Lambda execution environment lifecycle": the init phase)."""

STRANGERS_TOLD_MAX = 20
"""Refused connections that one instance's log tells of; a flood of them is no flood of lines."""


class ProvidedInstance(Instance):
    """One process of the user's program with its own Runtime API."""

    def __init__(self, *, function_arn: str, **common: Any) -> None:
        super().__init__(**common)
        self._function_arn = function_arn
        self._api = RuntimeApi(
            Listener(
                on_ready=self._asked,
                on_begun=self._begun,
                on_result=self._answered,
                on_init_error=self._init_failed,
                on_stream=self._begin_stream,
                on_piece=self._feed_stream,
            )
        )
        self._port = RuntimePort(
            self._api.answer,
            limits=runtime_limits(RESPONSE_BYTES_MAX),
            refuse=self._api.refuse,
            open_body=self._api.open_body,
        )
        self._streamed_over: asyncio.Transport | None = None
        self._begun_s = 0.0
        self._deadline_s = 0.0
        self._strangers = 0
        self._has_asked = False
        self._is_to_freeze = False
        self._when_free: Callable[[], None] | None = None
        self._rest_timer: Any = None

    @property
    def address(self) -> str:
        """Host and port of its Runtime API."""
        return self._port.address

    @property
    def alive(self) -> bool:
        """Whether the process is there and nobody has asked for its end; its channel ended when it was executed."""
        return bool(self.pid) and self._status is None and not self._kill_reason

    def forked(self, pid: int, pidfd: int) -> bool:
        """The process is there; from now on it can be told from strangers."""
        is_wanted = super().forked(pid, pidfd)
        if is_wanted:
            self._port.begin(self._own_pids, self._note_stranger)
        return is_wanted

    def _own_pids(self) -> list[int]:
        return [*proc.descendants(self.pid), *self.enclosure.pids()]

    def _note_stranger(self) -> None:
        self._strangers += 1
        if self._strangers > STRANGERS_TOLD_MAX:
            return
        self._take_line("Peaker: another process tried to speak to this instance's Runtime API and was refused.")

    async def ready(self, limit_s: float) -> None:
        """Wait until it asks for its first event.

        Raises:
            InitFailed: it has told that it cannot start.
            AppStartError: it cannot be executed, it ended, or it took too long.
        """
        limit_s = min(limit_s, INIT_S_MAX)
        await super().ready(limit_s)

    def when_free(self, done: Callable[[], None]) -> None:
        """Call `done` when it has asked for another event: until then it may go on with the one it has answered."""
        if self._has_asked or not self.alive:
            done()
        else:
            self._when_free = done

    def freeze(self) -> None:
        """As soon as it has asked for another event."""
        if self._has_asked:
            super().freeze()
        else:
            self._is_to_freeze = True

    def thaw(self) -> None:
        """Give it CPU time again."""
        self._is_to_freeze = False
        super().thaw()

    def close(self) -> None:
        """End it; Lambda too gives a runtime without extensions no time to shut down."""
        self.kill("closed")

    def exited(self, status: int) -> None:
        """The process has ended."""
        self._port.close()
        self._end_of_rest()
        super().exited(status)

    def eof_received(self) -> None:
        """The program was executed, or the process has ended, of which its exit status tells."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing: see `eof_received`."""

    def _send_run(self, head: frames.Head, payload: bytes) -> None:
        self._deadline_s = head["deadline_s"]
        self._end_of_rest()
        self._has_asked = False
        self._streamed_over = None
        context = head.get("client_context", "")
        self._api.give(
            RuntimeInvocation(
                request_id=head["request_id"],
                payload=payload,
                deadline_epoch_ms=int((time.time() + self._deadline_s - time.monotonic()) * 1000),
                function_arn=head.get("arn", "") or self._function_arn,
                trace_id=head.get("trace_id", ""),
                # A header holds no characters beyond Latin-1.
                client_context=json.dumps(json.loads(context)) if context else "",
            )
        )
        self._begun_s = time.monotonic()

    # What a ResponseStream asks of its source.

    def pause(self) -> None:
        """Read nothing more of the response."""
        if self._streamed_over is not None and not self._streamed_over.is_closing():
            self._streamed_over.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self._streamed_over is not None and not self._streamed_over.is_closing():
            self._streamed_over.resume_reading()

    def tell_gone(self) -> None:
        """The Runtime API has no word for it."""

    # What the runtime says.

    def _asked(self) -> None:
        self._has_asked = True
        self._end_of_rest()
        self._has_said_ready = True
        self._become_ready()
        if self._is_to_freeze:
            self._is_to_freeze = False
            super().freeze()
        when_free, self._when_free = self._when_free, None
        if when_free is not None:
            when_free()

    def _begun(self) -> None:
        self._has_asked = False
        self._begun_s = time.monotonic()

    def _answered(self, result: RuntimeResult) -> None:
        if self._status is not None:
            return
        now_s = time.monotonic()
        # What it still does belongs to this invocation, and ends with its time.
        self._rest_timer = self._loop.call_later(max(0.0, self._deadline_s - now_s), self._rest_too_long)
        if self._reply is None or self._reply.done():
            return
        head = {
            "kind": "result",
            "function_error": "Unhandled" if result.is_error else "",
            "duration_ms": round((now_s - self._begun_s) * 1000, 3),
            "growth_kb": self._peak_bytes() // KIB,
        }
        self._reply.set_result((head, result.payload))

    def _begin_stream(self, content_type: str, transport: asyncio.Transport) -> bool:
        if self._stream is None:
            return False
        self._streamed_over = transport
        self._stream.begin(content_type)
        return True

    def _feed_stream(self, piece: bytes) -> None:
        if self._stream is not None:
            self._stream.feed(piece)

    def _peak_bytes(self) -> int:
        return self.private_peak_bytes() or sum(proc.memory_bytes(pid)[1] for pid in proc.descendants(self.pid))

    def _init_failed(self, error_type: str, body: bytes) -> None:
        self.start_failed(InitFailed(error_type, body))

    def _rest_too_long(self) -> None:
        self._take_line(f"Peaker: {self._request_id} was answered but went on over its time; the process is ended.")
        self.kill("it did not ask for another event in time", "Sandbox.Timedout")

    def _end_of_rest(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None


class ProvidedLauncher(Launcher):
    """Starts instances of one function with a runtime of its own."""

    def __init__(self, spec: Any, **common: Any) -> None:
        super().__init__(spec, **common)
        self.rung = Rung.FRESH
        self._argv: list[str] = []

    async def start(self) -> None:
        """Find the program, start the zygote.

        Raises:
            SettingsError: there is no such program or layer, or it may not be executed.
            AppStartError: the zygote did not start.
        """
        self._argv = resolve_command(self.spec, self._settings.directory, self._environment)
        await super().start()

    def _new_instance(self, **common: Any) -> Instance:
        return ProvidedInstance(function_arn=function_arn(self.spec.name, self._environment["AWS_REGION"]), **common)

    def _bounds(self, instance: Instance) -> dict[str, Any]:
        assert isinstance(instance, ProvidedInstance)
        enclosure = instance.enclosure
        return {
            "name": instance.name,
            "read_only": enclosure.read_only,
            # Without a cgroup, by which the next host would find it, it must not outlive its zygote.
            "dies_with_parent": not enclosure.limits_memory,
            "argv": self._argv,
            "variables": {"AWS_LAMBDA_RUNTIME_API": instance.address},
        }

    def _park_later(self) -> None:
        """Nothing: a copy forked ahead would save a millisecond of a start that takes many."""
