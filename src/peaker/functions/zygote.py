"""`python -m peaker.functions.zygote FD`: the process instances are forked from.

It holds the user's code on one of three rungs (`Rung`), proves after each step that it is still fit to be forked, and
then waits in one blocking loop for the host to ask for a fork or for a child to end. FD is a socketpair to the host:
one JSON message a packet, descriptors beside it.

From the host: `prepare` once, then any number of `fork` (descriptors: channel, log pipe, then cgroups to join) and
`kill`. To the host: `step` as it goes, then `ready`, or `unsafe` (start again one rung down) or `failed` (the user's
error); after that `forked` (with a pidfd beside it) and `exited`. When the host is gone, so is everything here.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from peaker import frames
from peaker.app import FunctionSpec
from peaker.errors import AppImportError, AppStartError
from peaker.functions import (
    after_fork,
    canary,
    executing,
    instance,
    kernel,
    preparation,
    private_tmp,
    proc,
    working_set,
)
from peaker.functions.fork_safety import find_hazards
from peaker.functions.load_handler import HandlerImportError
from peaker.functions.rung import Rung
from peaker.units import KIB

MESSAGE_BYTES_MAX = 64 * KIB
FDS_MAX = 8
OOM_SCORE = "500"
TEXT_MAX = 8000


class Zygote:
    """The process between its steps and its forks."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._instances: set[int] = set()
        self._code: Callable[..., Any] | None = None
        self._order: dict[str, Any] = {}
        self._cannot_enter = ""
        self._written: working_set.Ranges = []
        self._kept_in_tmp: list[str] | None = None

    def run(self) -> int:
        """Prepare, then serve the host until it is gone; returns the exit code."""
        received = self._receive()
        if received is None:
            return 0
        self._order, _ = received
        spec = FunctionSpec(**self._order["spec"])
        if self._order["private_tmp"]:
            self._look_for_private_tmp()
        if not self._prepare(spec, Rung(self._order["rung"])):
            return 1
        self._serve(spec)
        return 0

    def _prepare(self, spec: FunctionSpec, rung: Rung) -> bool:
        """Climb to `rung`, checking after each step; tells the host and returns whether it got there."""
        if spec.is_provided:
            # Nothing of this process is left in an instance once its program has been executed.
            self._tell("ready", resident_bytes=0, virtual_bytes=0)
            return True
        # Collections during the steps would scatter garbage over pages that all instances are to share.
        gc.disable()
        if not self._climb(spec, rung):
            return False
        preparation.run_before_snapshot_hooks()
        gc.collect()
        gc.freeze()
        self._tell("step", step="the trial instance")
        trial = canary.try_fork(
            lambda channel: self._become_instance(spec, {"name": "canary", "dies_with_parent": True}, [channel]),
            spec.warm_up if rung is Rung.WARMED else "",
            limit_s=self._order["start_s_max"] if rung is Rung.FRESH else self._order["canary_s"],
        )
        if trial.failure:
            self._tell(
                "failed" if rung is Rung.FRESH else "unsafe",
                error=trial.kind,
                step="canary",
                text=trial.failure,
                handler=trial.handler,
            )
            return False
        self._written = trial.written
        virtual_bytes, resident_bytes = proc.memory_bytes()
        self._tell("ready", resident_bytes=resident_bytes, virtual_bytes=virtual_bytes)
        return True

    def _climb(self, spec: FunctionSpec, rung: Rung) -> bool:
        """Import, then warm up, as far as `rung` goes; False where the host has been told what went wrong."""
        try:
            if rung is not Rung.FRESH:
                self._tell("step", step=f"importing {spec.target}")
                self._code = instance.load(spec, self._order["directory"])
                if not self._is_fit("import", f"importing {spec.target}"):
                    return False
            if rung is Rung.WARMED and self._code is not None:
                self._tell("step", step="starting, warming and stopping the app")
                note = preparation.warm_up(self._code, spec.warm_up)
                if note:
                    self._tell("note", text=note)
                return self._is_fit("warm", "starting, warming and stopping the app")
        except AppImportError as error:
            handler = error.to_json() if isinstance(error, HandlerImportError) else None
            self._tell("failed", error="import", text=str(error), handler=handler)
            return False
        except AppStartError as error:
            self._tell("failed", error="start", text=str(error))
            return False
        return True

    def _look_for_private_tmp(self) -> None:
        """Whether instances can have a /tmp of their own, and what of the machine's they are to keep."""
        kept = private_tmp.paths_to_keep(self._order["directory"])
        if reason := private_tmp.why_impossible(kept):
            self._tell("note", text=f"instances share the machine's /tmp: {reason}")
        else:
            self._kept_in_tmp = kept

    def _is_fit(self, step: str, text: str) -> bool:
        gc.collect()
        hazards = find_hazards(self._own_fds())
        if hazards:
            self._tell("unsafe", step=step, text=f"{text} left {hazards} behind, which a forked copy cannot share")
        return not hazards

    def _own_fds(self) -> set[int]:
        return {0, 1, 2, self._control.fileno(), self._wake_read, self._wake_write}

    def _serve(self, spec: FunctionSpec) -> None:
        # From here on the end of the control socket says that the host is gone, and instances are ended first.
        kernel.die_with_parent(0)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        with contextlib.suppress(ConnectionError):  # the host ended while something was on its way to it
            # Children that ended before the handler stood (the canary's own) are looked for once.
            self._reap()
            while self._take_turn(spec, poll):
                pass
        self._end_all()

    def _take_turn(self, spec: FunctionSpec, poll: select.poll) -> bool:
        """Wait for the host or for the end of a child; False once the host is gone."""
        for fd, _ in poll.poll():
            if fd == self._wake_read:
                os.read(self._wake_read, 4096)
                self._reap()
            elif not self._obey(spec):
                return False
        return True

    def _obey(self, spec: FunctionSpec) -> bool:
        received = self._receive()
        if received is None:
            return False
        message, fds = received
        if message["command"] == "fork":
            self._fork(spec, message, fds)
        elif message["command"] == "enter":
            self._enter(fds)
        elif message["pid"] in self._instances:
            # Known and not reaped yet, so the number cannot belong to anybody else.
            os.kill(message["pid"], signal.SIGKILL)
        return True

    def _enter(self, fds: list[int]) -> None:
        """Move into the cgroups in which the next instance is to be born."""
        self._cannot_enter = ""
        for fd in fds:
            try:
                os.write(fd, b"0")
            except OSError as error:
                self._cannot_enter = f"its cgroup cannot be entered: {error.strerror}"
            os.close(fd)

    def _fork(self, spec: FunctionSpec, message: dict[str, Any], fds: list[int]) -> None:
        try:
            pid = -1 if self._cannot_enter else os.fork()
            failure = self._cannot_enter
        except OSError as error:
            pid, failure = -1, str(error)
        if failure:
            self._tell("fork_failed", id=message["id"], text=failure)
        if pid == 0:
            self._become_instance(spec, message, fds)
        for fd in fds:
            os.close(fd)
        if pid > 0:
            self._instances.add(pid)
            self._tell_forked(message["id"], pid)

    def _tell_forked(self, fork_id: int, pid: int) -> None:
        message = json.dumps({"event": "forked", "id": fork_id, "pid": pid}).encode()
        if not hasattr(os, "pidfd_open"):
            self._control.send(message)
            return
        pidfd = os.pidfd_open(pid)
        try:
            socket.send_fds(self._control, [message], [pidfd])
        finally:
            os.close(pidfd)

    def _become_instance(self, spec: FunctionSpec, message: dict[str, Any], fds: list[int]) -> NoReturn:
        """In the child: turn into an instance and never come back to the zygote's loop."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            channel_fd, *rest = fds
            log_fd, join_fds = (rest[0], rest[1:]) if rest else (None, [])
            own_fds = [self._control.detach(), self._wake_read, self._wake_write]
            after_fork.take_over(message, log_fd, join_fds, own_fds, kept_in_tmp=self._kept_in_tmp)
            channel = socket.socket(fileno=channel_fd)
            if message.get("parked") and not self._wait_parked(channel):
                code = 0
            elif spec.is_provided:
                executing.execute(message, channel)
            else:
                after_fork.begin()
                code = instance.serve(spec, self._order["directory"], self._code, channel)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001 - the child must not unwind into the zygote; its last word is its log
            sys.excepthook(*sys.exc_info())
        finally:
            after_fork.flush()
            os._exit(code & 0xFF)

    def _wait_parked(self, channel: socket.socket) -> bool:
        """In the child: take copies of the pages an instance will write to, and wait; False once nobody wants it."""
        working_set.copy_ahead(self._written)
        return frames.receive(channel) is not None

    def _reap(self) -> None:
        """Take in all children that have ended; kill what is left of an ended instance's process group."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            if pid in self._instances:
                # While it is not reaped, its number cannot be another group's.
                proc.kill_group(pid)
            _, status = os.waitpid(pid, 0)
            if pid in self._instances:
                self._instances.remove(pid)
                self._kill_strays()
                self._tell("exited", pid=pid, status=status)

    def _kill_strays(self) -> None:
        """End children nobody knows: processes that left their instance's group, given to us when it ended.

        Where instances are in cgroups the host ends exactly the right ones, so this is for machines without.
        """
        if not self._order["kill_strays"]:
            return
        for pid in proc.children():
            if pid not in self._instances:
                os.kill(pid, signal.SIGKILL)

    def _end_all(self) -> None:
        for pid in self._instances:
            proc.kill_group(pid)
            os.kill(pid, signal.SIGKILL)
        for pid in self._instances:
            os.waitpid(pid, 0)

    def _receive(self) -> tuple[dict[str, Any], list[int]] | None:
        message, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, FDS_MAX)
        return (json.loads(message), fds) if message else None

    def _tell(self, event: str, **details: Any) -> None:
        if "text" in details:
            details["text"] = details["text"][:TEXT_MAX]
        self._control.send(json.dumps({"event": event, **details}).encode())


def main() -> int:
    """Entry point."""
    kernel.die_with_parent(signal.SIGKILL)
    kernel.become_subreaper()
    if sys.platform == "linux":
        # Where the machine runs out of memory, functions are to go before servers; instances inherit this.
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with socket.socket(fileno=int(sys.argv[1])) as control:
        try:
            return Zygote(control).run()
        except BrokenPipeError:  # the host is gone
            return 0


if __name__ == "__main__":
    sys.exit(main())
