"""What one server holds: slots, requests a second, and what a burstable type costs above its share of the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

from peaker.plan.case import Choices, Work
from peaker.plan.workload import ServerPool
from peaker.prices import InstanceType
from peaker.units import MEMORY_MB_PER_VCPU

SYSTEM_MEMORY_MB = 500
"""Kept for the operating system, its agents and room to breathe; an assumption."""

BASELINE_SHARE = {
    "nano": 0.05,
    "micro": 0.10,
    "small": 0.20,
    "medium": 0.20,
    "large": 0.30,
    "xlarge": 0.40,
    "2xlarge": 0.40,
}
"""Share of each vCPU that a burstable type may use on average over a day for its price (Amazon EC2 User Guide,
"Key concepts for burstable performance instances", T3 and T4g)."""

SURPLUS_USD_PER_VCPU_HOUR = {"t3": 0.05, "t4g": 0.04}
"""What use above that costs on Linux in unlimited mode, the default of both families (Amazon EC2 on-demand pricing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSize:
    """One server for a work: its price by the hour, its pool of slots, and the load it holds."""

    name: str
    usd_per_hour: float
    vcpus: float
    pool: ServerPool
    requests_per_s: float
    baseline_share: float = 1.0
    surplus_usd_per_vcpu_hour: float = 0.0
    source: str = ""

    @property
    def usd_per_million(self) -> float:
        """Dollars for a million requests on a server that is never idle."""
        return self.usd_per_hour / (self.requests_per_s * 3600) * 1e6


def server_on(type_: InstanceType, work: Work, choices: Choices) -> ServerSize | None:
    """The server that an instance type makes for this work; None where one worker does not fit into its memory.

    One worker a vCPU, if the memory allows. A worker has as many slots as keep its core busy for `utilisation_max`
    of the time: a request holds a slot for its whole time, and the core for `cpu_share` of it.
    """
    room_mb = type_.memory_gib * 1024 - SYSTEM_MEMORY_MB
    workers = min(type_.vcpus, int(room_mb // work.worker_memory_mb.value))
    if workers < 1:
        return None
    burstable = type_.burstable
    return _sized(
        type_.name,
        type_.usd_per_hour,
        type_.vcpus,
        workers,
        work,
        choices,
        BASELINE_SHARE.get(type_.name.partition(".")[2], 1.0) if burstable else 1.0,
        SURPLUS_USD_PER_VCPU_HOUR.get(type_.family, 0.0) if burstable else 0.0,
        f"{type_.source}, {type_.published}",
    )


def task_of(  # noqa: PLR0917 - a task's size and price, then what for
    vcpus: float, memory_gb: float, usd_per_hour: float, source: str, work: Work, choices: Choices
) -> ServerSize | None:
    """A Fargate task of this size as a server; None where one worker does not fit.

    A part of a vCPU makes one worker that is as much slower.
    """
    workers = min(max(1, int(vcpus)), int(memory_gb * 1024 // work.worker_memory_mb.value))
    if workers < 1:
        return None
    name = f"Fargate {vcpus:g} vCPU {memory_gb:g} GB"
    return _sized(name, usd_per_hour, vcpus, workers, work, choices, source=source)


def _sized(  # noqa: PLR0917 - one after the other as in the value they make
    name: str,
    usd_per_hour: float,
    vcpus: float,
    workers: int,
    work: Work,
    choices: Choices,
    baseline_share: float = 1.0,
    surplus: float = 0.0,
    source: str = "",
) -> ServerSize:
    cores = min(vcpus, workers) / workers
    cpu_s = work.cpu_s / choices.speed
    wait_s = work.service.mean_s - work.cpu_s
    # On less than a core the computing takes longer, and holds its slot longer.
    held_s = wait_s + cpu_s / min(1.0, cores)
    by_core = choices.utilisation_max * cores * held_s / cpu_s
    slots = max(1, min(choices.slots_per_worker_max, math.floor(by_core)))
    per_worker = min(slots / held_s, choices.utilisation_max * cores / cpu_s)
    return ServerSize(
        name=name,
        usd_per_hour=usd_per_hour,
        vcpus=vcpus,
        pool=ServerPool(slots=slots, workers=workers),
        requests_per_s=per_worker * workers,
        baseline_share=baseline_share,
        surplus_usd_per_vcpu_hour=surplus,
        source=source,
    )


def surplus_usd(size: ServerSize, work: Work, choices: Choices, requests: float, server_hours: float) -> float:
    """What a burstable type charges for the CPU that these requests took beyond its share; credits last a day.

    The sum over the whole time is compared, so a peak that a quiet day balances costs nothing, as on the bill.
    """
    used_h = requests * work.cpu_s / choices.speed / 3600
    included_h = server_hours * size.vcpus * size.baseline_share
    return max(0.0, used_h - included_h) * size.surplus_usd_per_vcpu_hour


def function_stretch(work: Work, memory_mb: int, speed: float = 1.0) -> float:
    """Time on a function over time on a server: only computing is slower on less than a vCPU.

    A function of `memory_mb` has memory_mb / 1,769 vCPUs, and one request uses no more than one.
    """
    share = min(1.0, memory_mb / MEMORY_MB_PER_VCPU)
    cpu_s = work.cpu_s
    return (work.service.mean_s - cpu_s + cpu_s / speed / share) / work.service.mean_s
