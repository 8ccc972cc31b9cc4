"""An instance as the host sees it: a channel, a log pipe, a process that may end at any moment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping

from peaker import frames
from peaker.errors import AppImportError, AppStartError, PeakerError
from peaker.functions import proc
from peaker.functions.limits import Enclosure
from peaker.functions.load_handler import HandlerImportError
from peaker.functions.log_pipe import LogPipe
from peaker.functions.outcome import InstanceDied, Outcome, death_by
from peaker.functions.stream import ResponseStream
from peaker.units import KIB, MIB

STATUS_S_MAX = 1.0
"""Once the channel has ended, the process's exit status is waited for this long; then it is killed."""

CLOSE_S_MAX = 2.0
"""Time for an instance's shutdown, as Lambda's Shutdown phase."""


class Instance(asyncio.Protocol):
    """One forked copy of a function. Made by `Launcher.fork`, ready to run."""

    def __init__(
        self,
        *,
        name: str,
        on_log: Callable[[str, str], None],
        on_end: Callable[[Instance], None],
        enclosure: Enclosure,
        shared_bytes: int,
        kill_by_zygote: Callable[[int], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.pid = 0
        self.started_at_s = time.monotonic()
        """Monotonic time at which the instance was asked for."""
        self.init_ms = 0.0
        """From there to ready: fork, imports that were left to do, lifespan."""
        self.inherited_bytes = 0
        """Its resident size when it was forked: pages it shares with the zygote."""
        self.invocations = 0
        """Invocations begun."""
        self.on_exit: Callable[[Instance], None] | None = None
        """Called once when the process has ended, for whatever reason, also after `kill` and `close`."""
        self._loop = loop
        self._on_log = on_log
        self._on_end = on_end
        self.enclosure = enclosure
        self._shared_bytes = shared_bytes
        self._kill_by_zygote = kill_by_zygote
        self._pidfd = -1
        self._status: int | None = None
        self._kill_reason = ""
        self._last_word: InstanceDied | None = None
        self._is_frozen = False
        self._has_said_ready = False
        self._request_id = ""
        self._reader = frames.FrameReader()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._reply: asyncio.Future[tuple[frames.Head, bytes]] | None = None
        self._ended: asyncio.Future[None] = loop.create_future()
        self._stream: ResponseStream | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.log_pipe = LogPipe(loop, self._take_line)

    async def connect(self, channel: socket.socket) -> None:
        """Take the host's end of the channel."""
        try:
            await self._loop.create_unix_connection(lambda: self, sock=channel)
        except BaseException:
            channel.close()
            raise

    def forked(self, pid: int, pidfd: int) -> bool:
        """The process is there, `pidfd` is -1 where the system has none; False if it is no longer wanted."""
        if self._ended.done():
            # Taken apart because the zygote took too long: the closed channel ends it.
            if pidfd >= 0:
                os.close(pidfd)
            return False
        self.pid = pid
        self._pidfd = pidfd
        if pidfd >= 0:
            self._loop.add_reader(pidfd, self._process_ended)
        if self._kill_reason:
            self.kill()
        self._become_ready()
        return True

    def begin(self) -> bool:
        """Have a parked copy become an instance, whose start counts from now; False if it is none any more."""
        if not self.alive or self._transport is None or self._ready.done():
            return False
        self._transport.write(frames.pack({"kind": "begin"}))
        self.started_at_s = time.monotonic()
        return True

    def start_failed(self, error: PeakerError) -> None:
        """There is no process, or it must not be used."""
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # nobody may be waiting for it

    def abandon(self) -> None:
        """Nobody will use it: end it, or take it apart if there is no process."""
        if self.pid:
            self.kill()
        else:
            self.exited(signal.SIGKILL)

    def _become_ready(self) -> None:
        if self.pid and self._has_said_ready and not self._ready.done():
            self._ready.set_result(None)

    async def ready(self, limit_s: float) -> None:
        """Wait until it can run.

        Raises:
            AppImportError: the user's code does not import.
            AppStartError: its start-up failed, it died, or it took longer than `limit_s`.
        """
        try:
            async with asyncio.timeout(limit_s):
                await self._ready
        except TimeoutError:
            self.kill()
            raise AppStartError(f"an instance was not ready within {limit_s:g} s.") from None
        self.init_ms = (time.monotonic() - self.started_at_s) * 1000

    @property
    def alive(self) -> bool:
        """Whether the process is there, its channel open, and nobody has asked for its end."""
        return self._transport is not None and not self._transport.is_closing() and not self._kill_reason

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
        """Run one invocation; one at a time. An invocation given up (cancelled) ends the instance.

        Args:
            payload: the event as JSON.
            request_id: unique; tags the log lines and is `context.aws_request_id`.
            deadline_s: reading of `time.monotonic` at which the instance is killed if it has not answered.
            headers: of the Invoke request, names in lower case; `traceparent`, `x-amzn-trace-id` and
                `x-amz-client-context` (as JSON) reach the function.
            cold: whether this invocation waited for the start; told to the function's caller in the run notes.
            stream: takes the response where the function streams it; the outcome then has no payload but an error's.

        Raises:
            InstanceDied: it exited, was killed by the kernel, or was killed here at the deadline. The process is gone
                (or as good as) and the instance must not be used again.
            FrameError: the payload is longer than a frame may be; nothing was sent.
        """
        if not self.alive or self._transport is None:
            raise self._death()
        if self._reply is not None:
            raise RuntimeError(f"instance {self.name} is already running {self._request_id}")
        head = self._run_head(request_id, deadline_s, headers or {}, cold)
        if stream is not None:
            head["stream"] = True
            self._stream = stream
            stream.connect(self)
        self._send_run(head, payload)
        self.invocations += 1
        self._request_id = request_id
        self._reply = self._loop.create_future()
        started_s = time.monotonic()
        timer = self._loop.call_later(max(0.0, deadline_s - started_s), self._time_out, started_s)
        try:
            head, result = await self._reply
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            timer.cancel()
            self._reply = None
            if self._stream is not None:
                self._stream.finish()
                self._stream = None
            dropped = self.log_pipe.end_of_invocation() if not self._ended.done() else 0
        return self._outcome(head, result, cold=cold, dropped=dropped)

    def _send_run(self, head: frames.Head, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(frames.pack(head, payload))

    def when_free(self, done: Callable[[], None]) -> None:
        """Call `done` at once: with its answer, a Python function says that it can run another invocation."""
        done()

    def _run_head(self, request_id: str, deadline_s: float, headers: Mapping[str, str], cold: bool) -> frames.Head:  # noqa: FBT001
        head = {"kind": "run", "request_id": request_id, "deadline_s": deadline_s, "cold": cold, "init_ms": 0.0}
        if cold:
            head["init_ms"] = round(self.init_ms, 3)
        for name, key in (
            ("traceparent", "traceparent"),
            ("x-amzn-trace-id", "trace_id"),
            ("x-amz-client-context", "client_context"),
            ("lambda-runtime-invoked-function-arn", "arn"),
            ("x-amz-executed-version", "version"),
        ):
            if value := headers.get(name):
                head[key] = value
        return head

    def _outcome(self, head: frames.Head, result: bytes, *, cold: bool, dropped: int) -> Outcome:
        return Outcome(
            payload=result,
            function_error=head["function_error"],
            cold=cold,
            init_ms=self.init_ms if cold else 0.0,
            duration_ms=head["duration_ms"],
            max_memory_mb=-(-(self._shared_bytes + head["growth_kb"] * KIB) // MIB),
            log_lines_dropped=dropped,
        )

    # What a ResponseStream asks of its source.

    def pause(self) -> None:
        """Read nothing more of what it says."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def tell_gone(self) -> None:
        """Nobody waits for the response that it streams."""
        if self.alive and self._transport is not None:
            self._transport.write(frames.pack({"kind": "gone"}))

    def _time_out(self, started_s: float) -> None:
        self.kill(f"Task timed out after {time.monotonic() - started_s:.2f} seconds", "Sandbox.Timedout")

    def kill(self, reason: str = "killed", error_type: str = "Runtime.ExitError") -> None:
        """End it now, with everything it started; returns at once, `on_exit` follows."""
        if not self._kill_reason:
            self._kill_reason = reason
            if self._reply is not None and not self._reply.done():
                self._reply.set_exception(InstanceDied(reason, error_type=error_type))
        if self._is_frozen:
            self.thaw()  # a frozen process of cgroup v1 does not even die
        if self.pid and self._status is None:
            self._send_signal(signal.SIGKILL)

    def _send_signal(self, number: int) -> None:
        """To the main process only; what it started is ended when it has been reaped."""
        if self._pidfd < 0:
            self._kill_by_zygote(self.pid)
            return
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:  # it has ended and been reaped; its status is on its way
            return

    def close(self) -> None:
        """Let it shut down by itself, or be killed after two seconds; returns at once, `on_exit` follows."""
        if self._is_frozen:
            self.thaw()
        if self._transport is None or self._transport.is_closing():
            self.kill()
            return
        self._kill_reason = self._kill_reason or "closed"
        self._transport.write_eof()
        self._timer = self._timer or self._loop.call_later(CLOSE_S_MAX, self.kill)

    def freeze(self) -> None:
        """Take its CPU time away between invocations, as Lambda does."""
        if not self.enclosure.freeze(frozen=True):
            self._send_signal(signal.SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        """Give it CPU time again."""
        if not self.enclosure.freeze(frozen=False):
            self._send_signal(signal.SIGCONT)
        self._is_frozen = False

    def private_peak_bytes(self) -> int:
        """The most memory of its own it has held, 0 where no cgroup counts it."""
        return self.enclosure.peak_bytes()

    async def wait_ended(self) -> None:
        """Return when the process has ended and been taken in."""
        await asyncio.shield(self._ended)

    # What happens to it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The channel is open."""
        self._transport = transport  # type: ignore[assignment]  # a stream transport, as it is a stream socket

    def data_received(self, data: bytes) -> None:
        """The instance said something; it is believed only as far as its frames are sound."""
        try:
            for head, body in self._reader.feed(data):
                self._take_frame(head, body)
        except (frames.FrameError, KeyError) as error:
            self.kill(f"Runtime sent what is no answer: {error}")

    def _take_frame(self, head: frames.Head, body: bytes) -> None:
        kind = head["kind"]
        if not self._ready.done():
            if kind == "ready":
                self.inherited_bytes = head["resident_kb"] * KIB
                self._has_said_ready = True
                self._become_ready()
            else:
                self.start_failed(_start_error(head))
        elif kind == "chunk" and self._stream is not None:
            self._stream.feed(body)
        elif kind == "begin" and self._stream is not None:
            self._stream.begin(str(head.get("content_type", "")))
        elif kind == "result" and self._reply is not None and not self._reply.done():
            self._reply.set_result((_checked_result(head), body))

    def eof_received(self) -> None:
        """The instance has closed its end; its exit status says why, if it comes soon."""
        if self._status is None and self._timer is None:
            self._timer = self._loop.call_later(STATUS_S_MAX, self.kill, "Runtime closed its channel")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the status says more
        """The channel is gone, by whichever side."""
        self.eof_received()

    def _process_ended(self) -> None:
        """The pidfd says so. Its parent is the zygote, or this process if the zygote has died before it."""
        self._loop.remove_reader(self._pidfd)
        self.reap_orphan()

    def reap_orphan(self) -> None:
        """Take its exit status ourselves if it is our child now, as it is once the zygote has died."""
        if self._status is not None or self._pidfd < 0:
            return
        try:
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return  # it is the zygote's, which will tell
        if ended is None:
            return
        proc.kill_group(self.pid)
        _, status = os.waitpid(self.pid, 0)
        self._reap_group(20)
        self.exited(status)

    def _reap_group(self, attempts: int) -> None:
        """Reap what was killed with it; all of that became our children when it ended."""
        try:
            while os.waitid(os.P_PGID, self.pid, os.WEXITED | os.WNOHANG) is not None:
                pass
        except ChildProcessError:
            return
        if attempts:
            self._loop.call_later(0.05, self._reap_group, attempts - 1)

    def exited(self, status: int) -> None:
        """The process has ended and been reaped, with this wait status."""
        if self._status is not None:
            return
        self._status = status
        if self._timer is not None:
            self._timer.cancel()
        death = self._last_word = self._death()
        remedy = "memory_mb is too little for it." if death.error_type == "Runtime.OutOfMemory" else ""
        self.start_failed(AppStartError(f"an instance ended while it started: {death.message}.", remedy=remedy))
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(death)
        self.log_pipe.close()
        if self._transport is not None:
            self._transport.abort()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._ended.set_result(None)
        self._on_end(self)
        if self.on_exit is not None:
            self.on_exit(self)

    def _death(self) -> InstanceDied:
        """Why it is not alive, in Lambda's words."""
        if self._last_word is not None:
            return self._last_word
        if self._status is None:
            return InstanceDied(self._kill_reason or "Runtime closed its channel", error_type="Runtime.ExitError")
        was_out_of_memory = self.enclosure.was_out_of_memory()
        return death_by(self._status, self._kill_reason, was_out_of_memory=was_out_of_memory)

    def _take_line(self, line: str) -> None:
        self._on_log(self._request_id, line)


def _checked_result(head: frames.Head) -> frames.Head:
    """The head of a result, if it has what a result needs."""
    if not isinstance(head.get("function_error"), str):
        raise frames.FrameError("a result without function_error")
    duration_ms, growth_kb = head.get("duration_ms"), head.get("growth_kb")
    if not (isinstance(duration_ms, (int, float)) and isinstance(growth_kb, (int, float))):
        raise frames.FrameError("a result without duration_ms or growth_kb")
    return head


def _start_error(head: frames.Head) -> PeakerError:
    if handler := head.get("handler"):
        return HandlerImportError.from_json(handler)
    kind = AppImportError if head.get("error") == "import" else AppStartError
    return kind(str(head.get("message", "an instance failed to start.")))
