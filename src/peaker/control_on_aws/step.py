"""One step of control on AWS: see, learn, decide, act, write down. The deciding is `policy/course.py`'s, as everywhere.

Two things are only here. With no server ready the load balancer sends all requests to the function, and back as soon as
one is ready: before the last server is taken away, after the first has come. And where the day's spend is used up, the
function may run nothing more: its concurrency is set to 0, once a server is ready, until the next UTC day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from peaker.control_on_aws.fleet import AwsFleet, Servers
from peaker.control_on_aws.memory import Memory
from peaker.control_on_aws.minute import Minute, newest_whole, read_minute
from peaker.control_on_aws.task import STEP_S, Task
from peaker.errors import StateError
from peaker.policy.baseline import Bounds
from peaker.policy.course import Course, StepSeen, Terms

DAY_S = 86_400
MINUTES_MAX = 5
"""Late minutes still count for the spend; after a longer pause the older ones are left out."""

SAME_LOOKS = 4
"""Looks that must agree before a minute's load is taken for that of so many servers: figures come two minutes late."""


@dataclass(slots=True)
class Kept:
    """What is kept besides the course: the last minute read, spend of the UTC day, looks, and a start under way."""

    minute_s: float = 0.0
    day: int = 0
    day_usd: float = 0.0
    function_stopped: bool = False
    looks: tuple[int, ...] = ()
    asked_s: float | None = None
    asked_for: int = 0


def course_of(task: Task) -> Course:
    """The course before anything was seen."""
    bounds = Bounds(
        servers_min=task.count_min if task.may_spill else max(1, task.count_min), servers_max=task.count_max
    )
    return Course(
        Terms(
            policy=task.policy,
            server_usd_per_hour=task.server_usd_per_hour,
            bounds=bounds,
            step_s=STEP_S,
            stay_s=task.stay_s,
            start_guess_s=task.start_guess_s,
            may_spill=task.may_spill,
        )
    )


def take_step(task: Task, *, cloudwatch: Any, fleet: AwsFleet, memory: Memory, now_s: float) -> dict[str, Any] | None:
    """The step of this minute, as it was written down; None where another run has taken it.

    Raises:
        botocore.exceptions.ClientError: AWS refused something; what was not set yet stays as it is, and the next
            minute goes on from what is there.
    """
    if not memory.claim(now_s // STEP_S * STEP_S):
        return None
    course, kept, note = _remembered(task, memory.state(), now_s)
    servers = fleet.servers()
    minutes = _new_minutes(cloudwatch, task, kept, now_s)
    minute = minutes[-1] if minutes else None
    _note_looks(course, kept, servers, now_s)
    _count_spend(task, kept, minutes, now_s)
    on_function = task.may_spill and fleet.is_on_function()
    may_run = _functions_may_run(task, kept)
    seen = StepSeen(
        now_s=now_s,
        epoch_s=now_s,
        load=minute.load(task, _steady(kept, on_function=on_function)) if minute is not None else None,
        ready=servers.ready,
        starting=servers.starting,
        asked=servers.asked,
        functions_may_run=may_run,
        functions_usd=sum(each.functions_usd(task) for each in minutes),
        functions_requests=sum(each.invocations for each in minutes),
    )
    step = course.step(seen)
    # With the spend used up somebody must be there to answer.
    after = step.steered.servers if may_run else max(1, step.steered.servers)
    _act(task, fleet, kept, servers, after, on_function=on_function, may_run=may_run)
    if after != servers.asked:
        course.changed(servers.asked, after, step, now_s=now_s, epoch_s=now_s)
        kept.asked_s, kept.asked_for = (now_s, after) if after > servers.asked else (None, 0)
    entry = {
        "at_s": now_s,
        "minute": None if minute is None else asdict(minute),
        "note": note,
        "demand_servers": step.demand_servers,
        "ready": servers.ready,
        "before": servers.asked,
        "after": after,
        "wanted": step.decision.servers,
        "held_by": step.steered.held_by.value,
        "reason": asdict(step.decision.reason),
        "on_function": task.may_spill and (after == 0 or servers.ready == 0),
        "function_stopped": kept.function_stopped,
        "server_per_s": course.capacity.per_s,
        "function_usd_per_server_hour": step.economics.function_usd_per_server_hour,
        "spent_today_usd": kept.day_usd,
    }
    memory.save({"course": course.state(now_s=now_s, epoch_s=now_s), "kept": asdict(kept)})
    memory.write_down(now_s, entry)
    return entry


def _remembered(task: Task, state: Mapping[str, Any] | None, now_s: float) -> tuple[Course, Kept, str]:
    """What was saved; what cannot be used is begun anew, and said in the journal."""
    course = course_of(task)
    if state is None:
        return course, Kept(), "begun anew: nothing was remembered"
    try:
        course.restore(state["course"], now_s=now_s, epoch_s=now_s)
        kept = Kept(**state["kept"])
    except (KeyError, TypeError, StateError) as error:
        return course_of(task), Kept(), f"begun anew: {error}"
    kept.looks = tuple(kept.looks)
    return course, kept, ""


def _new_minutes(cloudwatch: Any, task: Task, kept: Kept, now_s: float) -> list[Minute]:
    """Those that have come since the last step, the newest last; after a pause no more than MINUTES_MAX."""
    newest_s = newest_whole(now_s)
    oldest_s = max(kept.minute_s + STEP_S, newest_s - (MINUTES_MAX - 1) * STEP_S) if kept.minute_s else newest_s
    found = []
    while oldest_s <= newest_s:
        minute = read_minute(cloudwatch, task, oldest_s)
        oldest_s += STEP_S
        if minute is not None:
            kept.minute_s = minute.began_s
            found.append(minute)
    return found


def _note_looks(course: Course, kept: Kept, servers: Servers, now_s: float) -> None:
    kept.looks = (*kept.looks, servers.ready)[-SAME_LOOKS:]
    if kept.asked_s is not None and servers.ready >= kept.asked_for:
        course.started(now_s - kept.asked_s)
        kept.asked_s = None


def _steady(kept: Kept, *, on_function: bool) -> int | None:
    is_steady = len(kept.looks) == SAME_LOOKS and len(set(kept.looks)) == 1
    return kept.looks[-1] if is_steady and not on_function else None


def _count_spend(task: Task, kept: Kept, minutes: Sequence[Minute], now_s: float) -> None:
    day = int(now_s // DAY_S)
    if day != kept.day:
        kept.day, kept.day_usd = day, 0.0
    kept.day_usd += sum(minute.functions_usd(task) for minute in minutes)


def _functions_may_run(task: Task, kept: Kept) -> bool:
    most = task.spend_usd_per_day_max
    return most is None or kept.day_usd < most


def _act(
    task: Task, fleet: AwsFleet, kept: Kept, servers: Servers, after: int, *, on_function: bool, may_run: bool
) -> None:
    """Nobody is left without an answer in between: first who takes over, then who goes."""
    to_function = task.may_spill and (after == 0 or servers.ready == 0)
    if task.may_spill and kept.function_stopped and may_run:
        fleet.let_function_run(may_run=True)
        kept.function_stopped = False
    if task.may_spill and to_function != on_function:
        fleet.send_to_function(all_requests=to_function)
    if after != servers.asked:
        fleet.ask_for(after)
    if task.may_spill and not may_run and not to_function and not kept.function_stopped:
        fleet.let_function_run(may_run=False)
        kept.function_stopped = True
