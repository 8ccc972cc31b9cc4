"""`[[job]]`: work without a time limit, on the servers, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from peaker.errors import SettingsError
from peaker.section_reader import repeated, setting
from peaker.setting_checks import DESTINATION, NAME, TARGET, VARIABLES, between
from peaker.triggers import Kind, TriggerSection

STARTS_JOBS = (Kind.SCHEDULE, Kind.OBJECT_CREATED, Kind.OBJECT_REMOVED, Kind.TOPIC, Kind.HTTP)
"""A batch of a queue or table is taken away when its run has succeeded, which of a job may be days later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSection:
    """One job."""

    name: str = setting("", "Name of the job; it is started by it like a function.", NAME)
    handler: str = setting("", "module:attribute of handler(event, job), plain or async.", TARGET)
    concurrency_max: int = setting(1, "Of this job at once; more wait.", between(1, 1000))
    memory_mb: int | None = setting(
        None, "Resident memory of all its processes, looked at once a second; above it is killed. Absent: no limit.",
        between(16, 1_048_576),
    )  # fmt: skip
    nice: int = setting(10, "How far it gives way to workers when cores are scarce, as nice(1) counts.", between(0, 19))
    stop_s_max: float = setting(
        20.0, "Time to write a checkpoint and end when it is told to stop; then it is killed.", between(0, 86_400)
    )
    heartbeat_s: float | None = setting(
        None, "A job that calls nothing of its `job` for this long hangs, and is killed. Absent: never.",
        between(1, 86_400),
    )  # fmt: skip
    retries_max: int = setting(2, "Starts after the first that failed.", between(0, 100))
    retry_s: float = setting(10.0, "Wait after the first failure; doubles with each.", between(0.01, 3600))
    log_mb_max: int = setting(10, "Of one job's log; half of it is kept when it is full.", between(1, 10_240))
    on_success: str = setting("", "Where the record of a job that has finished goes.", DESTINATION)
    on_failure: str = setting("", "Where the record of a job that was given up or cancelled goes.", DESTINATION)
    env: dict[str, str] = setting({}, "Variables of this job alone, above [env]: [job.env].", VARIABLES)
    on: tuple[TriggerSection, ...] = repeated(TriggerSection, "What starts it: [[job.on]], as [[function.on]].")
    writes: list[str] = setting([], "Objects it writes, as function.writes.")


class Named(Protocol):
    """A function."""

    @property
    def name(self) -> str:
        """What it is called."""


def check_jobs(jobs: Sequence[JobSection], functions: Sequence[Named], line_of: Callable[..., str]) -> None:
    """Refuse jobs that cannot be; `line_of` gets the place after `job`.

    Raises:
        SettingsError: name, value and allowed range of the first thing that is wrong.
    """
    taken = {function.name for function in functions}
    for number, job in enumerate(jobs):
        if job.name in taken:
            raise SettingsError(
                f"job.name = {job.name!r} is the name of a [[function]], too.",
                where=line_of(number, "name"),
                remedy="Rename one of them: both are invoked by their names.",
            )
        for index, trigger in enumerate(job.on):
            named = [kind.value for kind in Kind if getattr(trigger, kind.value)]
            if any(Kind(name) not in STARTS_JOBS for name in named):
                allowed = ", ".join(kind.value for kind in STARTS_JOBS)
                raise SettingsError(
                    f"[[job.on]] names {' and '.join(named)}; allowed: {allowed}.",
                    where=line_of(number, "on", index),
                    remedy="Let a function take the batches and start the job: "
                    'invoke(FunctionName=JOB, InvocationType="Event").',
                )
