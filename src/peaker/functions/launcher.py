"""The host's side of one function: its zygote, and the instances forked from it.

A `Launcher` keeps one zygote on the best rung that is safe for the user's code and forks instances from it. An
`Instance` runs one invocation at a time. Neither decides anything about how many there are: that is the pool's work.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from peaker.app import FunctionSpec
from peaker.errors import AppImportError, AppStartError, PeakerError, Unavailable
from peaker.functions import proc
from peaker.functions.forked import Instance
from peaker.functions.function_environment import function_environment
from peaker.functions.layers import check_layers
from peaker.functions.limits import DESCRIPTORS_MAX, Enclosure, Limits
from peaker.functions.load_handler import HandlerImportError
from peaker.functions.outcome import InstanceDied, Outcome
from peaker.functions.parking import Parking
from peaker.functions.rung import Rung
from peaker.functions.zygote_link import Event, ZygoteLink
from peaker.settings import Settings
from peaker.units import MIB, vcpus

__all__ = ["Instance", "InstanceDied", "Launcher", "OnLog", "Outcome", "Rung"]

OnLog = Callable[[str, str], None]
"""Called with the request id ("" while the instance starts) and one line of the function's output, without its end."""

CANARY_S = 10.0
"""Time for the trial instance of a zygote; an instance that takes longer than this is not worth a fork."""

INSTANCE_OWN_MB_MIN = 16
"""Memory an instance must have left for itself above the zygote's."""

_WATCH_S = 0.25
"""Between looks of the memory watchdog, where no cgroup holds the limit."""

_STOP_S_MAX = 5.0


class Launcher:
    """Starts and restarts one function's zygote and forks instances from it.

    `settings.functions.like` says whether instances get Lambda's CPU share and read-only disk.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        settings: Settings,
        environment: Mapping[str, str],
        limits: Limits,
        on_log: OnLog,
        on_death: Callable[[str], None] | None = None,
        canary_s: float = CANARY_S,
    ) -> None:
        self.spec = spec
        self.rung = Rung.WARMED if spec.web else Rung.IMPORTED
        self.rung_reason = ""
        """One sentence that says why it is not the best rung; "" where it is."""
        if sys.platform != "linux":
            self.rung, self.rung_reason = Rung.FRESH, "Forking with code imported is only safe on Linux."
        self.zygote_rss_bytes = 0
        self.warnings: list[str] = []
        """Sentences for the user about the function and about what this machine cannot enforce."""
        self._settings = settings
        self._is_like_lambda = settings.functions.like == "lambda"
        self._declared = frozenset(environment)
        self._environment = function_environment(spec, settings, environment)
        self._limits = limits
        self._on_log = on_log
        self._on_death = on_death
        self._canary_s = canary_s
        self._zygote: ZygoteLink | None = None
        self._zygote_virtual_bytes = 0
        self._prepared: asyncio.Future[Event] | None = None
        self._is_serving = False
        self.own_init_s = 0.0
        """What importing and starting the app took in the zygote; 0 where instances import by themselves."""
        self._step = ""
        self._step_since_s = 0.0
        self._number = 0
        self._starting: dict[int, Instance] = {}
        self._instances: dict[str, Instance] = {}
        self._by_pid: dict[int, Instance] = {}
        self._next: Enclosure | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._parking = Parking(self._fork_parked)

    @property
    def zygote_pid(self) -> int:
        """0 while there is none."""
        return self._zygote.pid if self._zygote is not None else 0

    @property
    def parked_pid(self) -> int:
        """Of the copy that waits to become an instance, 0 while there is none."""
        return self._parking.pid

    async def start(self) -> None:
        """Start the zygote at the best safe rung; also used again after `on_death`. Living instances are not touched.

        Raises:
            AppImportError: the target does not import; names the user's error.
            AppStartError: it imports but does not start (lifespan failed, or it does not fit into memory_mb).
            SettingsError: a layer of it is not there.
        """
        check_layers(self.spec)
        self._kill_zygote()
        self.warnings = list(self._limits.notices)
        while True:
            event = await self._prepare_zygote()
            if event["event"] == "ready":
                break
            self._kill_zygote()
            if event["event"] == "failed":
                raise _start_error(event)
            self._step_down(event)
        self.zygote_rss_bytes = event["resident_bytes"]
        self._zygote_virtual_bytes = event["virtual_bytes"]
        self._refuse_if_too_large()
        try:
            self._prepare_next()
        except OSError as error:
            self._kill_zygote()
            raise AppStartError(f"function {self.spec.name} gets no cgroup: {error}.") from error
        self._park_later()

    async def _prepare_zygote(self) -> Event:
        """Start a process and wait until it is ready or says why it is not; a step that hangs counts as unsafe."""
        self._prepared = asyncio.get_running_loop().create_future()
        self._step, self.own_init_s = "", 0.0
        self._zygote = ZygoteLink(
            directory=self._settings.directory,
            environment=self._environment,
            on_event=self._take_event,
            on_end=self._zygote_ended,
            on_line=lambda line: self._on_log("", line),
        )
        start_s_max = self._settings.servers.start_s_max
        order = {
            "command": "prepare",
            "spec": dataclasses.asdict(self.spec),
            "directory": self._settings.directory,
            "rung": self.rung.value,
            "canary_s": self._canary_s,
            "start_s_max": start_s_max,
            "private_tmp": self._is_like_lambda,
            "kill_strays": not any("memory" in h.controllers for h in self._limits.hierarchies),
        }
        try:
            self._zygote.send(order)
            async with asyncio.timeout(start_s_max + self._canary_s):
                return await self._prepared
        except TimeoutError:
            return self._ended_early(f"{self._step} took longer than {start_s_max:g} s")
        except BaseException:
            self._kill_zygote()
            raise

    def _step_down(self, event: Event) -> None:
        """Go to the best rung that this finding leaves."""
        self.rung = Rung.FRESH if event["step"] == "import" else self.rung.below
        how = {Rung.IMPORTED: "imported but not warmed", Rung.FRESH: "as fresh processes, each importing by itself"}
        self.rung_reason = f"Instances of {self.spec.name} start {how[self.rung]}: {event['text']}."

    def _refuse_if_too_large(self) -> None:
        zygote_mb = -(-self.zygote_rss_bytes // MIB)
        if zygote_mb + INSTANCE_OWN_MB_MIN > self.spec.memory_mb:
            self._kill_zygote()
            raise AppStartError(
                f"function {self.spec.name} takes {zygote_mb} MB before its first invocation; "
                f"memory_mb = {self.spec.memory_mb} is too little.",
                remedy=f"Set memory_mb to {zygote_mb + INSTANCE_OWN_MB_MIN} at least.",
            )

    def _kill_zygote(self) -> None:
        self._parking.empty()
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.kill()

    def _park_later(self) -> None:
        # Not like Lambda, whose pace of starts is modelled: a copy ahead would change nothing but memory.
        if not self._is_like_lambda:
            self._parking.fill_later()

    async def fork(self) -> Instance:
        """Fork an instance and wait until it is ready to run; safe to call many at once.

        Raises:
            AppImportError: the instance imports by itself, and its import failed.
            AppStartError: the instance did not get ready (its lifespan failed, it died, it took too long).
            Unavailable: there is no zygote now, or the system would not fork.
        """
        instance = self._parking.take() or await self._fork_now(parked=False)
        self._park_later()
        try:
            await instance.ready(self._settings.servers.start_s_max)
        except BaseException:
            instance.abandon()
            raise
        self._watch_memory()
        return instance

    async def _fork_parked(self) -> Instance:
        return await self._fork_now(parked=True)

    async def _fork_now(self, *, parked: bool) -> Instance:
        """Ask the zygote for a copy; while it forks, the host prepares its own end, and what the next fork needs.

        Raises:
            Unavailable: as `fork`.
        """
        zygote = self._zygote
        if zygote is None:
            raise Unavailable(f"function {self.spec.name} has no zygote now.")
        try:
            instance, channel = self._ask_for_fork(zygote, parked=parked)
        except (OSError, BufferError) as error:
            raise Unavailable(f"function {self.spec.name} cannot fork: {error}.") from error
        try:
            await instance.connect(channel)
            self._prepare_next()
        except OSError as error:
            instance.abandon()
            raise Unavailable(f"function {self.spec.name} cannot reach its instance: {error}.") from error
        except BaseException:
            instance.abandon()
            raise
        return instance

    def _ask_for_fork(self, zygote: ZygoteLink, *, parked: bool) -> tuple[Instance, socket.socket]:
        """Make what an instance needs and send the zygote its share; nothing is left where that fails."""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as given_away:
            enclosure = self._take_enclosure()
            undo.callback(self._limits.release, enclosure, 0)
            instance = self._make_instance(enclosure)
            undo.pop_all()
            undo.callback(instance.abandon)  # releases the enclosure too
            given_away.callback(instance.log_pipe.given_away)
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            given_away.callback(theirs.close)
            join_fds = enclosure.open_to_join() if self._joins_by_itself else []
            for fd in join_fds:
                given_away.callback(os.close, fd)
            self._number += 1
            bounds = self._bounds(instance)
            zygote.send(
                {"command": "fork", "id": self._number, "parked": parked, **bounds},
                [theirs.fileno(), instance.log_pipe.write_fd, *join_fds],
            )
            self._starting[self._number] = instance
            undo.pop_all()
        return instance, ours

    @property
    def _joins_by_itself(self) -> bool:
        """Whether an instance moves into its cgroups after the fork.

        Where that is slow, it is born in them: the zygote moves ahead of each fork, while nobody waits. Not into a CPU
        share or a freezer, though, for there the zygote would be slowed or stopped itself.
        """
        return self._is_like_lambda or not self._limits.joins_are_slow

    def _prepare_next(self) -> None:
        """Make the limits of the next instance while nobody waits; have the zygote stand in them where joining is slow.

        Raises:
            OSError: the kernel refused to make a cgroup.
        """
        if self._next is not None or self._zygote is None:
            return
        self._next = enclosure = self._enclose()
        if self._joins_by_itself:
            return
        fds = enclosure.open_to_join()
        try:
            if fds:
                self._zygote.send({"command": "enter"}, fds)
        except (BrokenPipeError, BufferError):
            return  # it has ended or hangs, and the fork that needs it will say so
        finally:
            for fd in fds:
                os.close(fd)

    def _take_enclosure(self) -> Enclosure:
        """The limits of the instance to be forked now."""
        self._prepare_next()
        enclosure, self._next = self._next, None
        return enclosure or self._enclose()

    def _enclose(self) -> Enclosure:
        return self._limits.enclose(
            memory_bytes=self.spec.memory_mb * MIB - self.zygote_rss_bytes,
            vcpus=vcpus(self.spec.memory_mb) if self._is_like_lambda else 0.0,
            read_only=self._is_like_lambda,
        )

    def _release_next(self) -> None:
        """The zygote that stood in it is gone."""
        enclosure, self._next = self._next, None
        if enclosure is not None:
            self._limits.release(enclosure, 0)

    def _make_instance(self, enclosure: Enclosure) -> Instance:
        instance = self._new_instance(
            # As Lambda names log streams: the day, the version, and what no other has.
            name=f"{time.strftime('%Y/%m/%d', time.gmtime())}/[$LATEST]{secrets.token_hex(16)}",
            on_log=self._on_log,
            on_end=self._instance_ended,
            enclosure=enclosure,
            shared_bytes=self.zygote_rss_bytes,
            kill_by_zygote=self._kill_by_zygote,
        )
        self._instances[instance.name] = instance
        return instance

    def _new_instance(self, **common: Any) -> Instance:
        return Instance(**common)

    def _bounds(self, instance: Instance) -> dict[str, Any]:
        """What the instance is told about itself."""
        enclosure = instance.enclosure
        bounds: dict[str, Any] = {"name": instance.name, "read_only": enclosure.read_only}
        if self._is_like_lambda:
            bounds["descriptors_max"] = DESCRIPTORS_MAX
        if self._is_like_lambda or "TMPDIR" not in self._declared:
            bounds["scratch"] = enclosure.scratch
        if not enclosure.limits_memory:
            bounds["address_space_bytes"] = self._zygote_virtual_bytes + self.spec.memory_mb * MIB
        return bounds

    def _kill_by_zygote(self, pid: int) -> None:
        if self._zygote is not None:
            self._zygote.send({"command": "kill", "pid": pid})

    def _take_event(self, event: Event, fds: list[int]) -> None:
        kind = event["event"]
        if kind in ("ready", "unsafe", "failed"):
            self._is_serving = kind == "ready"
            if self._prepared is not None and not self._prepared.done():
                self._prepared.set_result(event)
        elif kind == "step":
            self._begin_step(event["step"])
        elif kind == "note":
            self.warnings.append(f"function {self.spec.name}: {event['text']}.")
        elif kind == "forked":
            instance = self._starting.pop(event["id"])
            if instance.forked(event["pid"], fds[0] if fds else -1):
                self._by_pid[event["pid"]] = instance
        elif kind == "fork_failed":
            self._starting.pop(event["id"]).start_failed(Unavailable(f"the system would not fork: {event['text']}."))
        elif kind == "exited" and (ended := self._by_pid.get(event["pid"])) is not None:
            ended.exited(event["status"])

    def _begin_step(self, step: str) -> None:
        """The steps before the trial instance, the last one, are the app's own."""
        now_s = time.monotonic()
        if self._step:
            self.own_init_s += now_s - self._step_since_s
        self._step, self._step_since_s = step, now_s

    def _instance_ended(self, instance: Instance) -> None:
        del self._instances[instance.name]
        self._by_pid.pop(instance.pid, None)
        # The zygote may still stand in the group its instance was born in.
        self._limits.release(instance.enclosure, self.zygote_pid)

    def _zygote_ended(self, how: str) -> None:
        """Its process is gone, by whatever hand; its instances are our children now and go on."""
        self._release_next()
        self._parking.empty()
        starting, self._starting = self._starting, {}
        for instance in starting.values():
            instance.start_failed(Unavailable(f"the zygote of function {self.spec.name} {how} while it forked."))
        for instance in list(self._by_pid.values()):
            instance.reap_orphan()
        if self._prepared is not None and not self._prepared.done():
            text = f"its process {how} while {self._step or 'starting'}"
            self._prepared.set_result(self._ended_early(text))
        elif self._zygote is not None and self._is_serving:
            self._zygote = None
            if self._on_death is not None:
                self._on_death(f"The zygote of function {self.spec.name} {how}.")

    def _ended_early(self, text: str) -> Event:
        """A process that did not live to say what happened: unsafe where something was being run, else a failure."""
        is_last = self.rung is Rung.FRESH or self._step.startswith("importing")
        return {"event": "failed" if is_last else "unsafe", "error": "start", "step": "warm", "text": text}

    def _watch_memory(self) -> None:
        """Where no cgroup holds the limit, look at the resident sizes now and then."""
        if self._watchdog is None and self._instances:
            if all(instance.enclosure.limits_memory for instance in self._instances.values()):
                return
            self._watchdog = asyncio.get_running_loop().call_later(_WATCH_S, self._look_at_memory)

    def _look_at_memory(self) -> None:
        self._watchdog = None
        for instance in list(self._by_pid.values()):
            # Pages shared with the zygote count in each process, but belong to the instance only once.
            sizes = [proc.memory_bytes(pid)[1] for pid in proc.descendants(instance.pid)]
            own_bytes = sum(max(0, size - instance.inherited_bytes) for size in sizes)
            if own_bytes > self.spec.memory_mb * MIB - self.zygote_rss_bytes:
                instance.kill("Runtime exited with error: signal: killed", "Runtime.OutOfMemory")
        self._watch_memory()

    async def stop(self) -> None:
        """End the zygote and all instances and remove what was made for them."""
        self._parking.empty()
        zygote, self._zygote = self._zygote, None
        instances = list(self._instances.values())
        for instance in instances:
            instance.kill()
        try:
            async with asyncio.timeout(_STOP_S_MAX):
                for instance in instances:
                    await instance.wait_ended()
        except TimeoutError:
            self.warnings.append(
                f"function {self.spec.name}: {len(self._instances)} instances did not end when killed."
            )
        if zygote is not None:
            zygote.kill()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None


def _start_error(event: Event) -> PeakerError:
    if handler := event.get("handler"):
        return HandlerImportError.from_json(handler)
    kind = AppImportError if event["error"] == "import" else AppStartError
    return kind(event["text"])
