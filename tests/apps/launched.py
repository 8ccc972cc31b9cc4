"""A launcher over code written for one test: real processes, and nothing of them left behind."""

import asyncio
import json
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from peaker.app import functions
from peaker.functions.cgroups import Hierarchy
from peaker.functions.launcher import Instance, Launcher, Outcome
from peaker.functions.limits import Limits
from peaker.functions.provided import ProvidedLauncher
from peaker.functions.web import warm_up_event
from peaker.settings import AppSection, FunctionSection, FunctionsSection, ServersSection, Settings

TARGET = "user_code:entry"


class Launched:
    """One launcher, its log and the ends of its zygotes."""

    def __init__(self, directory: Path, settings: Settings, limits: Limits, canary_s: float) -> None:
        self.log: list[tuple[str, str]] = []
        self.deaths: list[str] = []
        self.directory = directory
        spec = functions(settings)[0]
        kind = ProvidedLauncher if spec.is_provided else Launcher
        self.launcher = kind(
            spec,
            settings=settings,
            environment=settings.env,
            limits=limits,
            on_log=lambda request_id, line: self.log.append((request_id, line)),
            on_death=self.deaths.append,
            canary_s=canary_s,
        )

    async def fork(self) -> Instance:
        return await self.launcher.fork()

    async def run(
        self,
        event: Any = None,
        instance: Instance | None = None,
        request_id: str = "r-1",
        timeout_s: float = 20,
        **more: Any,
    ) -> Outcome:
        """One invocation of the instance given, or of a new one."""
        instance = instance or await self.fork()
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        return await instance.run(payload, request_id=request_id, deadline_s=time.monotonic() + timeout_s, **more)

    async def get(self, path: str, instance: Instance | None = None, **more: Any) -> Any:
        """The result of one GET."""
        outcome = await self.run(warm_up_event(path), instance, **more)
        return json.loads(outcome.payload)

    def lines(self, request_id: str | None = None) -> list[str]:
        return [line for found, line in self.log if request_id in (None, found)]


def settings_for(
    directory: Path, code: str, *, web: bool = False, warm_up: str = "", env: dict[str, str] | None = None,
    start_s_max: float = 30.0, **functions_section: Any,
) -> Settings:  # fmt: skip
    (directory / "user_code.py").write_text(textwrap.dedent(code))
    return Settings(
        app=AppSection(name="tried", web=TARGET if web else "", warm_up=warm_up),
        functions=FunctionsSection(**functions_section),
        servers=ServersSection(start_s_max=start_s_max),
        function=() if web else (FunctionSection(name="tried", handler=TARGET),),
        env=env or {},
        directory=str(directory),
    )


@asynccontextmanager
async def launched(
    directory: Path,
    code: str,
    *,
    cgroups: bool = True,
    canary_s: float = 10.0,
    joins_are_slow: bool = False,
    **settings: Any,
) -> AsyncIterator[Launched]:
    """Start a launcher; at the end nothing of it runs and no cgroup is left."""
    made = settings_for(directory, code, **settings)
    nothing = None if cgroups else ""
    # The directory's name keeps tests that run at the same time apart.
    name = "".join(letter for letter in directory.name if letter.isalnum())[-30:]
    scratch = directory / "scratch"
    limits = Limits.find(f"t{name}", like=made.functions.like, scratch=scratch, mountinfo=nothing, membership=nothing)
    limits.joins_are_slow = joins_are_slow or limits.joins_are_slow
    bench = Launched(directory, made, limits, canary_s)
    hierarchies = list(limits.hierarchies)
    try:
        await bench.launcher.start()
        yield bench
    finally:
        await bench.launcher.stop()
        limits.close()
        assert groups_left(hierarchies, f"t{name}") == []
        assert list(scratch.iterdir()) == []


def groups_left(hierarchies: list[Hierarchy], name: str) -> list[Path]:
    return [path for hierarchy in hierarchies for path in hierarchy.base.glob(f"peaker-{name}-*")]


async def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait for a condition that another process makes true."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - it is not this process that makes it true
            await asyncio.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
