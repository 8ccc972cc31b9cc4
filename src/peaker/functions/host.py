"""The function host: one process that serves the Invoke API for every function of an app.

`python -m peaker.functions.host --help` has its arguments. Exit codes: 0 drained, 1 cut short by a second signal or at
`drain_s_max`, 2 wrong state or settings, 3 a function did not import or start.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any

from peaker.app import environment, local_functions, takes_events, worker_count
from peaker.build import build_hash
from peaker.clock import SystemClock
from peaker.control_socket import Answer, ControlServer, Status, WithSocket
from peaker.cores import usable_cores
from peaker.errors import AppImportError, AppStartError, ListenError, PeakerError
from peaker.functions.catalogue import Catalogue, Surroundings
from peaker.functions.credentials import load_or_create_key, write_profile
from peaker.functions.durable_events import DurableEvents
from peaker.functions.front import Front, invoke_limits
from peaker.functions.function_environment import region_of
from peaker.functions.function_log import FunctionLog
from peaker.functions.hosted import HostedFunction
from peaker.functions.idle_times_file import IdleTimesFile
from peaker.functions.limits import Limits
from peaker.functions.published import Published, number_of_build
from peaker.functions.service import InvokeService
from peaker.functions.starts import Starts
from peaker.meter.function_usage import FunctionMeter
from peaker.policy.resources import instances_allowed
from peaker.process_start import allow_descriptors, log_to_stderr, loop_factory
from peaker.secret_values import given_secrets, without_secrets
from peaker.settings import Settings
from peaker.stand_in_variables import above
from peaker.state import StateDirectory
from peaker.unix_socket import UnixListener, link_newest, unlink_if_leads_to

EXIT_CUT_SHORT = 1
EXIT_APP_FAILED = 3
STARTS_PER_CORE = 2
CONNECTIONS_MAX = 10_000
_DESCRIPTORS_PER_INSTANCE = 12
"""Channel, log, pidfd and cgroup files, Runtime API port and its connections, rounded up."""

_logger = logging.getLogger("peaker.functions.host")


class FunctionHost:
    """One host from start to exit."""

    def __init__(
        self, settings: Settings, state: StateDirectory, signed: socket.socket, *, generation: int, name: str = "host"
    ) -> None:
        self._settings = settings
        self._state = state
        self._signed = signed
        self._generation = generation
        self._drain_s = settings.servers.drain_s_max
        self._drain_idle_s = 0.0
        self._build = ""
        self._secrets: dict[str, str] = {}
        self._events: DurableEvents | None = None
        self._clock = SystemClock()
        self._functions: list[HostedFunction] = []
        self._idle_times = IdleTimesFile(state.idle_times)
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self._control = ControlServer(
            state.control_socket(name),
            process=name,
            generation=generation,
            commands={"drain": self._drain_command, "listener": self._listener_command},
            orphan_s_max=settings.servers.orphan_s_max,
            on_orphaned=self._orphaned,
            details=self._details,
        )

    async def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        log = FunctionLog(
            self._state.logs / "functions.log", clock=self._clock, log_format=self._settings.functions.log_format
        )
        limits = Limits.find(self._settings.app.name, like=self._settings.functions.like, scratch=self._state.scratch)
        serving = loop.create_task(self._serve(log, limits))
        try:
            return await serving
        except PeakerError as error:
            said = without_secrets(str(error), self._secrets)
            _logger.error("%s", said, extra={"action": "start"})  # noqa: TRY400 - the user's error, not ours
            await self._control.tell_failure(said)
            return EXIT_APP_FAILED if isinstance(error, (AppImportError, AppStartError)) else error.exit_code
        finally:
            await asyncio.gather(*(function.stop() for function in self._functions))
            self._idle_times.close()
            limits.close()
            log.close()
            self._control.close()

    async def _serve(self, log: FunctionLog, limits: Limits) -> int:
        # Before any of the user's code: a handler may make its client of Lambda while it is imported.
        key = load_or_create_key(self._state.credentials)
        region = region_of(environment(self._settings))
        write_profile(self._state.aws_config, endpoint_url=self._endpoint_url(), region=region)
        if not await self._start_functions(log, limits):
            return 0
        published = self._published()
        private = UnixListener(self._state.invoke_socket_of(self._generation))
        try:
            service = InvokeService(
                {function.spec.name: function.pool for function in self._functions},
                log=log,
                clock=self._clock,
                published=published,
                meter=FunctionMeter(self._state.function_usage, self._settings.functions.architecture),
                jobs=[job.name for job in self._settings.job],
            )
            if takes_events(self._settings):
                self._events = service.events = DurableEvents(self._state.intake_socket)
            catalogue = Catalogue([function.spec for function in self._functions], published, self._surroundings())
            front = Front(service, catalogue, key=key, clock=self._clock, limits=invoke_limits(CONNECTIONS_MAX))
            await front.listen(private, self._signed)
            # What is here now stays: looking through it again at every full collection would only cost latency.
            gc.collect()
            gc.freeze()
            link_newest(self._state.invoke_socket, private.path)
            self._control.set_status(Status.READY)
            self._idle_times.write_regularly()
            await self._stop.wait()
            self._control.set_status(Status.DRAINING)
            return await self._drain(front)
        finally:
            unlink_if_leads_to(self._state.invoke_socket, private.path)
            private.close()
            if self._events is not None:
                self._events.close()

    def _endpoint_url(self) -> str:
        """Where clients of this machine reach the signed port; all addresses means loopback too."""
        host, port = self._signed.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _published(self) -> Published:
        """What callers may name this host's build by."""
        return Published(
            build=self._build,
            number=number_of_build(self._state.versions, self._build),
            region=region_of(environment(self._settings)),
        )

    def _surroundings(self) -> Surroundings:
        settings = self._settings
        allowed = instances_allowed(settings, worker_count(settings))
        reserved = sum(function.spec.concurrency_max for function in self._functions)
        return Surroundings(
            modified_epoch_s=self._clock.epoch_s(),
            directory=settings.directory,
            has_variables=bool(environment(settings) or settings.secrets),
            instances_max=allowed.instances_max if allowed else reserved,
        )

    def _role(self) -> dict[str, str]:
        """Keys by which handlers call this host's functions, where they are to be like Lambda's.

        Otherwise AWS's clients in a handler find the keys of the user's own profile, as anywhere on this machine.
        """
        if self._settings.functions.like != "lambda":
            return {}
        key = load_or_create_key(self._state.credentials)
        return {
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
            "AWS_ENDPOINT_URL_LAMBDA": self._endpoint_url(),
        }

    async def _start_functions(self, log: FunctionLog, limits: Limits) -> bool:
        """All of them, as many at a time as there are cores; False if told to stop meanwhile."""
        settings = self._settings
        cores = usable_cores()
        asked = settings.functions.starts_in_flight_max
        allowed = instances_allowed(settings, worker_count(settings))
        starts = Starts(
            in_flight_max=STARTS_PER_CORE * cores if asked == "auto" else asked,
            instances_max=allowed.instances_max if allowed else None,
        )
        self._secrets = given_secrets(settings, os.environ)
        variables = above(settings, environment(settings) | self._secrets, os.environ)
        self._build = build_hash(settings)
        at_once = asyncio.Semaphore(cores)

        async def start(function: HostedFunction) -> None:
            async with at_once:
                await function.start()

        self._functions = [
            HostedFunction(
                spec,
                settings=settings,
                environment=variables if spec.web else self._role() | variables,
                limits=limits,
                starts=starts,
                log=log,
                clock=self._clock,
                chance=random.Random(),  # noqa: S311 - it draws start times
                build=self._build,
                learned=self._idle_times.of(spec.name) if spec.is_keep_alive_learned else None,
            )
            for spec in local_functions(settings)
        ]
        starting = asyncio.ensure_future(_all(start(function) for function in self._functions))
        await _first(starting, asyncio.ensure_future(self._stop.wait()))
        if not starting.done():
            starting.cancel()
            return False
        starting.result()
        return True

    async def _drain(self, front: Front) -> int:
        draining = asyncio.ensure_future(front.drain(self._drain_s, idle_s=self._drain_idle_s))
        await _first(draining, asyncio.ensure_future(self._force.wait()))
        if not draining.done():
            draining.cancel()
            return EXIT_CUT_SHORT
        return 0 if draining.result() else EXIT_CUT_SHORT

    def _details(self) -> dict[str, Any]:
        host, port = self._signed.getsockname()[:2] if self._signed.fileno() >= 0 else ("", 0)
        return {
            "invoke_host": host,
            "invoke_port": port,
            "version": self._build,
            "functions": [function.details() for function in self._functions],
        }

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._force.set()
        self._stop.set()

    def _orphaned(self) -> None:
        seconds = self._settings.servers.orphan_s_max
        _logger.warning("no supervisor for %g s: draining", seconds, extra={"action": "orphan"})
        self._stop.set()

    async def _drain_command(self, line: dict[str, Any]) -> Answer:
        # The host of an outgoing generation gets longer than drain_s_max: nobody waits for its end.
        self._drain_s = float(line.get("within_s", self._drain_s))
        self._drain_idle_s = float(line.get("idle_s", self._drain_idle_s))
        self._stop.set()
        return {}

    async def _listener_command(self, _: dict[str, Any]) -> Answer:
        return WithSocket(self._signed)


async def _all(starts: Iterable[Awaitable[None]]) -> None:
    """Until all have succeeded or one has failed; the others are then ended with their functions."""
    await asyncio.gather(*starts)


async def _first(work: asyncio.Future[Any], stop: asyncio.Future[Any]) -> None:
    try:
        await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()


def _open_signed(settings: Settings, descriptor: int | None) -> socket.socket:
    """The inherited socket, or one at functions.invoke_listen."""
    address = settings.functions.invoke_listen
    try:
        if descriptor is not None:
            signed = socket.socket(fileno=descriptor)
        else:
            host, _, port = address.rpartition(":")
            host = host.removeprefix("[").removesuffix("]")
            signed = socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ListenError(
            f"the Invoke port cannot be listened on: {error.strerror}.", where=f"functions.invoke_listen = {address!r}"
        ) from error
    signed.setblocking(False)
    signed.set_inheritable(False)
    return signed


def _allow_descriptors(settings: Settings) -> None:
    """Room for every instance and connection."""
    instances = sum(spec.concurrency_max for spec in local_functions(settings))
    allowed = allow_descriptors(instances * _DESCRIPTORS_PER_INSTANCE + CONNECTIONS_MAX + 100)
    if allowed < instances * _DESCRIPTORS_PER_INSTANCE + 100:
        _logger.warning(
            "the limit of open files (%d) is too low for %d instances", allowed, instances, extra={"action": "start"}
        )


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m peaker.functions.host", description="The function host of a running app."
    )
    parser.add_argument("--state", required=True, type=Path, help="the state directory")
    parser.add_argument("--generation", required=True, type=int, help="generation of code and settings to run")
    parser.add_argument("--name", default="host", help="what it is called beside the host of another generation")
    parser.add_argument("--invoke-fd", type=int, help="descriptor of the listening socket of the signed port")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run one host to its end."""
    arguments = _arguments(argv)
    log_to_stderr("functions")
    state = StateDirectory(arguments.state)
    path = state.settings_of(arguments.generation)
    try:
        settings = Settings.from_json(path.read_text(encoding="utf-8"))
        signed = _open_signed(settings, arguments.invoke_fd)
    except (OSError, PeakerError) as error:
        _logger.error("it cannot start: %s", error, extra={"action": "start"})  # noqa: TRY400 - no bug of ours
        return 2
    _allow_descriptors(settings)

    async def run() -> int:
        host = FunctionHost(settings, state, signed, generation=arguments.generation, name=arguments.name)
        return await host.run()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
