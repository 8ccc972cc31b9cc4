"""What a server is given as a task: vCPUs and memory of the instance type that stands in the settings."""

from __future__ import annotations

from dataclasses import dataclass

from peaker.prices import load
from peaker.settings import Settings

CPU_UNITS = 1024
"""Of one vCPU (Amazon ECS Developer Guide, "Task size")."""

MEMORY_GB = {0.25: (0.5, 1, 2), 0.5: (1, 2, 3, 4), 1: (2, 8), 2: (4, 16), 4: (8, 30), 8: (16, 60), 16: (32, 120)}
"""Least and most that Fargate gives to so many vCPUs (the same page); of the two smallest, all there are."""


@dataclass(frozen=True, slots=True)
class TaskSize:
    """As ECS wants it."""

    cpu_units: int
    memory_mb: int


def task_size(settings: Settings) -> TaskSize:
    """The Fargate size nearest to the instance type; on EC2, what its instance leaves beside the agent.

    Raises:
        PriceError: the type is unknown in the region.
    """
    found = load().instance(settings.aws.region, settings.servers.instance_type)
    if settings.aws.servers == "ecs":
        # The instance keeps some memory for its system and the ECS agent.
        return TaskSize(found.vcpus * CPU_UNITS, int(found.memory_gib * 1024 * 0.9))
    vcpus = max((size for size in MEMORY_GB if size <= found.vcpus), default=0.25)
    allowed = MEMORY_GB[vcpus]
    if vcpus < 1:
        memory_gb = max((size for size in allowed if size <= found.memory_gib), default=allowed[0])
    else:
        memory_gb = min(max(int(found.memory_gib), allowed[0]), allowed[1])
        memory_gb -= memory_gb % (4 if vcpus == 8 else 8 if vcpus == 16 else 1)
    return TaskSize(int(vcpus * CPU_UNITS), int(memory_gb * 1024))
